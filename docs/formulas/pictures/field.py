"""Which rows of a picture the units of a third layer see."""

from matplotlib.figure import Figure

from concord.cost.arithmetic import output_size
from concord.cost.field import Field
from concord.cost.field_rules import window
from concord.report.svg import COLOURS, svg

SIDE = 128


def third_layer() -> Field:
    size, field = SIDE, Field.of_input("rows", SIDE)
    for _ in range(3):
        size = output_size(size, kernel=5, stride=2, padding=2, dilation=1)
        field = window(field, kernel=5, stride=2, padding=2, units=size)
    return field


def picture() -> str:
    field = third_layer()

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for unit in range(field.units):
            low, high = field.at(unit)
            first, last = field.region(unit)
            inside = (low, high) == (first, last)
            ax.barh(unit, high - low + 1, left=low - 0.5, height=0.7, color="#e8e8e8")
            colour = COLOURS[0] if inside else COLOURS[1]
            ax.barh(unit, last - first + 1, left=first - 0.5, height=0.7, color=colour)
            ax.text(
                (first + last) / 2,
                unit,
                last - first + 1,
                color="white",
                ha="center",
                va="center",
                fontsize=7,
            )
        for border in (-0.5, SIDE - 0.5):
            ax.axvline(border, color="#222222", linewidth=1)
        ax.set_xlim(-16, SIDE + 16)
        ax.set_xticks(range(0, SIDE, 16))
        ax.set_yticks(range(0, field.units, 3))
        ax.invert_yaxis()
        ax.set_xlabel("row of the picture (grey: padding)")
        ax.set_ylabel("row of layer 3")

    return svg(
        7.2, 3.6, "Rows of the picture that each row of the third layer sees: 29, fewer at the borders", draw
    )
