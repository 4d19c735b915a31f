"""Confusion matrix, reliability diagram and error against cost: every mark against numbers worked by hand."""

import numpy as np
import pytest
import torch
from figure_made import dashes, drawn, points

from concord.report.cost_error import APART, Bar, Spot, differences, error_against_cost, group_colours
from concord.report.diagrams import confusion_matrix, reliability_diagram
from concord.report.predictions import Reliability, reliability
from concord.report.svg import COLOURS, FAINT, GREYS

# Five bins; four samples of confidence 0.55 in the third (0.4, 0.6], of which one is right; one of 0.65 in
# the fourth, right; three of 0.95 in the fifth, of which two are right.
CONFIDENCE = [0.55] * 4 + [0.65] + [0.95] * 3
RIGHT = [True, False, False, False, True, True, True, False]


@pytest.fixture
def bins():
    probabilities = torch.tensor([[1 - c, c] if c > 0.5 else [c, 1 - c] for c in CONFIDENCE]).double()
    predicted = probabilities.argmax(-1)
    labels = torch.where(torch.tensor(RIGHT), predicted, 1 - predicted)
    return reliability(probabilities, labels, bins=5)


def test_the_bins_by_hand(bins):
    assert bins.count.tolist() == [0, 0, 4, 1, 3]
    assert bins.accuracy.tolist() == pytest.approx([0, 0, 1 / 4, 1, 2 / 3])
    assert bins.confidence.tolist() == pytest.approx([0, 0, 0.55, 0.65, 0.95])
    # (4 (0.55 - 1/4) + (1 - 0.65) + 3 (0.95 - 2/3)) / 8
    assert bins.ece == pytest.approx((1.2 + 0.35 + 0.85) / 8)


def test_a_confidence_on_the_border_belongs_to_the_lower_bin():
    found = reliability(torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([0, 0]), bins=4)
    assert found.count.tolist() == [0, 1, 1, 0]


def bars(ax):
    """(left, right, height) of every bar."""
    return [(p.get_x(), p.get_x() + p.get_width(), p.get_height()) for p in ax.patches]


def test_the_reliability_diagram_shows_accuracy_above_the_middle_of_each_filled_bin(bins):
    top, below = drawn(reliability_diagram, bins, title="t").axes
    # bins of width 0.2 with a gap of 8 %: (0.4, 0.6] from 0.408 to 0.592
    expected = [(0.408, 0.592, 0.25), (0.608, 0.792, 1), (0.808, 0.992, 2 / 3)]
    assert [bar == pytest.approx(wanted) for bar, wanted in zip(bars(top), expected, strict=True)] == [
        True
    ] * 3
    assert {p.get_facecolor()[:3] for p in top.patches} == {rgb(COLOURS[0])}
    counts = [(0.2 * i + 0.008, 0.2 * i + 0.192, n) for i, n in enumerate((0, 0, 4, 1, 3))]
    assert [bar == pytest.approx(wanted) for bar, wanted in zip(bars(below), counts, strict=True)] == [
        True
    ] * 5


def test_the_marks_of_the_reliability_diagram_stand_at_the_mean_confidence(bins):
    top, _ = drawn(reliability_diagram, bins, title="t").axes
    diagonal, marks = top.lines
    assert (points(diagonal), diagonal.get_color(), dashes(diagonal)) == ([(0, 0), (1, 1)], FAINT, (4, 2))
    assert np.allclose(points(marks), [(0.55, 0.25), (0.65, 1), (0.95, 2 / 3)])
    assert (marks.get_marker(), marks.get_linestyle(), marks.get_color()) == ("o", "None", COLOURS[1])


def test_titles_limits_and_labels_of_the_reliability_diagram(bins):
    top, below = drawn(reliability_diagram, bins, title="t").axes
    assert top.get_title(loc="left") == "ECE 0.3000"
    assert (top.get_xlim(), top.get_ylim()) == ((0, 1), (0, 1.02))
    assert (below.get_xlabel(), below.get_ylabel()) == ("confidence", "images")
    assert top.get_gridspec().get_height_ratios() == (3, 1)


