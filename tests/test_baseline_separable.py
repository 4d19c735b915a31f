"""The linear program that separates two classes or proves that nothing can: both checked by arithmetic."""

from fractions import Fraction
from math import inf, nan
from random import Random

import pytest

from concord.baseline.separable import Contradiction, Separator, separable
from concord.errors import UsageError


def margins(samples, labels, plane):
    return [
        y * (sum(w * x_j for w, x_j in zip(plane.weights, x, strict=True)) + plane.bias)
        for x, y in zip(samples, labels, strict=True)
    ]


def balance(samples, labels, multipliers):
    terms = [[m * y * z for z in (*x, 1)] for m, y, x in zip(multipliers, labels, samples, strict=True)]
    return [sum(column) for column in zip(*terms, strict=True)]


def drawn(seed):
    random = Random(seed)
    dimension, size = random.randint(1, 5), random.randint(2, 12)
    samples = [[random.gauss(0, 1) for _ in range(dimension)] for _ in range(size)]
    return samples, [random.choice([-1, 1]) for _ in range(size)]


def test_xor_is_contradicted_by_four_quarters():
    samples, labels = [[0, 0], [0, 1], [1, 0], [1, 1]], [-1, 1, 1, -1]
    proof = separable(samples, labels)
    assert isinstance(proof, Contradiction)
    assert proof.multipliers == pytest.approx([1 / 4] * 4)
    assert proof.residual == pytest.approx(0, abs=1e-12)
    assert balance(samples, labels, [Fraction(1, 4)] * 4) == [0, 0, 0]  # exactly


def test_the_multipliers_of_an_uneven_contradiction_by_hand():
    # 1 (-) lies between 0 (+) and 3 (+): 2/3 * 0 + 1/3 * 3 = 1, halved so that the sum is 1
    proof = separable([[0], [1], [3]], [1, -1, 1])
    assert isinstance(proof, Contradiction)
    assert proof.multipliers == pytest.approx([1 / 3, 1 / 2, 1 / 6])


def test_a_plane_by_hand():
    plane = separable([[3.0], [4.0]], [1, -1])
    assert isinstance(plane, Separator)
    assert plane.weights == (-1,)
    assert 3 < plane.bias < 4
    assert plane.margin == pytest.approx(min(plane.bias - 3, 4 - plane.bias))


def test_every_random_set_gets_one_answer_and_it_holds():
    answers = set()
    for seed in range(200):
        samples, labels = drawn(seed)
        answer = separable(samples, labels)
        answers.add(type(answer))
        if isinstance(answer, Separator):
            assert min(margins(samples, labels, answer)) == pytest.approx(answer.margin)
            assert answer.margin > 0
        else:
            assert min(answer.multipliers) >= 0
            assert sum(answer.multipliers) == pytest.approx(1)
            assert balance(samples, labels, answer.multipliers) == pytest.approx([0] * (len(samples[0]) + 1))
    assert answers == {Separator, Contradiction}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_answer_does_not_depend_on_the_unit(scale):
    plane = separable([[3.0 * scale, 0.0], [4.0 * scale, scale]], [1, -1])
    assert isinstance(plane, Separator)
    xor = [[0, 0], [0, scale], [scale, 0], [scale, scale]]
    proof = separable(xor, [-1, 1, 1, -1])
    assert isinstance(proof, Contradiction)
    assert proof.multipliers == pytest.approx([1 / 4] * 4)


def test_a_narrow_gap_is_found():
    plane = separable([[1.0, 0.0], [1.0, 1e-6]], [-1, 1])
    assert isinstance(plane, Separator)
    assert 0 < plane.margin <= 0.5e-6 * (1 + 1e-6)


def test_one_point_with_both_labels_contradicts_itself():
    proof = separable([[2.0, 5.0], [2.0, 5.0]], [1, -1])
    assert isinstance(proof, Contradiction)
    assert proof.multipliers == pytest.approx([1 / 2, 1 / 2])


@pytest.mark.parametrize("samples", [[[1.0, 2.0], [3.0, -1.0]], [[0.0], [0.0]]])
def test_a_single_class_is_separable(samples):
    plane = separable(samples, [-1, -1])
    assert isinstance(plane, Separator)
    assert min(margins(samples, [-1, -1], plane)) > 0


@pytest.mark.parametrize(
    ("samples", "labels", "message"),
    [
        ([], [], r"rows of one length of at least 1, got lengths \[\]"),
        ([[]], [1], r"rows of one length of at least 1, got lengths \[0\]"),
        ([[1, 2], [3]], [1, -1], r"rows of one length of at least 1, got lengths \[1, 2\]"),
        ([[1], [2]], [1], "labels: expected 2, one for each sample, got 1"),
        ([[1], [nan]], [1, -1], "finite numbers, got nan"),
        ([[1], [inf]], [1, -1], "finite numbers, got inf"),
        ([[1], [2]], [0, 1], r"labels: expected -1 or 1, got \[0, 1\]: map 0 to -1 first"),
    ],
)
def test_wrong_data_are_refused(samples, labels, message):
    with pytest.raises(UsageError, match=message):
        separable(samples, labels)
