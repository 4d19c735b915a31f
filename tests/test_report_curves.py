"""Every number and mark of the line charts, on curves worked by hand."""

import pytest
from figure_made import dashes, drawn, points

from concord.report.curves import LABEL, Curve, Panel, line_chart
from concord.report.svg import COLOURS, FAINT, GREYS

RISING = Curve("l2", (1, 2, 4), (0.5, 0.25, 0.125))
PLAIN = Curve("plain", (1, 2, 4), (0.75, 0.5, 0.0625), plain=True)
PUBLISHED = Curve("l2", (1, 3), (0.375, 0.3125), published=True)


def panel(*curves, **options):
    return Panel("MNIST", "error, %", curves, **options)


def chart(*panels, **options):
    """The axes of a chart of one row."""
    return drawn(line_chart, [panels], title="t", **options).axes


def test_fractions_are_drawn_in_per_cent_and_other_values_as_they_are():
    curves = (RISING, PLAIN, PUBLISHED)
    per_cent, as_given = chart(panel(*curves, percent=True), panel(*curves))
    assert [points(line) for line in per_cent.lines] == [
        [(1, 50), (2, 25), (4, 12.5)],
        [(1, 75), (2, 50), (4, 6.25)],
        [(1, 37.5), (3, 31.25)],
    ]
    assert [points(line) for line in as_given.lines] == [
        [(1, 0.5), (2, 0.25), (4, 0.125)],
        [(1, 0.75), (2, 0.5), (4, 0.0625)],
        [(1, 0.375), (3, 0.3125)],
    ]


def test_members_are_solid_in_colour_plain_ones_grey_and_published_ones_dashed():
    (ax,) = chart(panel(RISING, PLAIN, PUBLISHED))
    ours, plain, published = ax.lines
    assert [line.get_color() for line in ax.lines] == [COLOURS[0], GREYS[0], COLOURS[0]]
    assert [dashes(line) for line in ax.lines] == [None, None, (4, 2)]
    assert published.get_linewidth() < min(ours.get_linewidth(), plain.get_linewidth())
    assert (published.get_alpha(), ours.get_alpha()) == (0.8, None)


def test_a_curve_of_one_epoch_is_a_mark_and_a_longer_one_has_none():
    (ax,) = chart(panel(Curve("one", (3,), (0.5,)), Curve("two", (3, 4), (0.5, 0.25))))
    assert [line.get_marker() for line in ax.lines] == ["o", "None"]
    (ax,) = chart(
        panel(Curve("one", (3,), (0.5,), published=True), Curve("two", (3, 4), (1, 2), published=True))
    )
    assert [line.get_marker() for line in ax.lines] == ["o", "None"]
    (ax,) = chart(panel(Curve("two", (3, 4), (0.5, 0.25))), last=1)
    assert (ax.lines[0].get_marker(), points(ax.lines[0])) == ("o", [(4, 0.25)])


def test_when_the_colours_run_out_the_dash_changes():
    curves = [Curve(f"{i}", (1, 2), (1, 2)) for i in range(2 * len(COLOURS) + 1)]
    greys = [Curve(f"plain {i}", (1, 2), (1, 2), plain=True) for i in range(len(GREYS) + 1)]
    (ax,) = chart(panel(*curves, *greys))
    n = len(COLOURS)
    assert [line.get_color() for line in ax.lines] == [*COLOURS, *COLOURS, COLOURS[0], *GREYS, GREYS[0]]
    styles = [line.get_linestyle() for line in ax.lines]
    assert styles == ["-"] * n + ["-."] * n + [":"] + ["-"] * len(GREYS) + ["-."]


def test_one_label_has_one_colour_in_all_panels():
    first, second = chart(panel(RISING, Curve("l1", (1,), (1,))), panel(Curve("l1", (1,), (2,)), RISING))
    assert [line.get_color() for line in first.lines] == [COLOURS[0], COLOURS[1]]
    assert [line.get_color() for line in second.lines] == [COLOURS[1], COLOURS[0]]


def test_the_last_epochs_are_the_last_ones_of_each_curve():
    (ax,) = chart(panel(RISING, PUBLISHED), last=2)
    assert [points(line) for line in ax.lines] == [[(2, 0.25), (4, 0.125)], [(1, 0.375), (3, 0.3125)]]