def test_counts_have_a_logarithmic_axis_down_to_zero():
    counts = torch.tensor([0, 12, 4_321])
    shares = torch.tensor([0.0, 0.25, 0.5])
    _, below = drawn(reliability_diagram, Reliability(counts, shares, shares, 0.1), title="t").axes
    assert below.get_yscale() == "symlog"
    assert below.get_yticks().tolist() == [0, 10, 100, 1_000]
    assert below.yaxis.get_major_formatter()(1_000, 0) == "1,000"
    _, empty = drawn(reliability_diagram, Reliability(counts * 0, shares, shares, 0.0), title="t").axes
    assert empty.get_yscale() == "linear"


def rgb(colour):
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_the_confusion_matrix_shades_rows_and_writes_counts():
    """True classes down: 6 of the first, of which 2 are called the second; 10 of the second, all right."""
    counts = torch.tensor([[3, 2, 1], [0, 10, 0], [4, 0, 12]])
    (ax,) = drawn(confusion_matrix, counts, ["a", "b", "c"], title="t").axes
    right, wrong = (np.ma.filled(np.ma.masked_invalid(image.get_array()), -1) for image in ax.images)
    assert np.allclose(right, [[1 / 2, -1, -1], [-1, 1, -1], [-1, -1, 3 / 4]])
    assert np.allclose(wrong, [[-1, 1 / 3, 1 / 6], [-1, -1, -1], [1 / 4, -1, -1]])
    assert [image.get_clim() for image in ax.images] == [(0, 1.6), (0, pytest.approx(1.4 / 3))]
    assert [image.get_cmap().name for image in ax.images] == ["Blues", "Oranges"]
    written = {text.get_position(): text.get_text() for text in ax.texts}  # (predicted, true)
    expected = {(0, 0): "3", (1, 0): "2", (2, 0): "1", (1, 1): "10", (0, 2): "4", (2, 2): "12"}
    assert written == expected
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    for axis in (ax.xaxis, ax.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == ["a", "b", "c"]


def test_a_class_without_samples_divides_nothing_by_nothing():
    (ax,) = drawn(confusion_matrix, torch.tensor([[2, 0], [0, 0]]), ["a", "b"], title="t").axes
    assert np.nan_to_num(np.asarray(ax.images[0].get_array()), nan=-1).tolist() == [[1, -1], [-1, 0]]


@pytest.mark.parametrize(
    ("classes", "counts", "names"),
    [(20, True, True), (21, False, True), (60, False, True), (61, False, False)],
)
def test_limits_of_counts_and_names(classes, counts, names):
    matrix = torch.eye(classes, dtype=torch.int64)
    (ax,) = drawn(confusion_matrix, matrix, [f"c{i}" for i in range(classes)], title="t").axes
    assert (len(ax.texts) > 0) == counts
    assert ("c0" in [label.get_text() for label in ax.get_yticklabels()]) == names


def test_letters_of_the_confusion_matrix_fit_their_cells():
    """A cell is 0.42 inches wide, 30.24 points; a letter of 9 points takes 0.62 of that, 5.58 points."""
    counts = torch.tensor([[12_345, 0], [0, 678]])
    for name, angle in (("abcde", 0), ("abcdef", 90)):  # 27.9 and 33.5 points
        figure = drawn(confusion_matrix, counts, ["x", name], title="t")
        (ax,) = figure.axes
        assert {label.get_rotation() for label in ax.get_xticklabels()} == {angle}
        side = 2.4 + 0.62 * 9 / 72 * len(name) + 0.6
        assert figure.get_size_inches().tolist() == pytest.approx([side, side])
    sizes = {text.get_text(): text.get_fontsize() for text in ax.texts}
    assert sizes == {"12345": pytest.approx(30.24 / (0.62 * 6)), "678": 9}


# --- error against cost --------------------------------------------------------------------------------

SPOTS = [
    Spot("m", "l2", 300, 0.04, parameters=25, low=0.03, high=0.07),
    Spot("st", "l2", 200, 0.05, parameters=100),
    Spot("ensemble", "plain", 500, 0.02, ensemble=True, low=-0.01, high=0.025, plain=True),
]


def test_marks_stand_at_the_error_in_per_cent_and_squares_are_ensembles():
    (ax,) = drawn(error_against_cost, SPOTS, title="t").axes
    marks = [line for line in ax.lines if line.get_linestyle() == "None"]
    shift = APART**0.5  # two groups: half a step to either side
    grey, blue = sorted(marks, key=lambda line: line.get_color() != GREYS[0])[0], marks
    assert np.allclose(
        sorted(p for line in blue for p in points(line)),
        sorted([(200 * shift, 5), (300 * shift, 4), (500 / shift, 2)]),
    )
    assert [(line.get_marker(), line.get_color()) for line in marks if line is grey] == [("s", GREYS[0])]
    assert {line.get_marker() for line in marks if line is not grey} == {"o"}
    # area as the parameters: a quarter of them is half the way from the smallest diameter to the largest
    sizes = {round(points(line)[0][1]): line.get_markersize() for line in marks}
    assert sizes == {5: 12, 4: 8.5, 2: 5}


def test_intervals_are_drawn_in_per_cent_and_end_at_zero():
    (ax,) = drawn(error_against_cost, SPOTS, title="t").axes
    upright = [
        points(line)
        for line in ax.lines
        if len(points(line)) == 2 and points(line)[0][0] == points(line)[1][0]
    ]
    assert np.allclose(sorted([low, high] for (_, low), (_, high) in upright), [[0, 2.5], [3, 7]])


def test_names_stand_above_the_interval_of_a_member_and_below_that_of_an_ensemble():
    (ax,) = drawn(error_against_cost, SPOTS, title="t").axes
    placed = {text.get_text(): (text.xy[1], text.get_va(), text.xyann[1] > 0) for text in ax.texts}
    assert placed["m"] == (pytest.approx(7), "bottom", True)
    assert placed["st"] == (pytest.approx(5), "bottom", True)
    assert placed["ensemble"] == (0, "top", False)


def test_a_name_stands_at_the_outermost_end_of_all_marks_that_have_it():
    others = [
        Spot("m", "plain", 1_200, 0.06, low=0.05, high=0.065, plain=True),
        Spot("ensemble", "l2", 2_000, 0.03, ensemble=True, low=0.025, high=0.05),
    ]
    (ax,) = drawn(error_against_cost, [SPOTS[0], SPOTS[2], *others], title="t").axes
    placed = {text.get_text(): text.xy for text in ax.texts}
    # between the costs, as a logarithmic axis has it
    assert placed["m"] == pytest.approx((600, 7))
    assert placed["ensemble"] == pytest.approx((1_000, 0))


def test_the_axes_of_error_against_cost():
    figure = drawn(error_against_cost, SPOTS, title="t")
    (ax,) = figure.axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("multiply-accumulates per image", "test error, %")
    assert ax.xaxis.get_major_formatter()(4_320_000, 0) == "4.32 M"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "l2"]
    assert drawn(error_against_cost, SPOTS[:2], title="t").legends == []


