"""The page about attacks, and its figures."""

import re

import pytest
import torch
from scipy.stats import norm

from concord.report.robustness import error_table, robustness_page, transfer_tables
from concord.report.robustness_figures import Triple, largest_change, triples
from concord.report.tables import as_text
from concord.runs.attack_records import Attacked, Gallery, Point, Rate, Robustness, Transfer, notices


def network(name, *, stuck=0.0, reached=None):
    points = (
        Point(0.1, Rate.of(30, 100), 0.75, reached),
        Point(0.2, Rate.of(90, 100), None, reached),
    )
    return Attacked(name, Rate.of(2, 100), points, stuck)


def triple(**changes):
    before = torch.full((1, 2, 2), 0.5)
    values = {"truth": "cat", "predicted": "dog", "sure_before": 0.9, "sure_after": 0.8} | changes
    return Triple(before, before + torch.tensor([[[0.1, -0.1], [0.0, 0.05]]]), **values)


def found(*networks, transfers=(), galleries=()):
    return Robustness("attack", "Attack: FGSM.", 100, networks, transfers, galleries)


def two_by_two(eps):
    return Transfer(eps, ("a", "b"), ("a", "b"), ((0.5, 0.25), (0.125, 1.0)), ((1.0, 0.4), (None, 1.0)))


@pytest.mark.parametrize(("count", "n"), [(0, 20), (3, 20), (20, 20)])
def test_intervals_are_those_of_wilson(count, n):
    # (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    z, p = norm.ppf(0.975), count / n
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    rate = Rate.of(count, n)
    assert rate.share == p
    assert (rate.low, rate.high) == pytest.approx(
        ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    )


def test_the_table_has_a_row_without_attack_and_one_for_each_size():
    text = as_text(error_table(found(network("a"))))
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    assert ["a", "none", "2.00", "0.55 to 7.00", "-"] in rows
    assert ["a", "0.1", "30.00", "21.89 to 39.58", "75.0"] in rows
    assert ["a", "0.2", "90.00", "82.56 to 94.48", "-"] in rows
    assert "wanted class" not in text


def test_a_wanted_class_has_a_column():
    text = as_text(error_table(found(network("a", reached=Rate.of(7, 100)))))
    assert "wanted class reached %" in text
    assert text.count("7.00") == 3  # twice reached, and a bound


@pytest.mark.parametrize(("stuck", "warned"), [(0.0, False), (0.009, False), (0.01, True), (1.0, True)])
def test_zero_gradients_are_told_everywhere(stuck, warned):
    made = found(network("a"), network("b", stuck=stuck))
    assert bool(notices(made)) == warned
    page = robustness_page(made)
    assert page.count("underestimated") == 2 * warned  # in the summary and below the table
    if warned:
        assert notices(made)[0].startswith(f"b: the gradient of {100 * stuck:.1f} %")
        assert "zero or not a finite number everywhere" in notices(made)[0]


def test_the_page_shows_the_largest_eps_and_folds_the_others():
    made = found(network("a"), network("b"), transfers=(two_by_two(0.1), two_by_two(0.2)))
    page = robustness_page(made)
    shown, folded = page.split('<section id="transfer"')[1].split("<details>")
    assert "at eps 0.2" in shown
    assert "at eps 0.1" in folded
    assert "12.5" in shown
    assert shown.count("40.0") == 1


def test_a_single_network_has_no_transfer_and_an_attack_may_fail():
    page = robustness_page(
        found(network("a"), transfers=(Transfer(0.1, ("a",), ("a",), ((0.5,),), ((1.0,),)),))
    )
    assert "nothing can transfer" in page
    assert "no network change a right answer" in page


def test_with_a_wanted_class_the_page_speaks_of_reaching_it():
    reached = network("a", reached=Rate.of(0, 100))
    page = robustness_page(found(reached, network("b", reached=Rate.of(7, 100))))
    assert "no network take an image that it was right about for the wanted class" in page
    assert "change a right answer" not in page
    gallery = Gallery("a", 0.1, "0.1 x sign", (triple(),))
    aimed, free = (robustness_page(found(one, galleries=(gallery,))) for one in (reached, network("a")))
    assert "right about before and takes for the wanted class after" in aimed
    assert "is wrong about after" not in aimed
    assert "right about before and is wrong about after" in free


def test_the_transfer_tables_say_that_any_wrong_answer_counts():
    _, fooled = transfer_tables(two_by_two(0.1))
    assert "Any wrong answer counts, whether or not the attack was for one class." in fooled.notes[0]


def test_names_cannot_break_out_of_the_page():
    evil = "<script>alert(1)</script>"
    gallery = Gallery(evil, 0.1, "0.1 x sign", (triple(truth=evil, predicted=evil),))
    made = found(network(evil), transfers=(two_by_two(0.1),), galleries=(gallery,))
    page = robustness_page(made)
    assert "<script" not in page
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", page)


def test_the_picture_shows_image_change_and_sum():
    made = triples([triple(), triple()], "0.1 x sign", title="pictures")
    assert made.count("<image") == 6
    assert made.count("0.1 x sign") == 2
    texts = re.findall(r">([^<>]+)</text>|>([^<>]+)</tspan>", made)
    said = {a or b for a, b in texts}
    assert {"predicted cat", "90.0 %", "predicted dog", "80.0 %", "+", "="} <= said
    assert largest_change([triple()]) == pytest.approx(0.1)


def test_equal_figures_give_equal_pages():
    made = found(network("a"), galleries=(Gallery("a", 0.1, "change", (triple(),)),))
    assert robustness_page(made) == robustness_page(made)


def test_colour_images_can_be_shown():
    before = torch.rand(3, 4, 4)
    one = Triple(before, (before + 0.1).clamp(max=1), "cat", "dog", 0.9, 0.8)
    assert triples([one], "change", title="colour").count("<image") == 3
