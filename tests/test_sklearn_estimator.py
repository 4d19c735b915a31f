"""CollaborativeClassifier is an estimator like any other of scikit-learn, and what it trains are members."""

import doctest
import json
import pickle
import random
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from concord.errors import DivergedError, UsageError
from concord.sklearn import CollaborativeClassifier, classifier

PAGE = Path(__file__).parent.parent / "docs/sklearn.md"


class Normalised(nn.Sequential):
    """A network with state and draws of its own; its class makes it."""

    def __init__(self, features, classes):
        layers = nn.Linear(features, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)
        super().__init__(*layers, nn.Linear(16, classes))


class Single(nn.Module):
    """A network that computes in float32 whatever it is given."""

    def __init__(self, features, classes):
        super().__init__()
        self.layer = nn.Linear(features, classes)

    def forward(self, x):
        return self.layer(x.float())


def too_wide(features, classes):
    return nn.Linear(features, classes + 1)


def first_key(given):
    return next(iter(given))


# scikit-learn's own checks


@parametrize_with_checks(
    [
        CollaborativeClassifier(epochs=5),
        CollaborativeClassifier({"own": Normalised, "small": (8,)}, epochs=8, valid=0.2, patience=3),
    ]
)
def test_the_checks_of_scikit_learn_pass(estimator, check):
    check(estimator)


# in the company of other estimators


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), random_state=0, stratify=load_digits().target)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def trained(digits):
    x, _, y, _ = digits
    return CollaborativeClassifier({"small": (16,), "big": (64,)}, epochs=6, random_state=0).fit(x, y)


def test_digits_are_learned_in_a_few_epochs_by_the_ensemble_and_by_each_member(trained, digits):
    _, x, _, y = digits
    assert trained.score(x, y) > 0.93
    assert trained.member("small").score(x, y) > 0.9
    assert trained.member("big").score(x, y) > 0.9


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_grid_over_a_pipeline_is_searched_and_does_not_depend_on_the_processes(digits, jobs):
    x, _, y, _ = digits
    model = CollaborativeClassifier(epochs=8, batch_size=32, random_state=0)
    grid = {
        "collaborativeclassifier__members": [((16,),), [(16,), (32,)]],
        "collaborativeclassifier__weight": [0.0, 0.01],
    }
    search = GridSearchCV(make_pipeline(MinMaxScaler(), model), grid, cv=2, n_jobs=jobs, error_score="raise")
    search.fit(x[:600], y[:600])
    assert search.best_score_ > 0.9
    alone = clone(search.best_estimator_).fit(x[:600], y[:600])
    np.testing.assert_array_equal(alone.predict_proba(x), search.predict_proba(x))


def test_cross_validation_is_the_same_in_two_processes(digits):
    x, _, y, _ = digits
    model = CollaborativeClassifier({"own": Normalised, "small": (32,)}, epochs=5, random_state=0)
    here, there = (cross_val_score(model, x, y, cv=2, n_jobs=jobs) for jobs in (1, 2))
    assert here.min() > 0.9
    np.testing.assert_array_equal(here, there)


def test_it_votes_with_others(iris):
    models = [
        ("networks", CollaborativeClassifier(epochs=10, random_state=0)),
        ("bayes", GaussianNB()),
    ]
    assert VotingClassifier(models, voting="soft").fit(*iris).score(*iris) > 0.9


def test_labels_may_be_text(iris):
    x, y = iris
    names = load_iris().target_names[y]
    model = CollaborativeClassifier(epochs=10, random_state=0).fit(x, names)
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert set(model.predict(x)) <= set(names)
    assert model.score(x, names) > 0.9
    assert model.member("member-1").predict(x[:1]) == ["setosa"]


# random_state


def test_equal_seeds_give_equal_networks_and_others_do_not(iris):
    def proba(seed):
        model = CollaborativeClassifier([Normalised, (8,)], epochs=2, random_state=seed, valid=0.2)
        return model.fit(*iris).predict_proba(iris[0])

    first = proba(1)
    np.testing.assert_array_equal(first, proba(1))
    np.testing.assert_array_equal(proba(np.random.RandomState(1)), proba(np.random.RandomState(1)))
    assert not np.allclose(first, proba(2))


