"""The receptive field of a unit, drawn on the picture, and the gradient inside of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concord.report.pictures import as_picture
from concord.report.svg import COLOURS, FAINT, svg
from concord.runs.seen import Axis, Interval, Seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 4.6  # inches
DARKEST = 1e-3  # of the largest gradient: what lies below is drawn as the least


def region_figure(seen: Seen, *, title: str) -> str:
    """The picture with the region that reaches the unit; dashed, what of it hangs over the border."""

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        pixels, grey = as_picture(seen.picture)
        ax.imshow(pixels, cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="none")
        _frame(ax, seen.rows.whole, seen.columns.whole, "--")
        _frame(ax, seen.rows.region, seen.columns.region, "-")
        height, width = seen.picture.shape[1:]
        _limits(ax, _reach(seen.rows, height), _reach(seen.columns, width), (height, width))

    return svg(SIDE, SIDE, title, draw)


def gradient_figure(seen: Seen, *, title: str) -> str:
    """The magnitude of the gradient in the region, dark to light over three powers of ten."""

    def draw(figure: "Figure") -> None:
        from matplotlib.colors import LogNorm

        ax = figure.subplots()
        scaled = seen.gradient / seen.gradient.max().clamp(min=1e-30)
        shown = scaled.where(scaled > 0, scaled.new_tensor(float("nan"))).clamp(min=DARKEST)
        heat = ax.imshow(shown.numpy(), cmap="magma", norm=LogNorm(DARKEST, 1), interpolation="none")
        _limits(ax, seen.rows.region, seen.columns.region, seen.picture.shape[1:])
        bar = figure.colorbar(heat, ax=ax, fraction=0.04, label="gradient, largest = 1")
        bar.set_ticks([DARKEST, 0.01, 0.1, 1], labels=[f"{DARKEST:g}", "0.01", "0.1", "1"])

    return svg(SIDE + 0.6, SIDE, title, draw)


def _frame(ax: "Axes", rows: Interval | None, columns: Interval | None, style: str) -> None:
    """Around whole pixels, whose centres are whole numbers."""
    if rows is None or columns is None:
        return
    (top, bottom), (left, right) = ((first - 0.5, last + 0.5) for first, last in (rows, columns))
    across, down = [left, right, right, left, left], [top, top, bottom, bottom, top]
    ax.plot(across, down, style, color=COLOURS[1], linewidth=2)


def _limits(ax: "Axes", rows: Interval | None, columns: Interval | None, picture: Sequence[int]) -> None:
    """Show these rows and columns; the whole picture where a unit sees nothing."""
    (top, bottom), (left, right) = rows or (0, picture[0] - 1), columns or (0, picture[1] - 1)
    ax.set(xlim=(left - 1, right + 1), ylim=(bottom + 1, top - 1), xlabel="column", ylabel="row")
    ax.locator_params(integer=True)
    ax.spines[:].set(visible=True, color=FAINT)


def _reach(axis: Axis, size: int) -> Interval:
    """The picture, and what of the field lies beyond it, at most a quarter of a side."""
    first, last = axis.whole or (0, size - 1)
    return max(min(first, 0), -size // 4), min(max(last, size - 1), size + size // 4)
