"""Support vector machines: the margin by hand, and what a machine must keep."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from concord.baseline.cost import Cost
from concord.baseline.svm import margin, svm_cost
from concord.errors import UsageError

# (1, 2) and (4, 6) are 5 apart; (9, 7) lies behind the second one
POINTS, LABELS = np.array([[1.0, 2], [4, 6], [9, 7]]), np.array([0, 1, 1])


def hard(points=POINTS, labels=LABELS):
    return SVC(kernel="linear", C=1e6, tol=1e-9).fit(points, labels)


def test_the_margin_of_two_points_is_their_distance():
    assert margin(hard()) == pytest.approx(5)


def test_the_plane_is_the_one_worked_out_by_hand():
    svc = hard()
    # beta = 2 (x+ - x-) / 25 and beta_0 = 1 - beta . x+
    np.testing.assert_allclose(svc.coef_, [[6 / 25, 8 / 25]], rtol=1e-6)
    np.testing.assert_allclose(svc.intercept_, [1 - (24 + 48) / 25], rtol=1e-6)


def test_the_condition_holds_with_equality_at_the_support_vectors_only():
    svc = hard()
    assert svc.support_.tolist() == [0, 1]
    sides = np.where(LABELS == 1, 1, -1) * svc.decision_function(POINTS)
    np.testing.assert_allclose(sides, [1, 1, (9 * 6 + 7 * 8) / 25 - 47 / 25], rtol=1e-6)


@pytest.mark.parametrize(
    ("svc", "said"),
    [
        (SVC(kernel="rbf").fit(POINTS, LABELS), "'rbf' and 2"),
        (SVC(kernel="linear").fit(POINTS, [0, 1, 2]), "'linear' and 3"),
    ],
)
def test_a_machine_without_one_plane_has_no_margin(svc, said):
    with pytest.raises(UsageError, match=said):
        margin(svc)


def test_cost_by_hand():
    """5 support vectors of 3 features, 4 classes: 5 (3 + 3) products, and 6 offsets of the pairs to keep."""
    svc = SimpleNamespace(
        support_vectors_=np.ones((5, 3)),
        dual_coef_=np.ones((3, 5)),
        intercept_=np.ones(6),
        n_support_=np.array([1, 2, 1, 1]),
    )
    assert svm_cost(svc) == Cost(36, 30, (1, 2, 1, 1))


def test_what_is_counted_is_enough_to_predict():
    """Pair by pair from support vectors, coefficients and offsets alone, as LIBSVM votes."""
    x, y = load_digits(return_X_y=True)
    keep = np.isin(y, (1, 7, 8))
    x, y = x[keep] / 16, y[keep]
    svc = SVC(gamma=0.1, C=5).fit(x[::2], y[::2])
    kept = (svc.support_vectors_, svc.dual_coef_, svc.intercept_)
    assert svm_cost(svc).numbers == sum(part.size for part in kept)
    vectors, coefficients, offsets = kept
    kernel = np.exp(-0.1 * ((x[:, None] - vectors) ** 2).sum(-1))  # (N, S)
    of = np.repeat(range(3), svc.n_support_)
    votes = np.zeros((len(x), 3))
    for offset, (i, j) in zip(offsets, ((0, 1), (0, 2), (1, 2)), strict=True):
        value = (
            kernel[:, of == i] @ coefficients[j - 1, of == i] + kernel[:, of == j] @ coefficients[i, of == j]
        )
        votes[np.arange(len(x)), np.where(value + offset > 0, i, j)] += 1
    assert (svc.classes_[votes.argmax(1)] == svc.predict(x)).all()


def test_support_vectors_are_counted_for_each_class():
    x, y = load_digits(return_X_y=True)
    svc = SVC().fit(x / 16, y)
    assert svm_cost(svc).support == tuple(np.bincount(y[svc.support_]))