def test_the_seed_decides_weights_order_and_what_is_kept_out_each_by_itself(iris, monkeypatch):
    def first_loss(seed):
        model = CollaborativeClassifier([one_start], valid=0.2, epochs=1, batch_size=8, random_state=seed)
        return model.fit(*iris).history_.epochs[0]

    def one_start(features, classes):
        layer = nn.Linear(features, classes)
        with torch.no_grad():
            layer.weight.fill_(0.1)
            layer.bias.zero_()
        return layer

    labels = torch.from_numpy(iris[1])
    assert classifier._cut(labels, 0.2, 1)[1].tolist() != classifier._cut(labels, 0.2, 2)[1].tolist()
    assert first_loss(1).losses != first_loss(2).losses  # of equal weights
    monkeypatch.setattr(classifier, "_cut", lambda labels, *_: (torch.arange(150), torch.arange(30)))
    assert first_loss(1).losses != first_loss(2).losses  # of equal weights and samples: the order


def test_without_a_seed_numpy_decides_as_in_all_of_scikit_learn(iris):
    found = []
    for _ in range(2):
        np.random.seed(5)  # noqa: NPY002
        found += [CollaborativeClassifier(epochs=1).fit(*iris).predict_proba(iris[0]) for _ in range(2)]
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.allclose(found[0], found[1])


