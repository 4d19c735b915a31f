"""Make src/concord/report/noel2017.json from the logs of Noel 2017.

    python tools/noel2017_curves.py ../shared/reference/noel2017_logs.json > src/concord/report/noel2017.json

The logs are those of github.com/JustinNoel1/CollabLearning (Apache-2.0), one entry per pickle of the author.
"""

import json
import sys
from pathlib import Path

ATTRIBUTION = "J. Noel, github.com/JustinNoel1/CollabLearning, Apache-2.0; rounded to 6 significant digits"
SETS = {"mnist": "MNIST", "notmnist": "notMNIST", "cifar10": "CIFAR10"}
FILES = {"ST": "000", "M": "001", "Ens": "Ensemble"}
MEASURES = ("test_errors", "test_costs", "train_errors", "train_costs")
METHODS = {"Single 0": "ensemble"} | {
    f"{method} {0.1**power:g}": f"{method}_0.1x{power}"
    for method in ("CE", "L2", "L1")
    for power in (0, 1, 2, 4)
}


def curves(logs: dict[str, dict[str, list[float]]]) -> dict[str, object]:
    """Data set -> method and weight -> column -> measure -> one number per epoch."""
    entry = "source/AWS_collab_logs/{0}/collab/{0}_collab_shallow_and_thin_and_medium_{1}_{2}.pkl"
    return {
        ours: {
            setting: {
                column: {m: _rounded(logs[entry.format(theirs, method, file)][m]) for m in MEASURES}
                for column, file in FILES.items()
            }
            for setting, method in METHODS.items()
        }
        for ours, theirs in SETS.items()
    }


def _rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    document = {"source": ATTRIBUTION, "curves": curves(given)}
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
