"""The published figures of the 39 collaborative ensembles, and their training curves.

Source: J. Noel, "A collaborative approach to deep learning", 2017, figures A.7 to A.12; the curves are
from the author's logs, github.com/JustinNoel1/CollabLearning, Apache-2.0. Each cell is one unseeded run.

``FINAL[data set][method, weight]`` holds final test errors in per cent, then final test costs, of ST, M and
the ensemble. The costs of ST and M include the L2 term of the weight decay, those of the ensemble do not.
``noel2017.json`` beside this file holds test and train error (fractions) and cost of every epoch, rounded to
six digits; ``tools/noel2017_curves.py LOGS.json`` makes it.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from concord.consensus.names import ENSEMBLE, NONE
from concord.errors import UsageError, suggestion
from concord.report.records import Published, Series, Setting

SOURCE = "J. Noel 2017"
COLUMNS = ("ST", "M", "Ens")
MEASURES = {
    ("test", "error"): "test_errors",
    ("test", "nll"): "test_costs",
    ("train", "error"): "train_errors",
    ("train", "nll"): "train_costs",
}
# Both forms of concord's symmetric cross-entropy stand beside the author's: sce is the cost that he prints,
# sce_tf1 has the gradient that his TensorFlow 1.1 really followed.
METHODS = {NONE: "Single", "sce": "CE", "sce_tf1": "CE", "l2": "L2", "l1": "L1"}

FINAL: dict[str, dict[Setting, tuple[float, ...]]] = {
    "mnist": {
        ("Single", 0): (0.77, 0.62, 0.52, 0.0459429, 0.0388529, 0.0286906),
        ("CE", 1): (0.72, 0.53, 0.59, 0.034945, 0.026722, 0.0191731),
        ("CE", 0.1): (0.72, 0.62, 0.54, 0.0421644, 0.0378052, 0.0248691),
        ("CE", 0.01): (0.68, 0.53, 0.52, 0.04444, 0.0440946, 0.0294754),
        ("CE", 0.0001): (0.72, 0.67, 0.61, 0.0468188, 0.0480394, 0.0329928),
        ("L2", 1): (1.38, 1.33, 1.37, 0.0729461, 0.0850099, 0.0549106),
        ("L2", 0.1): (0.54, 0.54, 0.56, 0.0316807, 0.0308176, 0.0200527),
        ("L2", 0.01): (0.56, 0.50, 0.50, 0.0257211, 0.0197911, 0.0168002),
        ("L2", 0.0001): (0.76, 0.50, 0.57, 0.0316473, 0.0261167, 0.0201273),
        ("L1", 1): (2.75, 2.75, 2.74, 0.156449, 0.179248, 0.137231),
        ("L1", 0.1): (0.74, 0.69, 0.73, 0.0410959, 0.0429026, 0.0271439),
        ("L1", 0.01): (0.65, 0.56, 0.59, 0.0280316, 0.0220588, 0.0183511),
        ("L1", 0.0001): (0.65, 0.53, 0.53, 0.0324634, 0.0300227, 0.0218571),
    },
    "notmnist": {
        ("Single", 0): (2.29, 2.08, 1.61, 0.0973864, 0.122331, 0.0619581),
        ("CE", 1): (2.05, 1.70, 1.67, 0.0912072, 0.0729853, 0.0597912),
        ("CE", 0.1): (2.49, 1.88, 1.74, 0.10222, 0.0886137, 0.0566993),
        ("CE", 0.01): (2.54, 1.67, 1.61, 0.107765, 0.10884, 0.0622045),
        ("CE", 0.0001): (2.36, 1.94, 1.61, 0.0975916, 0.113915, 0.0580449),
        ("L2", 1): (2.93, 2.53, 2.70, 0.119305, 0.113529, 0.10414),
        ("L2", 0.1): (2.12, 1.61, 1.74, 0.0901654, 0.0722657, 0.0662774),
        ("L2", 0.01): (2.25, 1.50, 1.55, 0.0891081, 0.0712102, 0.055066),
        ("L2", 0.0001): (2.36, 1.84, 1.57, 0.0979867, 0.100407, 0.056186),
        ("L1", 1): (4.43, 4.31, 4.37, 0.189134, 0.191429, 0.171096),
        ("L1", 0.1): (2.20, 1.61, 1.78, 0.0967725, 0.0726474, 0.0675368),
        ("L1", 0.01): (2.20, 1.54, 1.58, 0.0909284, 0.0764119, 0.053546),
        ("L1", 0.0001): (2.41, 1.90, 1.59, 0.103207, 0.106903, 0.0596633),
    },
    "cifar10": {
        ("Single", 0): (27.67, 23.01, 20.85, 0.96121, 1.94576, 1.07356),
        ("CE", 1): (24.62, 24.35, 21.60, 0.774816, 0.787899, 0.627583),
        ("CE", 0.1): (27.34, 23.41, 20.85, 0.949555, 0.870409, 0.673286),
        ("CE", 0.01): (28.15, 22.43, 20.42, 0.963046, 1.11529, 0.742132),
        ("CE", 0.0001): (27.90, 21.97, 20.01, 0.957336, 1.77734, 0.991118),
        ("L2", 1): (34.87, 33.53, 34.15, 1.02301, 1.01763, 0.987183),
        ("L2", 0.1): (23.39, 21.66, 21.12, 0.696001, 0.689528, 0.624529),
        ("L2", 0.01): (23.43, 23.10, 20.32, 0.706045, 0.766554, 0.595218),
        ("L2", 0.0001): (26.83, 21.99, 19.72, 0.925666, 0.990678, 0.677036),
        ("L1", 1): (45.74, 45.12, 45.42, 1.31941, 1.33951, 1.29754),
        ("L1", 0.1): (23.69, 22.41, 20.93, 0.704402, 0.705127, 0.612594),
        ("L1", 0.01): (26.09, 22.59, 20.86, 0.843182, 0.826856, 0.638807),
        ("L1", 0.0001): (27.33, 22.37, 20.16, 0.960852, 1.43472, 0.846999),
    },
}

# Mean and sample standard deviation of the test error in per cent, of ST, M and the ensemble, over the runs
# that are nearly independent of the method, Single and the three at weight 0.0001: the noise of one run.
PROXY: dict[str, tuple[tuple[float, float], ...]] = {
    "mnist": ((0.725, 0.05), (0.58, 0.08), (0.558, 0.04)),
    "notmnist": ((2.355, 0.05), (1.94, 0.10), (1.595, 0.02)),
    "cifar10": ((27.43, 0.46), (22.34, 0.49), (20.19, 0.48)),
}


def published(dataset: str, members: Sequence[str]) -> Published:
    """The author's figures under concord's names of costs; ``members`` are the names of ST and M here."""
    if dataset not in FINAL:
        raise UsageError(f"Noel 2017 has {', '.join(FINAL)}, not {dataset!r}{suggestion(dataset, FINAL)}")
    if len(members) != 2:
        raise UsageError(f"the ensembles of Noel 2017 have two members, ST and M; got {len(members)}")
    columns = (*members, ENSEMBLE)
    scores: dict[Setting, Mapping[str, Mapping[str, float]]] = {}
    drawn: dict[Setting, Mapping[str, Series]] = {}
    for cost, method in METHODS.items():
        for weight in [w for m, w in FINAL[dataset] if m == method]:
            figures = FINAL[dataset][method, weight]
            scores[cost, weight] = {
                "test_error": dict(zip(columns, [f / 100 for f in figures[:3]], strict=True)),
                "test_nll": dict(zip(columns, figures[3:], strict=True)),
            }
            series = curves()[dataset][f"{method} {weight:g}"]
            drawn[cost, weight] = {
                column: {measure: tuple(series[theirs][log]) for measure, log in MEASURES.items()}
                for column, theirs in zip(columns, COLUMNS, strict=True)
            }
    proxy = {
        column: (mean / 100, sd / 100) for column, (mean, sd) in zip(columns, PROXY[dataset], strict=True)
    }
    return Published(SOURCE, scores, drawn, proxy)


@cache
def curves() -> Mapping[str, Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]]:
    """Data set -> "L2 0.01" -> ST, M or Ens -> test_errors, test_costs, ... -> one number per epoch."""
    return json.loads(files("concord.report").joinpath("noel2017.json").read_text(encoding="utf-8"))["curves"]