def test_titles_and_labels():
    long = Panel("x" * 40, "loss", (RISING,))
    first, second = chart(panel(RISING), long)
    assert (first.get_title(), first.get_ylabel(), first.get_xlabel()) == ("MNIST", "error, %", "epoch")
    assert (len(second.get_title()), second.get_ylabel(), second.get_xlabel()) == (LABEL, "loss", "epoch")


def test_only_the_lowest_panels_name_the_epochs_and_missing_ones_are_hidden():
    figure = drawn(line_chart, [[panel(RISING), panel(PLAIN)], [panel(PLAIN)]], title="t")
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "epoch", "epoch"]
    assert [ax.get_visible() for ax in figure.axes] == [True, True, True, False]


def test_the_legend_names_each_label_once_and_the_dashes_if_there_are_any():
    def legend(*curves):
        (found,) = drawn(line_chart, [[panel(*curves), panel(*curves)]], title="t").legends
        lines = [(line.get_color(), dashes(line)) for line in found.get_lines()]
        return [text.get_text() for text in found.get_texts()], lines

    assert legend(RISING, PLAIN) == (["l2", "plain"], [(COLOURS[0], None), (GREYS[0], None)])
    names, lines = legend(RISING, PUBLISHED)
    assert (names, lines) == (["l2", "dashed: published"], [(COLOURS[0], None), (FAINT, (4, 2))])


def test_the_size_grows_with_rows_columns_and_lines_of_the_legend():
    def size(rows, columns, labels, **options):
        curves = [Curve(f"{i}", (1,), (1,), **options) for i in range(labels)]
        return drawn(line_chart, [[panel(*curves)] * columns] * rows, title="t").get_size_inches().tolist()

    assert size(1, 2, 3) == pytest.approx([7.1, 3.17])
    assert size(2, 2, 4) == pytest.approx([7.1, 5.84])
    assert size(1, 2, 3, published=True) == pytest.approx([7.1, 3.39])  # a fourth entry: its explanation
    assert size(1, 4, 1) == pytest.approx([10.2, 3.17])


# three curves that end at 0.02, 0.04 and 0.5: the middle one is 0.04, so the axis ends at 0.12
ENDS = [Curve(f"{end}", (1, 2), (2 * end, end)) for end in (0.02, 0.04, 0.5)]


def test_the_axis_ends_at_three_times_the_middle_final_value():
    (ax,) = chart(panel(*ENDS), last=2)
    low, high = ax.get_ylim()
    assert (low, high) == pytest.approx((0.02 - 0.05 * (0.12 - 0.02), 0.12))


def test_the_axis_is_not_cut_without_last_for_two_curves_or_where_all_is_low():
    two = [Curve("a", (1, 2), (1.0, 0.02)), Curve("b", (1, 2), (0.9, 0.04))]
    for curves, options in ((ENDS, {}), (two, {"last": 2}), (ENDS[:2] * 2, {"last": 2})):
        (ax,) = chart(panel(*curves), **options)
        assert ax.get_ylim()[1] > max(max(curve.values) for curve in curves)


def test_the_axis_is_logarithmic_only_on_request_and_for_positive_values():
    positive, zero = panel(RISING), panel(Curve("zero", (1, 2), (0.5, 0.0)))
    other = Panel("MNIST", "cost", (Curve("zero", (1, 2), (0.5, 0.0)),))
    both = chart(positive, other, logarithmic=True)
    assert [ax.get_yscale() for ax in both] == ["log", "linear"]
    assert [ax.get_ylabel() for ax in both] == ["error, % (log scale)", "cost"]
    # training error beside validation error: one scale for both
    assert [ax.get_yscale() for ax in chart(positive, zero, logarithmic=True)] == ["linear", "linear"]
    assert [ax.get_yscale() for ax in chart(positive)] == ["linear"]
    assert [ax.get_yscale() for ax in chart(positive, logarithmic=True, last=2)] == ["linear"]


def test_ticks_of_epochs_are_whole_numbers():
    (ax,) = chart(panel(Curve("short", (1, 2), (0.5, 0.25))))
    assert all(tick == int(tick) for tick in ax.get_xticks())
