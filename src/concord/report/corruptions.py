"""Errors on corrupted images as tables."""

from concord.data.images.corrupt import FAMILIES, STRENGTHS
from concord.report.tables import Table, entries, scored
from concord.report.text import decimal, percent, whole
from concord.runs.corruptions import Corruptions


def corruption_tables(found: Corruptions) -> list[Table]:
    """A row per network with the means, and a row per corruption of the last network, the ensemble."""
    return [means_table(found), strengths_table(found, [*found.networks][-1])]


def means_table(found: Corruptions) -> Table:
    """Clean error, mean error over all corruptions and over each family, and mean calibration error."""
    networks = found.networks.values()
    columns = [
        scored([n.clean_error for n in networks], percent),
        scored([n.mean_error for n in networks], percent),
        *(scored([n.family(name) for n in networks], percent) for name in FAMILIES),
        scored([n.clean_ece for n in networks], decimal),
        scored([n.mean_ece for n in networks], decimal),
    ]
    rows = tuple(
        (*entries(name), *row) for name, row in zip(found.networks, zip(*columns, strict=True), strict=True)
    )
    header = ("network", "clean", "corrupted", *FAMILIES, "ECE clean", "ECE corrupted")
    caption = (
        f"Error in % on {whole(found.samples)} corrupted test images, mean over strengths 1 to {STRENGTHS}"
    )
    marked = "The smallest of each column is marked."
    return Table(caption, header, rows, notes=(marked, *found.notices))


def strengths_table(found: Corruptions, name: str) -> Table:
    """Error at every strength, and their mean."""
    errors = found.networks[name].errors
    rows = [
        entries(corruption.replace("_", " "), *map(percent, row), percent(sum(row) / len(row)))
        for corruption, row in errors.items()
    ]
    columns = [*zip(*errors.values(), strict=True)]
    means = [sum(column) / len(column) for column in columns]
    rows.append(entries("mean", *map(percent, means), percent(found.networks[name].mean_error)))
    header = ("corruption", *(f"strength {s}" for s in range(1, STRENGTHS + 1)), "mean")
    return Table(f"Error of {name} in %", header, tuple(rows))
