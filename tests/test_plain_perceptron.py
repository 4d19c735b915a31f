"""The perceptron: by hand, against its convergence theorem, and on XOR."""

from math import hypot, inf, nan
from random import Random

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.svm import SVC

from concord.baseline.separable import Contradiction, separable
from concord.plain.perceptron import margin, novikoff_bound, one_pass, perceptron, radius

XOR = [[0, 0], [0, 1], [1, 0], [1, 1]]
XOR_LABELS = [-1, 1, 1, -1]


def separable_set(seed, bias):
    """A random set of both classes with its true unit separator: dimension, size, margin and order drawn."""
    random = Random(seed)
    dimension, size = random.randint(1, 6), random.randint(2, 40)
    w = [random.gauss(0, 1) for _ in range(dimension)]
    w = [w_j / hypot(*w) for w_j in w]
    b = random.uniform(-1.5, 1.5) if bias else 0.0
    gamma = 10 ** random.uniform(-1.3, 0.3)
    samples, labels = [], []
    while len(samples) < size:
        label = 1 if len(samples) % 2 else -1  # both classes, whatever the plane
        x = [random.gauss(0, 2) for _ in range(dimension)]
        along = sum(w_j * x_j for w_j, x_j in zip(w, x, strict=True)) + b
        shift = (
            label * (gamma + random.expovariate(2)) - along
        )  # to its side of the plane, at least gamma away
        samples.append([x_j + shift * w_j for x_j, w_j in zip(x, w, strict=True)])
        labels.append(label)
    order = random.sample(range(size), size)
    return [samples[i] for i in order], [labels[i] for i in order], w, b


def widest_plane(samples, labels, bias):
    """The separator of largest margin: a hard-margin SVM, or its dual by non-negative least squares."""
    if bias:
        svm = SVC(kernel="linear", C=1e8).fit(samples, labels)
        return svm.coef_[0].tolist(), float(svm.intercept_[0])
    signed = np.array(samples) * np.array(labels)[:, None]
    # the point of the convex hull of the y x that is nearest to 0, up to its length
    multipliers, _ = nnls(np.vstack([signed.T, np.ones(len(signed))]), [*[0.0] * signed.shape[1], 1.0])
    return (multipliers @ signed).tolist(), None


# --- by hand ------------------------------------------------------------------


def test_updates_by_hand_without_a_bias():
    # (2, 1) +: w = (2, 1); (1, 3) -: 5 > 0 is a mistake, w = (1, -2)
    # (2, 1) +: 0 is a mistake, w = (3, -1); (1, 3) -: 0 is a mistake, w = (2, -4)
    # (2, 1) +: 0 again, w = (4, -3); (1, 3) -: -5 is right; (2, 1) +: 5 is right
    found = perceptron([[2, 1], [1, 3]], [1, -1], bias=False)
    assert (found.weights, found.bias) == ((4, -3), 0)
    assert (found.updates, found.epochs, found.separated) == (5, 4, True)


def test_updates_by_hand_with_a_bias():
    # R = 4, x^ = (x, 4): (3, 4) +: w^ = (3, 4); (4, 4) -: 28 is a mistake, w^ = (-1, 0)
    # (3, 4) +: -3, w^ = (2, 4); (4, 4) -: 24, (-2, 0); then -6, (1, 4); 20, (-3, 0); -9, (0, 4); 16, (-4, 0)
    # -12, (-1, 4); (4, 4) -: 12, w^ = (-5, 0); -15, (-2, 4); 8, (-6, 0); -18, (-3, 4); 4, (-7, 0);
    # -21, (-4, 4); (4, 4) -: 0, w^ = (-8, 0); -24, (-5, 4); (4, 4) -: -4 is right; 3: 1 is right
    found = perceptron([[3], [4]], [1, -1])
    assert (found.weights, found.bias) == ((-5,), 16)  # b = R * 4, the plane at 3.2
    assert (found.updates, found.epochs) == (17, 10)


def test_the_update_lowers_the_loss_of_the_source():
    # l(w) = -y <w, x> on a mistake: 5 before; the source's w - eta y x would make it 15
    w, mistakes = one_pass([2.0, 1.0], [[1.0, 3.0]], [-1])
    assert (w, mistakes) == ([1, -2], 1)
    assert 1 * w[0] + 3 * w[1] == -5


def test_zero_is_a_mistake_or_nothing_would_ever_move():
    assert one_pass([0.0, 0.0], [[2.0, 1.0]], [1]) == ([2, 1], 1)


def test_bound_by_hand():
    # ||(3, 4)|| = 5: w = (.6, .8), margins .6 + .8 * 2 = 2.2 and 2.2, R = sqrt(5): 5 / 4.84
    samples, labels = [[1, 2], [-1, -2]], [1, -1]
    assert novikoff_bound(samples, labels, [3, 4]) == pytest.approx(5 / 4.84)
    # b = 1 / 5 on that scale: margins 2.4 and 2.0, 4 * 5 / 4
    assert novikoff_bound(samples, labels, [3, 4], 1) == pytest.approx(5)
    assert margin(samples, labels, [3, 4], 1) == 10  # of the plane as it is given


