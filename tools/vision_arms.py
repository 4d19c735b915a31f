"""Arms of an experiment on masks or boxes, each trained with several seeds, and their paired differences.

    python tools/vision_arms.py docs/results/arms/bccd.toml --data DATA --out bccd.jsonl
    python tools/vision_arms.py docs/results/arms/bccd.toml --out bccd.jsonl --compare v2 --figure ap50

The file has the settings of a run under ``base`` and, under ``arms``, what each arm changes of them as
``"key.path" = value``. Every training is one line of JSON with all test figures; arms and seeds that stand in
the file already are left out. Differences are paired by seed: mean, 95 % t interval, and the p of an exact
test that flips their signs.
"""

import argparse
import copy
import json
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import concord
from concord.errors import DivergedError
from concord.report.compare import interval, paired_difference
from concord.runs import toml


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines that are there already."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def trained(tables: Mapping[str, Any], arm: str, seed: int) -> dict[str, Any]:
    """One training in a folder that is thrown away; gives its figures and the validation curve."""
    began, began_wall = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = concord.train(tables, out=Path(folder, "run"))
        epochs = [json.loads(line) for line in Path(folder, "run/metrics.jsonl").read_text().splitlines()]
    plain = run.to_dict()
    keys = ("members", "ensemble", "agreement")
    return {
        "arm": arm,
        "seed": seed,
        "processor_seconds": round(time.process_time() - began),
        "wall_seconds": round(time.monotonic() - began_wall),
        **{key: plain[key] for key in keys if key in plain},
        "valid": [epoch["valid"] for epoch in epochs],
    }


def arms_of(settings: Mapping[str, Any], data: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every arm with the tables of its runs."""
    for name, changes in settings["arms"].items():
        tables = copy.deepcopy(settings["base"])
        if data:
            toml.put(tables, "data.source", data)
        for key, value in changes.items():
            toml.put(tables, key, value)
        yield name, tables


def row_of(line: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    """Figures of a member, by its name or its place, or of the ensemble."""
    rows: Mapping[str, Mapping[str, Any]] = {**line["members"], "ensemble": line["ensemble"]}
    return rows.get(member) or next(iter(rows.values()))


def compared(lines: Sequence[Mapping[str, Any]], to: str, figure: str, member: str) -> Iterator[str]:
    """A line for each arm: the mean, and the difference to the arm ``to``."""
    values: dict[str, dict[int, float]] = {}
    for line in lines:
        if "diverged" in line:
            yield f"{line['arm']}: seed {line['seed']} diverged"
            continue
        values.setdefault(line["arm"], {})[line["seed"]] = row_of(line, member)[figure]
    if to not in values:
        raise SystemExit(f"no training of the arm {to} has ended")
    for arm, own in values.items():
        mean, bounds = float(np.mean(list(own.values()))), interval(list(own.values()))
        shown = "" if bounds is None else f" ({bounds[0]:.4f} to {bounds[1]:.4f})"
        text = f"{arm}: {figure} {mean:.4f}{shown}, {len(own)} seeds"
        apart = None if arm == to else paired_difference(own, values[to])
        if apart is not None and apart.low is not None:
            differences = [own[seed] - values[to][seed] for seed in own.keys() & values[to].keys()]
            flipped = stats.permutation_test(
                (differences,), np.mean, permutation_type="samples", vectorized=False
            )
            text += f"; minus {to} {apart.mean:+.4f} ({apart.low:+.4f} to {apart.high:+.4f})"
            text += f", p {flipped.pvalue:.3f}"
        yield text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--arms", help="Only these, with commas between them.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--compare", metavar="ARM", help="Show the differences to this arm, and train nothing."
    )
    parser.add_argument("--figure", default="ap50")
    parser.add_argument("--member", default="ensemble", help="Of which member the figure is.")
    given = parser.parse_args(arguments)
    if given.compare:
        print("\n".join(compared(lines_of(given.out), given.compare, given.figure, given.member)))
        return
    settings = tomllib.loads(given.settings.read_text())
    wanted = given.arms.split(",") if given.arms else [*settings["arms"]]
    for seed in range(given.seeds):  # a seed of every arm before the next: a first look comes early
        for arm, tables in arms_of(settings, given.data):
            done = {(line["arm"], line["seed"]) for line in lines_of(given.out)}
            if arm not in wanted or (arm, seed) in done:
                continue
            toml.put(tables, "train.seed", seed)
            try:
                line = json.dumps(trained(tables, arm, seed))
            except DivergedError as error:
                line = json.dumps({"arm": arm, "seed": seed, "diverged": str(error)})
            with given.out.open("a") as file:
                file.write(line + "\n")
            print(line[:160], flush=True)


if __name__ == "__main__":
    main()
