"""Are networks that were trained together more robust, and do attacks transfer more between them?

    python tools/robustness_study.py STUDY [--limit 1000] [--eps 0.05,0.1,0.15,0.2,0.25,0.3] [--pgd 0.1]
                                     [--steps 40] [--arms "none,l2 0.01"]

STUDY is a folder of ``concord study``. Every member of every run is attacked with FGSM and with PGD on the
same test images. Printed as Markdown, per arm: mean error over the seeds with its 95 % interval (Student's
t), and the difference to the plain ensemble, paired seed by seed; then, of the images that fool one member,
the share that fools its partner too, with a row for members of *different* runs of the plain ensemble,
attacked in one seed and tested in the next. That row goes round the seeds (s -> the next, the last -> the
first), so each plain run serves twice, once attacked and once tested: its values are not independent, and
its interval is a little too small.

Two tables tell whether attacks by gradient can be believed, on the images as they are: the share whose
gradient is exactly zero (or no number), and the median margin, the logit of the label minus the largest
other one. An arm with larger margins has smaller gradients; that alone is no robustness.

--arms restricts the rows. The figures of finished runs are kept in STUDY.robustness.json, beside the study.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isnan
from pathlib import Path

import torch

from concord.attack.strike import margins, strike, stuck_samples, untouched
from concord.attack.transfer import fooled_matrix
from concord.consensus.names import NONE
from concord.data.images.images import Images
from concord.errors import ConcordError, DataError, UsageError
from concord.files.atomic import replace
from concord.report.compare import paired_difference, summary
from concord.report.tables import Table, entries, markdown
from concord.report.text import percent, points, probability, setting_label
from concord.runs import toml
from concord.runs.attack_inputs import images_of, load_all, networks_of
from concord.runs.attack_plan import STEPS, Plan, plan_of, sizes
from concord.runs.attack_runs import attack_of
from concord.runs.pixels import unit
from concord.studies import grid
from concord.studies.rows import GridCell

BATCH = 250
OTHER = "another run"


@dataclass
class Figures:
    """``values[attack][row][column][seed]``: errors, and shares of transfer; the others without attack."""

    errors: dict = field(default_factory=lambda: defaultdict(by_row))
    transfer: dict = field(default_factory=lambda: defaultdict(by_row))
    stuck: dict = field(default_factory=lambda: by_row())
    margin: dict = field(default_factory=lambda: by_row())


def by_row() -> dict:
    return defaultdict(lambda: defaultdict(dict))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--limit", type=int, default=1000, help="test images")
    parser.add_argument("--eps", default="0.05,0.1,0.15,0.2,0.25,0.3", help="sizes of FGSM")
    parser.add_argument("--pgd", type=float, default=0.1, help="size of PGD")
    parser.add_argument("--steps", type=int, default=STEPS, help="of PGD")
    parser.add_argument("--arms", help='rows, as "none,l2 0.01"; default: all')
    options = parser.parse_args(arguments)
    try:
        attack_study(options)
    except ConcordError as error:
        print(f"robustness_study: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def attack_study(options: argparse.Namespace) -> None:
    if options.limit < 1:
        raise UsageError(f"--limit must be at least 1, got {options.limit}")
    attacks = {f"FGSM {eps:g}": (plan_of("fgsm", [eps]), eps) for eps in sizes(options.eps)}
    pgd = f"PGD {options.pgd:g}, {options.steps} steps"
    attacks[pgd] = plan_of("pgd", [options.pgd], steps=options.steps), options.pgd
    cells = complete(options.study, options.arms)
    kept: dict[str, dict] = {}
    study = options.study.resolve()
    file = study.with_name(f"{study.name}.robustness.json")
    for members in dict.fromkeys(cell.members for cell in cells):
        figures = Figures()
        kept[" + ".join(members)] = vars(figures)
        chosen = [cell for cell in cells if cell.members == members]
        for cell in measure(figures, options.study, chosen, attacks, options.limit):
            print(f"{cell.name}: done", file=sys.stderr, flush=True)
            replace(file, json.dumps({"limit": options.limit, "members": kept}, indent=1).encode())
        report(figures, members, list(attacks), options.limit)


def complete(study: Path, arms: str | None = None) -> list[GridCell]:
    """Finished runs of several members, of these arms; a member trained alone has no partner."""
    if not study.is_dir():
        raise UsageError(f"{study}: no such folder; name a folder of `concord study`")
    planned = grid.cells(*grid.parse(toml.read(study / "study.toml")), study / "cells")
    cells = [cell for cell in planned if len(cell.members) > 1 and cell.only is None]
    if arms is not None:
        wanted, known = [arm.strip() for arm in arms.split(",")], dict.fromkeys(map(row_of, cells))
        for arm in wanted:
            if arm not in known:
                raise UsageError(f"--arms: no arm {arm!r} in {study}; there are: {', '.join(known)}")
        cells = [cell for cell in cells if row_of(cell) in wanted]
    finished = [cell for cell in cells if (study / "cells" / cell.name / "result.json").is_file()]
    if not finished:
        raise DataError(f"{study} has no finished run of several members: nothing to attack")
    return finished


def row_of(cell: GridCell) -> str:
    return setting_label(cell.cost, cell.weight)


def measure(
    figures: Figures,
    study: Path,
    cells: Sequence[GridCell],
    attacks: dict[str, tuple[Plan, float]],
    limit: int,
) -> Iterator[GridCell]:
    """Attacks run after run, and gives each that is done."""
    plain = [cell for cell in cells if cell.cost == NONE]
    for cell in cells:
        folders = [study / "cells" / cell.name]
        if cell.cost == NONE and len(plain) > 1:  # the same network of another seed is asked too
            folders.append(study / "cells" / plain[(plain.index(cell) + 1) % len(plain)].name)
        loaded = load_all(folders, allow_code=())
        images = images_of(loaded, None, limit, None)
        networks = networks_of(folders[:1], loaded[:1])
        if loaded[1:]:
            strangers = networks_of(folders[1:], loaded[1:])
            networks |= {f"{OTHER} {name}": network for name, network in strangers.items()}
        attack_cell(figures, cell, networks, images, attacks)
        yield cell


def attack_cell(figures, cell, networks, images: Images, attacks) -> None:
    row, names, labels = row_of(cell), list(networks), images.labels.cpu()
    own = [name for name in names if not name.startswith(OTHER)]
    batches = [
        (unit(x), y) for x, y in zip(images.pixels.split(BATCH), images.labels.split(BATCH), strict=True)
    ]
    clean, _ = untouched(networks, batches)
    for name in own:
        figures.stuck[row][name][cell.seed] = stuck_samples(networks[name], batches).double().mean().item()
        figures.margin[row][name][cell.seed] = margins(networks[name], batches).quantile(0.5).item()
    for attack, (plan, eps) in attacks.items():
        votes = torch.stack([strike(networks, name, batches, attack_of(plan, eps)).votes for name in own])
        fooled = fooled_matrix(votes, clean, labels, range(len(own)))
        for i, name in enumerate(own):
            figures.errors[attack][row][name][cell.seed] = (votes[i, i] != labels).double().mean().item()
            figures.errors["no attack"][row][name][cell.seed] = (clean[i] != labels).double().mean().item()
        for a, b in product(cell.members, repeat=2):
            i, arrow = names.index(a), f"{a} -> {b}"
            if a != b:
                keep(figures.transfer[attack][row][arrow], cell.seed, fooled[i, names.index(b)])
            if f"{OTHER} {b}" in names:
                share = fooled[i, names.index(f"{OTHER} {b}")]
                keep(figures.transfer[attack][f"{row}, {OTHER}"][arrow], cell.seed, share)


def keep(found: dict[int, float], seed: int, share: torch.Tensor) -> None:
    """Nothing can be said where nobody was fooled."""
    if not isnan(share.item()):
        found[seed] = share.item()


def report(figures: Figures, members: Sequence[str], attacks: Sequence[str], limit: int) -> None:
    print(f"## {' + '.join(members)}, at most {limit:,} test images\n")
    print(markdown(table("Images whose gradient is exactly zero, in %, no attack", figures.stuck)))
    print(markdown(table("Median margin in nats, no attack", figures.margin, nats, signed_nats)))
    for attack in ["no attack", *attacks]:
        print(markdown(table(f"Error in %, {attack}", figures.errors[attack])))
    for attack in attacks:
        print(
            markdown(
                table(
                    f"Fooled too, in % of what fooled the first network, {attack}", figures.transfer[attack]
                )
            )
        )


def nats(value: float) -> str:
    return f"{value:.2f}"


def signed_nats(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # no "-0.00"


def table(
    caption: str,
    rows: dict[str, dict[str, dict[int, float]]],
    write: Callable[[float], str] = percent,
    signed: Callable[[float], str] = points,
) -> Table:
    """Mean over the seeds with its interval, and below it the paired difference to the plain ensemble."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = []
    for name, row in sorted(rows.items(), key=lambda item: item[0] != NONE):
        lines.append(entries(name, *(average(row.get(column, {}), write) for column in columns)))
        if name != NONE and NONE in rows:
            told = (difference(row.get(column, {}), rows[NONE].get(column, {}), signed) for column in columns)
            lines.append(entries(f"{name}, difference", *told))
    return Table(caption, ("arm", *columns), tuple(lines))


def average(values: dict[int, float], write: Callable[[float], str]) -> str:
    if not values:
        return "-"
    found = summary(list(values.values()))
    if found.low is None:
        return write(found.mean)
    return f"{write(found.mean)} ({write(found.low)} to {write(found.high)})"


def difference(values: dict[int, float], baseline: dict[int, float], signed: Callable[[float], str]) -> str:
    found = paired_difference(values, baseline)
    if found is None:
        return "-"
    if found.low is None:
        return signed(found.mean)
    return f"{signed(found.mean)} ({signed(found.low)} to {signed(found.high)}), p {probability(found.p)}"


if __name__ == "__main__":
    sys.exit(main())
