"""Temperatures and sets of labels as tables."""

from collections.abc import Mapping

from concord.consensus.names import ENSEMBLE
from concord.report.parts import Notice, Part
from concord.report.tables import Table, entries
from concord.report.text import MISSING, decimal, percent
from concord.runs.uncertainty import Uncertainty

SCALED = (
    "T: the temperature by which logits are divided, found on the validation part by minimising NLL. Below 1"
    " a member was not sure enough, above 1 too sure. NLL and ECE are those of the test part."
)
SETS = (
    "A set has the true label of a new image like the validation images as often as wanted, or more often."
    " lac: smallest sets on average; aps and raps: larger where an image is hard. Size: mean labels in a set."
)
Figures = Mapping[str, tuple[float, float]]  # member -> NLL and ECE before the temperature


def uncertainty_parts(found: Uncertainty, before: Figures) -> list[Part]:
    """Both tables, and what is to be known of the validation part."""
    return [temperature_table(found, before), sets_table(found), *map(Notice, found.notes)]


def temperature_table(found: Uncertainty, before: Figures) -> Table:
    """A row per member and one for the ensemble of several."""
    rows = []
    for name in _names(found):
        own, (nll, ece) = found.of(name), before[name]
        shown = MISSING if own.temperature is None else f"{own.temperature:.3f}"
        rows.append(entries(name, shown, *map(decimal, (nll, own.nll, ece, own.ece))))
    header = ("member", "T", "NLL", "NLL scaled", "ECE", "ECE scaled")
    return Table("Temperature scaling", header, tuple(rows), notes=(SCALED,))


def sets_table(found: Uncertainty) -> Table:
    """Coverage and mean size of the sets of each method on the test part."""
    names = _names(found)
    methods = tuple(found.of(names[0]).sets)
    rows = []
    for name in names:
        figures = [found.of(name).sets[method] for method in methods]
        rows.append(
            entries(name, *(text for s in figures for text in (percent(s.coverage), decimal(s.size, 2))))
        )
    header = ("member", *(f"{method} {what}" for method in methods for what in ("coverage %", "size")))
    caption = f"Sets of labels for a coverage of {100 * found.coverage:g} %"
    return Table(caption, header, tuple(rows), notes=(f"{found.samples:,} validation images. {SETS}",))


def _names(found: Uncertainty) -> tuple[str, ...]:
    return (*found.members, ENSEMBLE) if len(found.members) > 1 else tuple(found.members)