def process():
    """Everything of this process that a library could change."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "folder": sorted(Path.cwd().iterdir()),
    }


def test_the_process_is_left_as_it_was(iris, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    x, y = (given.copy() for given in iris)
    before = process()
    model = CollaborativeClassifier([Normalised, (8,)], epochs=2, valid=0.2, patience=1, random_state=0)
    model.fit(x, y).predict(x)
    assert process() == before
    np.testing.assert_array_equal(x, iris[0])
    assert capfd.readouterr() == ("", "")


def test_a_search_in_a_notebook_draws_no_line_for_every_fit(iris, monkeypatch):
    def draw():
        raise AssertionError("a line of progress was asked for")

    monkeypatch.setattr("concord.runs.ensemble.observer_here", draw)
    CollaborativeClassifier(epochs=1).fit(*iris)


# what it computes


def test_probabilities_are_the_softmax_of_the_mean_of_the_logits(trained, digits):
    _, x, *_ = digits
    deviation = trained.scaler_.scale_
    scaled = torch.from_numpy((x - digits[0].mean(0)) / deviation).float()
    with torch.no_grad():
        logits = [trained.ensemble_[name].eval()(scaled).numpy() for name in ("small", "big")]
    mean = np.mean(logits, axis=0)
    np.testing.assert_allclose(trained.decision_function(x), mean, atol=1e-4)
    expected = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    np.testing.assert_allclose(trained.predict_proba(x), expected, atol=1e-5)
    np.testing.assert_allclose(np.exp(trained.predict_log_proba(x)), expected, atol=1e-5)
    np.testing.assert_allclose(trained.ensemble_.predict_proba(scaled).numpy(), expected, atol=1e-5)


def test_features_are_standardized_or_left_as_they_are(iris):
    shifted = iris[0] * [1, 10, 100, 1000] + 1e6
    plain, moved = (
        CollaborativeClassifier(epochs=2, random_state=0).fit(x, iris[1]).predict_proba(x)
        for x in (iris[0], shifted)
    )
    np.testing.assert_allclose(plain, moved, atol=1e-4)
    model = CollaborativeClassifier([()], epochs=1, standardize=False, random_state=0).fit(*iris)
    (linear,) = model.ensemble_["member-1"]
    with torch.no_grad():
        expected = linear(torch.from_numpy(iris[0]).float()).numpy()
    np.testing.assert_allclose(model.decision_function(iris[0]), expected, rtol=1e-4, atol=1e-5)


def test_two_classes_have_one_column_of_decisions(iris):
    x, y = iris[0][:100], iris[1][:100]
    model = CollaborativeClassifier(epochs=3, random_state=0).fit(x, y)
    log_odds = np.log(model.predict_proba(x)[:, 1] / model.predict_proba(x)[:, 0])
    np.testing.assert_allclose(model.decision_function(x), log_odds, atol=1e-9)


def test_a_weight_of_0_trains_each_member_as_it_would_be_alone(iris):
    both = CollaborativeClassifier([(8,), (32,)], weight=0.0, epochs=3, random_state=3).fit(*iris)
    alone = CollaborativeClassifier([(8,)], weight=0.0, epochs=3, random_state=3).fit(*iris)
    one, other = both.member("member-1").predict_proba(iris[0]), alone.predict_proba(iris[0])
    np.testing.assert_array_equal(one, other)


def test_a_consensus_cost_brings_members_together(iris):
    def distance(weight):
        model = CollaborativeClassifier([(8,), (32,)], weight=weight, random_state=0).fit(*iris)
        one, other = (model.member(name).decision_function(iris[0]) for name in model.ensemble_)
        return np.abs(one - other).mean()

    assert distance(1.0) < distance(0.0) / 2


def test_a_cost_of_ones_own_and_a_table_of_edges_are_taken(iris):
    asked = []

    def cost(a, b):
        asked.append(a.shape)
        return (a - b).square().sum(-1)

    one_way = [[0.0, 1.0], [0.0, 0.0]]
    model = CollaborativeClassifier(consensus=cost, weight=0.01, edges=one_way, epochs=1, random_state=0).fit(
        *iris
    )
    same = CollaborativeClassifier(consensus="l2", weight=0.01, edges=one_way, epochs=1, random_state=0).fit(
        *iris
    )
    assert asked[0] == (64, 3)
    np.testing.assert_allclose(model.predict_proba(iris[0]), same.predict_proba(iris[0]), atol=1e-6)


def test_what_is_kept_out_has_every_class_in_proportion_and_stops_the_training():
    x = np.random.default_rng(0).normal(size=(200, 3))
    y = np.repeat(["often", "rare"], [180, 20])
    model = CollaborativeClassifier(valid=0.2, patience=2, epochs=60, random_state=0).fit(x, y)
    assert model.n_iter_ == len(model.history_) < 60
    errors = [epoch.valid.ensemble.error for epoch in model.history_.epochs]
    assert min(errors) == errors[model.history_.best_epoch - 1] == model.history_.valid.ensemble.error
    _, held = classifier._cut(torch.arange(200) // 180, 0.2, 0)
    assert (held >= 180).sum() == 4
    assert (held < 180).sum() == 36


def test_a_module_that_insists_on_float32_is_served(iris):
    model = CollaborativeClassifier([Single, (8,)], epochs=20, random_state=0).fit(*iris)
    assert model.predict_proba(iris[0]).dtype == np.float64
    assert model.score(*iris) > 0.8


def test_the_answer_for_a_sample_does_not_depend_on_the_others(trained, digits):
    x = digits[1][:50]
    alone = np.concatenate([trained.decision_function(sample[None]) for sample in x])
    np.testing.assert_allclose(trained.decision_function(x), alone, rtol=1e-11)


@pytest.mark.parametrize(
    "change",
    [{"weight_decay": 1.0}, {"temperature": 5.0}, {"lr": 0.1}, {"schedule": "constant"}],
    ids=first_key,
)
def test_every_parameter_changes_what_is_trained(iris, change):
    given = {"consensus": "kl", "weight": 1.0, "epochs": 3, "random_state": 0}
    one, other = (CollaborativeClassifier(**given, **more).fit(*iris) for more in ({}, change))
    assert not np.allclose(one.predict_proba(iris[0]), other.predict_proba(iris[0]), atol=1e-3)


def test_numbers_may_be_those_of_numpy(iris):
    model = CollaborativeClassifier([(np.int64(4),)], epochs=np.int64(2), lr=np.float32(0.01), weight=0)
    assert model.fit(*iris).n_iter_ == 2


# one member by itself


def test_a_member_is_an_estimator_without_the_others(trained, digits):
    x, _, y, _ = digits
    small = trained.member("small")
    assert small.ensemble_["small"] is trained.ensemble_["small"]
    again = pickle.loads(pickle.dumps(small))
    np.testing.assert_array_equal(again.predict_proba(x), small.predict_proba(x))
    assert len(pickle.dumps(small)) < len(pickle.dumps(trained)) / 2
    assert list(clone(small).set_params(epochs=1).fit(x, y).ensemble_) == ["small"]
    assert list(trained.ensemble_) == ["small", "big"]
    assert trained.consensus == "kl"


def test_parameters_changed_after_the_training_do_not_change_what_was_trained(iris):
    model = CollaborativeClassifier(epochs=1, random_state=0).fit(*iris).set_params(members=[(5,)])
    assert model.member("member-2").ensemble_["member-2"][0].out_features == 128


def test_an_unknown_member_is_named_with_the_nearest(trained):
    with pytest.raises(UsageError, match=r"'smal' \(did you mean 'small'\?\)"):
        trained.member("smal")


# bad input


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"members": (32, 128)}, r"member 'member-1' must be the widths .* got 32"),
        ({"members": [nn.Linear(4, 3)]}, "a function .* got Linear"),
        ({"members": nn.Linear(4, 3)}, "members is a list or dict"),
        ({"members": "mlp"}, "members is a list or dict"),
        ({"members": [(0,)]}, r"got \(0,\)"),
        ({"members": []}, "at least one member"),
        ({"members": {"two words": (3,)}}, "'two words'"),
        ({"members": {"own": too_wide}}, r"member 'own'.*\(B, 3\)"),
        ({"members": {"own": print}}, "torch.nn.Module, got NoneType"),
        ({"consensus": "l3"}, "did you mean 'l2'"),
        ({"weight": -1}, "weight == -1"),
        ({"lr": 0}, "lr.*greater than 0"),
        ({"epochs": 0}, "epochs == 0"),
        ({"batch_size": 0}, "batch_size == 0"),
        ({"valid": 1.0}, "valid == 1.0"),
        ({"patience": 3}, "give valid"),
        ({"schedule": "steps"}, "'halving'"),
        ({"edges": "line"}, "'chain'"),
    ],
    ids=lambda value: "" if isinstance(value, str) else first_key(value),
)
def test_a_parameter_that_cannot_be_is_refused(given, said, iris):
    with pytest.raises(ValueError, match=said):
        CollaborativeClassifier(**{"epochs": 1, **given}).fit(*iris)


def test_data_that_cannot_be_are_refused(iris):
    x, y = iris
    model = CollaborativeClassifier(epochs=1, valid=0.5)
    with pytest.raises(TypeError, match="Sparse data"):
        model.fit(csr_matrix(x), y)
    with pytest.raises(ValueError, match="1 class: 0"):
        model.fit(x[:50], y[:50])
    with pytest.raises(ValueError, match="2 samples are too few"):
        model.fit(x[[0, 149]], y[[0, 149]])
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(x > 5, np.nan, x), y)


def test_a_training_that_diverges_says_so(iris):
    with pytest.raises(DivergedError, match="member-1"):
        CollaborativeClassifier(lr=1e30, schedule="constant", epochs=3, random_state=0).fit(*iris)


# documents


def test_the_examples_run(capsys):
    found = doctest.testmod(classifier)
    assert found.attempted > 0
    assert found.failed == 0
    spaces = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), spaces)
    assert len(blocks) > 2
    assert capsys.readouterr().out


def test_concord_alone_loads_neither_scikit_learn_nor_torch():
    code = "import json, sys, concord; print(json.dumps(sorted({'sklearn', 'torch'} & set(sys.modules))))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == []
