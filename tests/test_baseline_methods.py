"""Every baseline against the formula it stands for, on scikit-learn's digits."""

import time
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.linear_model import Perceptron
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from concord.baseline.fit import best, measure, trials
from concord.baseline.methods import METHODS, Scaled
from concord.baseline.need import scratch
from concord.baseline.published import FIGURES, published
from concord.baseline.samples import Samples, flat
from concord.baseline.wanted import check_options, named
from concord.errors import ShapeError, UsageError


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return Samples(x[:700] / 16, y[:700]), Samples(x[700:1100] / 16, y[700:1100])


def by_kernel(kernel, c):
    """LIBSVM given the kernel's values, so that the kernel's formula is ours."""
    return lambda a, b: SVC(C=c, kernel="precomputed").fit(kernel(a.x, a.x), a.y).predict(kernel(b.x, a.x))


def least_squares(a, b, change=lambda x: x):
    """(F^T F + 1) W = F^T T for centred features F and targets +1, -1."""
    f, targets = change(a.x), np.where(a.y[:, None] == np.arange(10), 1.0, -1.0)
    middle = f - f.mean(0)
    weights = np.linalg.solve(middle.T @ middle + np.eye(f.shape[1]), middle.T @ (targets - targets.mean(0)))
    return ((change(b.x) - f.mean(0)) @ weights + targets.mean(0)).argmax(1)


def products(a, b):
    """The 15 products of two of 5 coordinates along the main axes of the training images."""
    axes = np.linalg.svd(a.x - a.x.mean(0), full_matrices=False)[2][:5]
    pairs = list(combinations_with_replacement(range(5), 2))

    def change(x):
        z = (x - a.x.mean(0)) @ axes.T
        return np.stack([z[:, i] * z[:, j] for i, j in pairs], 1)

    return least_squares(a, b, change)


def nearest(a, b):
    near = np.argsort(cdist(b.x, a.x), axis=1)[:, :3]
    return np.array([np.bincount(row).argmax() for row in a.y[near]])


ORACLES = {
    "svm_linear": ({"c": 0.3}, by_kernel(lambda u, v: u @ v.T, 0.3)),
    "svm_rbf": (
        {"c": 4.0, "gamma": 0.2},
        by_kernel(lambda u, v: np.exp(-0.2 * cdist(u, v, "sqeuclidean")), 4),
    ),
    "svm_poly": (
        {"c": 0.5, "gamma": 0.1, "degree": 3},
        by_kernel(lambda u, v: (0.1 * u @ v.T + 1) ** 3, 0.5),
    ),
    "perceptron": (
        {"epochs": 7},
        lambda a, b: Perceptron(max_iter=7, tol=None, random_state=3).fit(a.x, a.y).predict(b.x),
    ),
    "linear": ({}, least_squares),
    "pca_quadratic": ({"components": 5}, products),
    "knn": ({"neighbours": 3}, nearest),
    "mlp": (
        {"hidden": 30, "epochs": 40},
        lambda a, b: (
            MLPClassifier((30,), max_iter=40, n_iter_no_change=99, random_state=3).fit(a.x, a.y).predict(b.x)
        ),
    ),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_baseline_says_what_its_formula_says(name, digits):
    train, test = digits
    settings, oracle = ORACLES[name]
    found = measure(METHODS[name], settings, train, test, seed=3)
    expected = oracle(train, test)
    assert (found.predicted == expected).all()
    assert found.error == np.mean(expected != test.y)
    assert found.error < 0.3
    assert found.notices == ()


def test_logistic_is_the_minimum_of_the_cross_entropy(digits):
    """The gradient of C sum_i -ln p_i + 1/2 ||W||^2 vanishes."""
    train, test = digits
    model = METHODS["logistic"].build({"c": 0.1}, 0).set_params(tol=1e-8).fit(train.x, train.y)
    z = train.x @ model.coef_.T + model.intercept_
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    gradient = 0.1 * (p - np.eye(10)[train.y]).T @ train.x + model.coef_
    assert np.abs(gradient).max() < 1e-3
    assert measure(METHODS["logistic"], {"c": 0.1}, train, test).error < 0.1


def test_every_baseline_has_an_oracle():
    assert {*ORACLES, "logistic"} == set(METHODS)


def test_what_the_solver_has_to_say_is_kept(digits):
    train, test = digits
    few = Samples(train.x[:60], train.y[:60])
    hasty = replace(
        METHODS["logistic"], build=lambda s, seed: METHODS["logistic"].build(s, seed).set_params(max_iter=2)
    )
    assert "converge" in measure(hasty, {"c": 1.0}, few, test).notices[0]


def test_gamma_is_relative_to_the_pixels():
    """var of (0, .5, 1, .5) is 1/8; 2 / (2 pixels * 1/8) = 8."""
    samples = Samples(np.array([[0, 0.5], [1, 0.5]]), np.array([0, 1]))
    assert METHODS["svm_rbf"].settings(samples, {"c": 3}) == {"c": 3, "gamma": 8}
    assert Scaled(2).of(Samples(np.ones((2, 2)), np.array([0, 1]))) == 1


def test_defaults_shrink_to_the_images_and_what_was_given_is_refused():
    samples = Samples(np.eye(7, 4), np.arange(7) % 2)
    assert METHODS["pca_quadratic"].settings(samples, {}) == {"components": 4}
    assert METHODS["knn"].settings(samples, {"neighbours": 7}) == {"neighbours": 7}
    with pytest.raises(UsageError, match="--components 5: these images allow 4 at most"):
        METHODS["pca_quadratic"].settings(samples, {"components": 5})
    with pytest.raises(UsageError, match="--neighbours 8: these images allow 7"):
        METHODS["knn"].settings(samples, {"neighbours": 8})


def test_what_was_given_shrinks_in_trials_on_fewer_images(digits):
    few = Samples(digits[0].x[:30], digits[0].y[:30])
    tried = list(trials(METHODS["pca_quadratic"], {"components": 50}, few, digits[1]))
    assert [t.settings for t in tried] == [{"components": 30}]


def test_groups_stand_for_their_methods_each_once():
    assert [m.name for m in named(["knn", "svm", "svm_rbf"])] == ["knn", "svm_linear", "svm_rbf", "svm_poly"]
    assert [m.name for m in named(["all"])] == list(METHODS)
    with pytest.raises(UsageError, match=r"no baseline 'svm_rfb' \(did you mean 'svm_rbf'\?\)"):
        named(["svm_rfb"])
    with pytest.raises(UsageError, match="at least one"):
        named([])


def test_options_belong_to_methods():
    check_options(named(["svm"]), {"gamma": 1})
    with pytest.raises(UsageError, match="--gamma belongs to svm_rbf, svm_poly: add one of them"):
        check_options(named(["svm_linear", "knn"]), {"gamma": 1})
    for wrong in (0, -1, float("nan"), "5", True):
        with pytest.raises(UsageError, match="--c must be a positive number, got"):
            check_options(named(["svm"]), {"c": wrong})


def test_a_setting_that_nothing_has_is_refused():
    with pytest.raises(
        UsageError, match=r"no baseline has a setting 'neighbors' \(did you mean 'neighbours'"
    ):
        check_options(named(["knn"]), {"neighbors": 3})
    with pytest.raises(UsageError, match="a setting 'foo'; there are: c, gamma, degree, neighbours"):
        check_options(named(["knn"]), {"foo": 1})


@pytest.mark.parametrize("option", ["degree", "neighbours", "components", "hidden", "epochs"])
def test_counts_are_whole_numbers(option):
    check_options(named(["all"]), {option: np.int64(2)})
    with pytest.raises(UsageError, match=f"--{option} must be a whole number, got 2.5"):
        check_options(named(["all"]), {option: 2.5})


@pytest.mark.parametrize(
    ("option", "value", "most"),
    [
        ("degree", 3_000_000_000, "10"),
        ("hidden", 10**12, "1,000,000"),
        ("epochs", 10**400, "1,000,000"),
        ("c", float("inf"), "10,000,000,000"),
        ("gamma", 1e300, "1,000,000"),
    ],
)
def test_settings_that_the_solvers_cannot_take_are_refused(option, value, most):
    with pytest.raises(UsageError, match=f"--{option} must be at most {most}, got"):
        check_options(named(["all"]), {option: value})


def test_a_kernel_that_overflows_is_refused():
    """(10^6 * 4 + 1)^6 is about 10^40."""
    samples = Samples(np.array([[0.0, 0], [2, 0]]), np.array([0, 1]))
    assert METHODS["svm_poly"].settings(samples, {"gamma": 1e6, "degree": 5})["degree"] == 5
    with pytest.raises(UsageError, match=r"--gamma 1e\+06 with --degree 6: the kernel reaches 10\^40"):
        METHODS["svm_poly"].settings(samples, {"gamma": 1e6, "degree": 6})


def test_memory_that_training_takes_by_hand():
    """7 and 9 images of 4 pixels in 3 classes."""
    train, test = (Samples(np.zeros((n, 4)), np.arange(n) % 3) for n in (7, 9))
    assert scratch("svm_rbf", {}, train, test) == 4 * 7 * 7
    assert scratch("pca_quadratic", {"components": 3}, train, test) == 8 * 2 * 9 * 6
    assert scratch("mlp", {"hidden": 5}, train, test) == 8 * 5 * (4 * (4 + 1 + 3) + 9)
    assert scratch("knn", {}, train, test) == 0
    many = Samples(np.zeros((60_000, 1)), np.arange(60_000) % 2)
    assert scratch("svm_poly", {}, many, test) == 1000 * 2**20  # the cache


def test_a_first_call_stays_outside_of_the_clock(digits):
    asked = []

    class Watched(KNeighborsClassifier):
        def predict(self, x):
            asked.append(len(x))
            time.sleep(0.3 if len(asked) == 1 else 0)
            return super().predict(x)

    watched = replace(METHODS["knn"], build=lambda settings, seed: Watched(1, algorithm="brute"))
    assert measure(watched, {}, *digits).predict_seconds < 0.3
    assert asked == [5, 400]


def test_settings_are_chosen_on_the_validation_samples(digits):
    train, valid = digits
    tried = list(trials(METHODS["knn"], {}, train, valid))
    assert [t.settings["neighbours"] for t in tried] == [1, 3, 5, 9]
    assert best(tried).error == min(measure(METHODS["knn"], t.settings, train, valid).error for t in tried)
    assert best(tried[::-1]).settings in [t.settings for t in tried if t.error == best(tried).error]
    assert {t.images for t in tried} == {700}


def test_what_was_given_is_not_chosen(digits):
    tried = list(trials(METHODS["svm_poly"], {"degree": 2}, *digits))
    assert [(t.settings["c"], t.settings["degree"]) for t in tried] == [(0.1, 2), (1.0, 2)]


def test_pixels_are_laid_out_channel_by_channel():
    pixels = np.array([[[[0, 51]], [[102, 255]]]], np.uint8)  # one image of 2 channels, 1x2
    samples = flat(pixels, np.array([1]))
    assert samples.x.tolist() == [[0, 0.2, 0.4, 1]]


@pytest.mark.parametrize(
    ("pixels", "labels", "kind"),
    [
        (np.zeros((2, 1, 2, 2)), np.zeros(2, int), ShapeError),
        (np.zeros((2, 2, 2), np.uint8), np.zeros(2, int), ShapeError),
        (np.zeros((2, 1, 2, 2), np.uint8), np.zeros(3, int), ShapeError),
        (np.zeros((0, 1, 2, 2), np.uint8), np.zeros(0, int), UsageError),
    ],
)
def test_what_is_no_images_is_refused(pixels, labels, kind):
    with pytest.raises(kind):
        flat(pixels, labels)


def test_one_class_is_refused(digits):
    train, test = digits
    ones = Samples(train.x[train.y == 1], train.y[train.y == 1])
    with pytest.raises(UsageError, match="all of one class"):
        measure(METHODS["knn"], {"neighbours": 1}, ones, test)


def test_a_published_figure_needs_the_settings_it_was_made_with():
    assert published("linear", {}, 60_000).error == 0.12  # as they are, not the deskewed 8.4
    assert published("lenet5", {}, 60_000).error == 0.0095
    assert published("knn", {"neighbours": 3}, 60_000).error == 0.05
    assert published("knn", {"neighbours": 1}, 60_000) is None
    assert published("", {}, 60_000) is None
    assert published("svm_linear", {"c": 1}, 60_000) is None


def test_a_figure_of_other_images_stands_in_no_row():
    assert published("svm_poly", {"degree": 4, "c": 1}, 60_000) is None  # theirs were deskewed
    assert published("linear", {}, 59_999) is None
    assert all(figure.name is None for figure in FIGURES if figure.images != "as they are")