def test_decisions_are_those_of_the_plane():
    found = perceptron([[3], [4]], [1, -1])
    assert [found.decide([x]) for x in (3.1, 3.2, 3.3)] == [1, -1, -1]  # -5 x + 16, and 0 is not above 0


# --- the theorem --------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_two_hundred_random_sets_never_need_more_updates_than_the_theorem_allows(bias):
    nearest = 0.0
    for seed in range(200):
        samples, labels, w, b = separable_set(seed, bias)
        found = perceptron(samples, labels, bias=bias, epochs=100_000)
        assert found.separated
        assert margin(samples, labels, found.weights, found.bias) > 0
        true = novikoff_bound(samples, labels, w, b if bias else None)
        best = novikoff_bound(samples, labels, *widest_plane(samples, labels, bias))
        assert best <= true * (1 + 1e-3)
        assert found.updates <= min(true, best)
        nearest = max(nearest, found.updates / best)
    assert nearest > 0.1  # the bound is within reach: a test of it that could fail


def test_growth_and_projection_of_the_proof_hold_at_every_update():
    samples, labels, w_opt, _ = separable_set(3, bias=False)
    r, gamma = radius(samples), margin(samples, labels, w_opt)
    w, k = [0.0] * len(w_opt), 0
    for x, y in list(zip(samples, labels, strict=True)) * 50:
        w, mistakes = one_pass(w, [x], [y])
        k += mistakes
        assert hypot(*w) ** 2 <= k * r**2 + 1e-9
        assert sum(a * b for a, b in zip(w, w_opt, strict=True)) >= k * gamma - 1e-9
    assert k > 1


# --- XOR ----------------------------------------------------------------------


def test_xor_is_refused_with_a_certificate_that_arithmetic_checks():
    found = perceptron(XOR, XOR_LABELS, epochs=500)
    assert not found.separated
    assert found.epochs == 500
    assert found.updates >= 500
    assert str(found).startswith(f"not separated after {found.updates} updates in 500 epochs")

    proof = separable(XOR, XOR_LABELS)
    assert isinstance(proof, Contradiction)
    assert proof.multipliers == pytest.approx([1 / 4] * 4)
    terms = [[m * y * z for z in (*x, 1)] for m, y, x in zip(proof.multipliers, XOR_LABELS, XOR, strict=True)]
    assert [sum(column) for column in zip(*terms, strict=True)] == pytest.approx([0, 0, 0], abs=1e-12)


def test_and_is_separated_and_says_so():
    found = perceptron(XOR, [-1, -1, -1, 1])
    assert found.separated
    assert str(found) == f"separated after {found.updates} updates in {found.epochs} epochs"


def test_a_line_off_the_origin_needs_the_bias():
    samples, labels = [[1.0], [2.0]], [-1, 1]
    assert perceptron(samples, labels).separated
    assert not perceptron(samples, labels, bias=False).separated


def test_samples_that_are_all_zero_leave_it_to_the_bias():
    found = perceptron([[0.0], [0.0]], [-1, -1])
    assert (found.separated, found.bias) == (True, -1)


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "labels", "message"),
    [
        ([], [], "samples: expected at least one row and one column"),
        ([[]], [1], "samples: expected at least one row and one column"),
        ([[1, 2], [3]], [1, -1], "samples: expected 2 numbers per row as in row 0, got 1 in row 1"),
        ([[1, 2]], [1, -1], "labels: expected 1, one for each sample, got 2"),
        ([[1], [2]], [0, 1], "labels: expected -1 or 1, got 0 for sample 0: map 0 to -1 first"),
        ([[1], [nan]], [1, -1], r"finite numbers.*got \[nan\] in row 1"),
        ([[-inf]], [1], r"finite numbers.*got \[-inf\] in row 0"),
        ([[1e80]], [1], r"\|\|x\|\| < 1e\+75"),
    ],
)
def test_wrong_data_are_refused(samples, labels, message):
    with pytest.raises(ValueError, match=message):
        perceptron(samples, labels)


def test_no_epochs_are_refused():
    with pytest.raises(ValueError, match="epochs: expected at least 1, got 0"):
        perceptron([[1]], [1], epochs=0)


def test_a_decision_on_another_number_of_inputs_is_refused():
    with pytest.raises(ValueError, match="sample: expected 1 numbers, got 2"):
        perceptron([[1]], [1]).decide([1, 2])


@pytest.mark.parametrize(
    ("weights", "bias", "message"),
    [
        ([0, 0], 1, "a vector other than zero"),
        ([nan, 0], 1, "a vector other than zero"),
        ([1], 0, "weights: expected 2 numbers, got 1"),
        ([-1, 0], 0, "separates the samples, got one of margin -1"),
        ([1, 0], nan, "margin nan"),
    ],
)
def test_a_bound_needs_a_plane_that_separates(weights, bias, message):
    with pytest.raises(ValueError, match=message):
        novikoff_bound([[1, 2], [-1, 2]], [1, -1], weights, bias)


def test_a_plane_beyond_the_ball_is_refused_since_its_bound_would_be_false():
    # one class: gamma = 9, (2 / 9)^2 < 1, but the first sample is always a mistake
    assert perceptron([[1.0]], [1]).updates == 1
    with pytest.raises(ValueError, match=r"expected \|b\| <= R = 1 .* got 8"):
        novikoff_bound([[1.0]], [1], [1.0], 8)
