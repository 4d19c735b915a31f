"""One HTML page about what a unit of a network sees of a picture."""

from pathlib import Path

from concord.cost.record import times
from concord.report.document import document, write_html
from concord.report.field_figure import gradient_figure, region_figure
from concord.report.parts import Beside, Drawing, Part, Section
from concord.report.tables import Table, entries
from concord.runs.seen import Axis, Interval, Seen


def write_field(seen: Seen, to: str | Path) -> None:
    """The page as a file; UsageError for a place that is a folder, or does not end in .html."""
    write_html(to, field_page(seen), "field.html")


def field_page(seen: Seen) -> str:
    """The page: the table, the picture with the region, and the gradient beside it."""
    title = f"{seen.network}: what unit {_unit(seen)} sees"
    drawings = Beside((_region(seen), _gradient(seen)))
    opening: list[Part] = [seen_table(seen)]
    return document(f"concord: {title}", opening, [Section("field", "Receptive field", (drawings,))])


def seen_table(seen: Seen) -> Table:
    """Rows and columns: the whole field, its part on the picture, and where the gradient is not zero."""
    layer = f"{seen.layer or 'network'} ({seen.type})"
    place = f"unit {_unit(seen)} of the {times(seen.map)} map of {layer}"
    caption = f"{seen.network}, {place}, picture {times(seen.picture.shape[1:])}"
    header = ("", "whole field", "on the picture", "gradient not zero")
    rows = tuple(
        entries(*_row(name, axis)) for name, axis in (("rows", seen.rows), ("columns", seen.columns))
    )
    bounds = "The fields are upper bounds: the unit may see less."
    notes = () if seen.rows.exact and seen.columns.exact else (bounds,)
    return Table(caption, header, rows, 1, notes)


def _row(name: str, axis: Axis) -> tuple[str, str, str, str]:
    return name, _ends(axis.whole), _ends(axis.region), _ends(axis.gradient)


def _ends(interval: Interval | None) -> str:
    """``0 to 14 (15)``"""
    if interval is None:
        return "none"
    first, last = interval
    return f"{first} to {last} ({last - first + 1})"


def _region(seen: Seen) -> Drawing:
    figure = region_figure(seen, title=f"{seen.network}: receptive field of unit {_unit(seen)}")
    return Drawing(
        figure,
        "Orange: the pixels that can reach the unit, from the kernels, strides and padding of the layers. "
        "Dashed: the whole field, where it hangs over the border of the picture and reads padding.",
    )


def _gradient(seen: Seen) -> Drawing:
    figure = gradient_figure(seen, title=f"{seen.network}: gradient of unit {_unit(seen)}")
    return Drawing(
        figure,
        "How strongly every pixel of the region moves the unit: the gradient of its outputs, all channels "
        "added up, with the weights as they start; white where it is zero. In a deep network most of it lies "
        "near the centre of the field, because more paths lead from there to the unit (Luo et al. 2016).",
    )


def _unit(seen: Seen) -> str:
    return f"{seen.unit[0]},{seen.unit[1]}"
