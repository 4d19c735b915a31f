"""Every figure is well-formed SVG, says what it was given and nothing else, and comes out the same twice."""

from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from concord.report import cost_error, curves, diagrams, pictures, predictions, projection
from concord.report.cost_error import Bar, Spot, counted
from concord.report.curves import Curve, Panel
from concord.report.svg import COLOURS, GREYS, SVG, XLINK

NAMES = ["<b>cat</b>", "$x^2$\x1b[2J", "日本 🎉"]


def words(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{{{SVG}}}text")]


def strokes(svg):
    return {part.get("style", "") for part in ElementTree.fromstring(svg).iter(f"{{{SVG}}}path")}


def line_chart(**options):
    panels = [
        [
            Panel(title, "error, %", (
                Curve("l2 $0.01", (1, 2, 3), (0.3, 0.2, 0.1)),
                Curve("plain", (1, 2, 3), (0.4, 0.3, 0.2), plain=True),
                Curve("l2 $0.01", (1, 2, 3), (0.5, 0.4, 0.3), published=True),
            ), percent=True)
            for title in NAMES
        ]
    ]  # fmt: skip
    return curves.line_chart(panels, title="t", **options)


def confusion_matrix():
    return diagrams.confusion_matrix(torch.tensor([[5, 1, 0], [0, 7, 0], [2, 0, 9]]), NAMES, title="t")


def reliability_diagram():
    torch.manual_seed(0)
    bins = predictions.reliability(torch.randn(300, 3).softmax(-1), torch.randint(0, 3, (300,)))
    return diagrams.reliability_diagram(bins, title="t")


def filter_grid(channels=1):
    torch.manual_seed(0)
    return pictures.filter_grid(torch.randn(20, channels, 3, 3), title="t")


def mistakes():
    images = torch.arange(4 * 3 * 5 * 7, dtype=torch.uint8).reshape(4, 3, 5, 7)
    captions = [(NAMES[i % 3], NAMES[(i + 1) % 3], 0.987, f"<i>{i}</i>.png") for i in range(4)]
    return pictures.mistakes(images, captions, title="t")


def a_projection(n=60):
    torch.manual_seed(0)
    labels = torch.arange(n) % 3
    images = (torch.rand(n, 1, 6, 5) * 100 + 50 * labels[:, None, None, None]).byte()
    return projection.project(images, labels)


def projection_figure():
    return projection.projection_figure(a_projection(), NAMES, title="t")


def scatter():
    return cost_error.error_against_cost(SPOTS, title="t")


def forest():
    bars = [Bar("st", NAMES[0], -0.02, -0.03, -0.01), Bar("ensemble", NAMES[1], 0.01, None, None)]
    return cost_error.differences(bars, cost_error.group_colours(SPOTS), title="t")


SPOTS = [
    Spot("st", NAMES[0], 4_320_000, 0.006, low=0.001, high=0.02),
    Spot("m", NAMES[0], 28_010_000, 0.005),
    Spot("ensemble", NAMES[1], 32_330_000, 0.004, ensemble=True, low=-0.001, high=0.006, plain=True),
]
FIGURES = [
    line_chart,
    confusion_matrix,
    reliability_diagram,
    filter_grid,
    mistakes,
    projection_figure,
    scatter,
    forest,
]


@pytest.mark.parametrize("figure", FIGURES)
def test_figures_fit_into_a_page(figure):
    svg = figure()
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{{{SVG}}}svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", "t")
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert list(root.iter(f"{{{SVG}}}style")) == []  # it would style the whole page
    links = {e.get(f"{{{XLINK}}}href") for e in root.iter()} - {None}
    assert {link[:5] for link in links if not link.startswith("#")} <= {"data:"}
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


@pytest.mark.parametrize("figure", FIGURES)
def test_equal_input_gives_equal_bytes(figure):
    assert figure() == figure()


def test_the_ids_of_two_figures_do_not_meet():
    def ids(svg):
        return {e.get("id") for e in ElementTree.fromstring(svg).iter() if e.get("id")}

    assert ids(line_chart()) & ids(scatter()) == set()


def test_names_are_text_as_they_are_and_control_characters_are_seen():
    assert {"<b>cat</b>", "$x^2$\\x1b[2J", "日本 🎉", "l2 $0.01"} <= set(words(line_chart()))


def test_consensus_is_in_colour_plain_in_grey_and_published_dashed():
    found = " ".join(strokes(line_chart()))
    assert COLOURS[0].lower() in found
    assert GREYS[0] in found
    dashed = [s for s in strokes(line_chart()) if COLOURS[0].lower() in s and "stroke-dasharray" in s]
    assert dashed
    assert "dashed: published" in words(line_chart())


def test_the_last_epochs_are_the_last_ones():
    assert "1" in words(line_chart())
    assert "1" not in words(line_chart(last=2))


def test_a_collapsed_run_does_not_flatten_the_others():
    lines = [Curve(f"{i}", (1, 2), (0.02 + i / 1000, 0.01 + i / 1000)) for i in range(4)]
    panel = Panel("p", "error", (*lines, Curve("collapsed", (1, 2), (0.9, 0.9))))
    ticks = [float(w) for w in words(curves.line_chart([[panel]], title="t", last=10)) if w.startswith("0.")]
    assert max(ticks) < 0.1


def test_zero_and_nan_can_be_drawn():
    panel = Panel("p", "error", (Curve("a", (1, 2), (0.1, 0.0)), Curve("b", (1, 2), (float("nan"), 0.2))))
    assert words(curves.line_chart([[panel]], title="t", logarithmic=True))


def test_every_count_of_the_confusion_matrix_is_written():
    assert sorted(w for w in words(confusion_matrix()) if w.isdigit()) == sorted("517" + "29")


def test_many_classes_leave_out_counts_and_names():
    svg = diagrams.confusion_matrix(torch.full((70, 70), 123), [f"class {i}" for i in range(70)], title="t")
    assert {"predicted", "true"} <= set(words(svg))
    assert not [word for word in words(svg) if word == "123" or word.startswith("class")]


def test_mistakes_show_the_predicted_class_the_true_one_and_the_file():
    assert {"predicted $x^2$\\x1b[2J", "true <b>cat</b>", "98.7 %", "<i>0</i>.png"} <= set(words(mistakes()))


def test_colour_filters_stay_coloured():
    assert filter_grid(3) != filter_grid(1)


def test_components_are_those_of_the_covariance():
    found = a_projection()
    flat = found.images.flatten(1).double().numpy() / 255
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    for i in (0, 1):
        first = found.components[i].ravel()
        assert abs(first @ vectors[:, -1 - i]) == pytest.approx(1)
        assert found.points[:, i].var(ddof=1) == pytest.approx(values[-1 - i])


def test_the_stars_are_the_nearest_points_of_different_classes():
    points = np.array([[0, 0], [0, 0.1], [3, 0], [3.5, 0], [9, 9]])
    assert projection.nearest(points, torch.tensor([1, 1, 1, 2, 2])) == (2, 3)
    assert projection.nearest(points, torch.ones(5)) is None


def test_weights_are_blue_where_positive_and_red_where_negative():
    heat = projection.heat_map(torch.zeros(1, 1, 3, dtype=torch.uint8), np.array([[[0.5, -0.5, 0.0]]]))
    (red, _, blue), (r, _, b), nothing = heat[0]
    assert blue > red
    assert r > b
    assert nothing.tolist() == [1, 1, 1]


def test_large_images_are_averaged_down_before_the_projection():
    found = projection.project(
        torch.randint(0, 255, (8, 3, 100, 200), dtype=torch.uint8), torch.arange(8) % 2
    )
    assert found.images.shape == (8, 3, 24, 48)


def test_counts_are_short():
    assert [counted(n) for n in (12, 44_730, 4_320_000, 4.1e9, 2e12)] == [
        "12",
        "44.7 k",
        "4.32 M",
        "4.1 G",
        "2 T",
    ]
