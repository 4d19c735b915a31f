"""Drawings of dilated causal convolutions: which inputs a step sees, level by level."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concord.report.over_time import Stage, blocks, causal, convolutions
from concord.report.svg import COLOURS, FAINT, INK, MINUS, svg
from concord.report.unfolded import unfolded
from concord.report.unfolded_parts import Unfolded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST = 48  # steps that fit side by side


def first_levels(chain: Sequence[Stage]) -> tuple[Stage, ...]:
    """The lowest levels, as many as can be drawn step by step, and at least one."""
    levels = [stage for stage in chain if stage.path in dict(blocks(chain))]
    count = max(1, sum(_sees(levels[: n + 1]) <= WIDEST for n in range(len(levels))))
    return tuple(levels[:count])


def _sees(levels: Sequence[Stage]) -> int:
    return 1 + sum(conv.past for _, conv in convolutions(levels))


def sees(chain: Sequence[Stage]) -> list[tuple[int, int]]:
    """For each level its dilation, and the number of steps that one of its steps sees of the input."""
    found = []
    steps = 1
    for path, block in blocks(chain):
        inside = [conv for _, conv in causal(path, block)]
        steps += sum(conv.past for conv in inside)
        found.append((int(inside[0].dilation[0]), steps))
    return found


def connections_figure(levels: Sequence[Stage], *, title: str) -> str:
    """Every convolution of these levels, with all that the last step depends on."""
    steps = _sees(levels)
    drawn = unfolded(levels, steps)
    rows = [row for row in drawn.rows if row.kind != "output"]

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        _paths(ax, drawn, steps)
        for row in rows:
            ax.text(steps + 0.3, row.height, _label(row.name, row.note), va="center", fontsize=8.5)
        every = max(1, steps // 12)
        ticks = [t for t in range(steps - 1, -1, -1) if (steps - 1 - t) % every == 0]
        ax.set_xticks(ticks, ["t" if t == steps - 1 else f"t{MINUS}{steps - 1 - t}" for t in ticks])
        ax.set(xlim=(-0.8, steps + 0.2), ylim=(-0.35, rows[-1].height + 0.35), yticks=[])
        ax.tick_params(length=0)
        for side in ("left", "bottom"):
            ax.spines[side].set_visible(False)

    return svg(11.0, 0.6 + 0.85 * len(rows), title, draw)


def _label(name: str, note: str) -> str:
    return "input" if name == "x" else f"{name}\n{note}"


def _paths(ax: "Axes", drawn: Unfolded, steps: int) -> None:
    """All nodes as rings; those on a path to the last one filled, with the arrows between them."""
    import networkx
    from matplotlib.collections import LineCollection

    heights = {row.name: row.height for row in drawn.rows}
    last = (drawn.rows[-2].name, steps - 1)
    on_path = {last, *networkx.ancestors(drawn.graph(), last)}
    for passes, colour, width in (("input", COLOURS[0], 0.7), ("shortcut", COLOURS[1], 1.3)):
        lines = [
            [(a.source[1], heights[a.source[0]]), (a.target[1], heights[a.target[0]])]
            for a in drawn.arrows
            if a.passes == passes and a.target in on_path and a.target[0] != "y"
        ]
        ax.add_collection(LineCollection(lines, colors=colour, linewidths=width, zorder=1))
    for row in drawn.rows[:-1]:
        for step in row.steps:
            seen = (row.name, step) in on_path
            colour = (INK if row.kind == "input" else COLOURS[0]) if seen else FAINT
            face = colour if seen else "white"
            ax.plot(step, row.height, "o", color=colour, markerfacecolor=face, markersize=5)


def reach_figure(chain: Sequence[Stage], steps: int, *, title: str) -> str:
    """Steps of the input that one step sees after each level, and the length of the input."""
    levels = sees(chain)

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        numbers = range(1, len(levels) + 1)
        ax.barh(numbers, [seen for _, seen in levels], 0.62, color=COLOURS[0])
        for number, (_, seen) in zip(numbers, levels, strict=True):
            ax.text(seen * 1.06, number, f"{seen:,}", va="center", fontsize=9)
        ax.axvline(steps, color=COLOURS[1], linewidth=1.2, linestyle=(0, (4, 2)))
        ax.text(steps, len(levels) + 0.6, f"input: {steps:,}", color=COLOURS[1], fontsize=9, ha="center")
        ax.set_xscale("log", base=2)
        ax.set_yticks(numbers, [f"level {n}, dilation {d}" for n, (d, _) in enumerate(levels, 1)])
        ax.set(xlim=(1, 1.6 * max(steps, levels[-1][1])), xlabel="steps of the input that one step sees")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.tick_params(axis="y", length=0)

    return svg(7.5, 0.9 + 0.32 * len(levels), title, draw)
