"""Figures along the steps of a sequence: where members err, and what they hold."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from concord.report.svg import COLOURS, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

BINS = 60
MOST_UNITS = 64
WRITTEN = 60  # steps up to which every symbol stands below its column


def errors_at(labels: "Tensor", targets: "Tensor", bins: int = BINS) -> tuple[list[float], list[float]]:
    """Middle places of at most so many runs of steps, and the share of wrong ones in each.

    Steps without a target count nowhere. Shape: (N, T), (N, T)
    """
    there = targets >= 0
    wrong, count = ((labels != targets) & there).sum(0).double(), there.sum(0).double()
    edges = torch.linspace(0, len(count), min(bins, len(count)) + 1).round().long().tolist()
    places, shares = [], []
    for low, high in pairwise(edges):
        if total := count[low:high].sum().item():
            places.append((low + high - 1) / 2 + 1)
            shares.append(wrong[low:high].sum().item() / total)
    return places, shares


def error_by_step(labels: Mapping[str, "Tensor"], targets: "Tensor", *, title: str) -> str:
    """A curve for each member: per cent of errors against the place of a step."""

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for k, (name, given) in enumerate(labels.items()):
            places, shares = errors_at(given, targets)
            ax.plot(places, [100 * share for share in shares], color=COLOURS[k % len(COLOURS)], label=name)
        ax.set(xlabel="step", ylabel="errors %")
        ax.set_ylim(bottom=0)
        ax.grid(axis="y")
        ax.legend()

    return svg(7.5, 2.8, title, draw)


def states_over_time(states: "Tensor", symbols: Sequence[str], *, title: str) -> str:
    """Units down, steps across; blue is negative, orange positive. Shape: states (T, H)"""
    shown = states.T[:MOST_UNITS]

    def draw(figure: "Figure") -> None:
        from matplotlib.colors import LinearSegmentedColormap

        ax = figure.subplots()
        limit = shown.abs().max().clamp(min=1e-12).item()
        colours = LinearSegmentedColormap.from_list("states", [COLOURS[0], "#f7f7f7", COLOURS[1]])
        image = ax.imshow(
            shown.numpy(), cmap=colours, vmin=-limit, vmax=limit, aspect="auto", interpolation="none"
        )
        if symbols and len(symbols) <= WRITTEN:
            ax.set_xticks(range(len(symbols)), [_visible(symbol) for symbol in symbols])
        ax.set(xlabel="step", ylabel="unit")
        figure.colorbar(image, ax=ax, fraction=0.03)

    return svg(7.5, 1.4 + 0.05 * len(shown), title, draw)


def _visible(symbol: str) -> str:
    return {" ": "␣", "\n": "↵", "\t": "⇥"}.get(symbol, symbol)
