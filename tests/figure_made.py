"""Figures before they become SVG: what matplotlib was asked to draw, to be compared number by number."""

import importlib

import pytest
from matplotlib.figure import Figure


def drawn(function, *arguments, **options):
    """The figure that a function of ``concord.report`` draws, instead of its SVG."""
    found = []

    def kept(width, height, title, draw):
        figure = Figure(figsize=(width, height))
        draw(figure)
        found.append(figure)
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module(function.__module__), "svg", kept)
        function(*arguments, **options)
    (figure,) = found
    return figure


def points(line):
    """Of a matplotlib line: pairs of numbers."""
    return list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))


def dashes(line):
    """Lengths of dash and gap in points for width 1; None for a solid line."""
    return line._unscaled_dash_pattern[1]