def test_groups_without_consensus_are_grey_only_beside_others():
    assert group_colours(SPOTS) == {"plain": GREYS[0], "l2": COLOURS[0]}
    assert group_colours(SPOTS[2:]) == {"plain": COLOURS[0]}


def test_differences_are_in_percentage_points_about_the_line_of_none():
    two = [
        Bar("st", "a", -0.02, -0.03, -0.005),
        Bar("st", "b", 0.04, None, None),
        Bar("m", "a", 0.01, 0.0, 0.03),
    ]
    colours = {"a": COLOURS[0], "b": COLOURS[1]}
    (ax,) = drawn(differences, two, colours, title="t").axes
    line, *rest = ax.lines
    assert [x for x, _ in points(line)] == [0, 0]
    marks = {
        round(points(m)[0][0], 6): (m.get_color(), round(points(m)[0][1], 3))
        for m in rest
        if m.get_marker() == "o"
    }
    # two bars of one label a third of 0.62 above and below its row, one in its middle; rows go down
    third = round(0.62 * (1 / 2 - 1 / 3), 3)
    assert marks == {-2: (COLOURS[0], third), 4: (COLOURS[1], -third), 1: (COLOURS[0], -1)}
    ends = [[x for x, _ in points(m)] for m in rest if m.get_marker() == "None"]
    assert np.allclose(ends, [[-3, -0.5], [0, 3]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["st", "m"]
    assert ax.get_ylim() == (-1.6, 0.6)
