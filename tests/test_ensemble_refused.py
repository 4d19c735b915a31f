"""What cannot be is refused with its name and what to do; what can be meant in one way only is done."""

import numpy as np
import pytest
import torch
from python_made import Big, Small, data, members, same, states
from run_made import write_npz
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import concord
from concord.errors import DataError, ShapeError, UsageError

X, Y = data(60)
FIT = {"epochs": 1, "batch_size": 16}


def loader(dataset):
    return DataLoader(dataset, batch_size=16)


def pairs(x, y):
    return loader(TensorDataset(x, y))


def fit(given=(X, Y), made=None, *, task="classify", **options):
    ensemble = concord.Ensemble(made or members(), task=task)
    ensemble.fit(given, **(FIT | options))
    return ensemble


def shared():
    one, other = Small(), Small()
    other.dense.weight = one.dense.weight
    return {"a": one, "b": other}


def statistics_shared():
    one = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False))
    return {"a": one, "b": nn.Sequential(nn.Linear(4, 3), one[1])}


class NoParameters(nn.Module):
    def forward(self, x):
        return x[:, :3]


def twice(module):
    return {"a": module, "b": module}


MEMBERS = {
    "one module twice": (lambda: twice(Small()), "'a' and 'b' are one module"),
    "one module without parameters twice": (lambda: twice(NoParameters()), "'a' and 'b' are one module"),
    "a shared parameter": (shared, "share parameters.*deepcopy"),
    "shared statistics": (statistics_shared, "'a' and 'b'"),
    "a string": (lambda: "abc", "mapping of names to modules.*got str"),
    "None": (lambda: None, "got NoneType"),
    "none": (dict, "at least one member"),
    "a generator": (lambda: (Small() for _ in range(2)), "got generator"),
    "a class": (lambda: [Small], "must be a torch.nn.Module, got the class Small"),
    "a single module": (Small, r"give \[module\]"),
    "a name with a blank": (lambda: {"a b": Small()}, "'a b' cannot be the name"),
    "a name with a line break": (lambda: {"a\n": Small()}, "cannot be the name"),
    "a number as a name": (lambda: {1: Small()}, "1 cannot be the name"),
    "the name of the ensemble": (lambda: {"ensemble": Small()}, "is not 'ensemble'"),
    "the meta device": (lambda: {"a": Small().to("meta")}, "meta device"),
}


@pytest.mark.parametrize("what", MEMBERS)
def test_members_that_cannot_be(what):
    make, words = MEMBERS[what]
    with pytest.raises(UsageError, match=words):
        concord.Ensemble(make())


def test_containers_of_torch_are_members_too():
    assert list(concord.Ensemble(nn.ModuleDict(members()))) == ["small", "big"]
    assert list(concord.Ensemble(nn.ModuleList([Small(), Big()]))) == ["member-1", "member-2"]


BINDINGS = {
    "an unknown consensus": ({"consensus": "l3"}, "did you mean 'l2'"),
    "another word for one": ({"consensus": "mse"}, "did you mean 'l2'"),
    "None as a consensus": ({"consensus": None}, "name of a cost, or a function"),
    "a negative weight": ({"consensus": "l2", "weight": -1}, "weight.*at least 0, got -1"),
    "a weight of NaN": ({"consensus": "l2", "weight": float("nan")}, "weight.*finite"),
    "an infinite weight": ({"consensus": "l2", "weight": float("inf")}, "weight.*finite"),
    "a word as a weight": ({"consensus": "l2", "weight": "big"}, "weight.*must be a number, got 'big'"),
    "a weight of nothing": ({"weight": 0.1}, 'needs a consensus: consensus="l2"'),
    "unknown edges": ({"consensus": "l2", "edges": "chian"}, "did you mean 'chain'"),
    "a cost without its weight": ({"consensus": "l1"}, "give the weight of l1, .* only kl and sce_tf1 have"),
    "a function without its weight": ({"consensus": torch.dist}, "give the weight of python:"),
    "edges of three": ({"consensus": "kl", "edges": [[0, 1, 1]] * 3}, "has 3 rows, but there are 2 members"),
    "edges to oneself": ({"consensus": "kl", "edges": [[1, 1], [1, 0]]}, "cannot learn from itself"),
    "a number as edges": ({"consensus": "l2", "edges": 3}, "a name, a square table"),
    "a temperature of l2": ({"consensus": "l2", "temperature": 2.0}, "temperature belongs to"),
    "a temperature of a function": ({"consensus": torch.dist, "temperature": 2.0}, "temperature belongs to"),
    "an unknown task": ({"task": "depth"}, "\"classify\", .* or an object.*got 'depth'"),
    "half a task": ({"task": nn.CrossEntropyLoss()}, "without loss, compare, combine"),
}


@pytest.mark.parametrize("what", BINDINGS)
def test_what_cannot_bind_members(what):
    options, words = BINDINGS[what]
    with pytest.raises(UsageError, match=words):
        concord.Ensemble(members(), **options)


@pytest.mark.parametrize(
    "edges", [torch.tensor([[0.0, 1], [1, 0]]), np.array([[0, 1], [1, 0]]), ((0, 1), (1, 0))]
)
def test_edges_are_any_table_of_numbers(edges):
    made = concord.Ensemble(members(), consensus="l2", weight=0.1, edges=edges)
    made.fit((X, Y), **FIT)
    named = concord.Ensemble(members(), consensus="l2", weight=0.1, edges="chain")
    named.fit((X, Y), **FIT)
    assert same(states(made), states(named))


def test_a_consensus_of_the_users_gives_one_number_for_each_row():
    def distance(own, peer):
        return (own - peer).square().sum(-1)

    own = concord.Ensemble(members(), consensus=distance, weight=0.1)
    own.fit((X, Y), **FIT)
    named = concord.Ensemble(members(), consensus="l2", weight=0.1)
    named.fit((X, Y), **FIT)
    assert same(states(own), states(named))
    mean = concord.Ensemble(members(), consensus=lambda a, b: (a - b).square().mean(), weight=0.1)
    with pytest.raises(ShapeError, match=r"one number for each of 16 rows, \(16,\), got \(\)"):
        mean.fit((X, Y), **FIT)


def with_nan():
    x = X.clone()
    x[7, 2] = float("nan")
    return x


DATA = {
    "other lengths": ((X, Y[:50]), "inputs 60, targets 50"),
    "no samples": ((X[:0], Y[:0]), "no samples"),
    "single numbers": ((torch.tensor(1.0), torch.tensor(1)), "single number"),
    "NaN": ((with_nan(), Y), "sample 7 holds NaN"),
    "integers": (
        (X.long(), Y),
        "'small' cannot take.*torch.int64, its parameters torch.float32: give x.float",
    ),
    "bool": ((X > 0, Y), "torch.bool.*give x.float"),
    "half precision": ((X.half(), Y), "torch.float16.*give x.float"),
    "complex": ((X + 1j, Y), "real numbers, got torch.complex64"),
    "complex arrays": (((X + 1j).numpy(), Y.numpy()), "got complex64"),
    "words": ((np.array([["a"] * 4] * 60), Y), "inputs must be numbers"),
    "the meta device": ((X.to("meta"), Y), "meta device"),
    "sparse": ((X.to_sparse(), Y), "sparse.*to_dense"),
    "lists of other lengths": (([[1.0, 2.0], [1.0]], [0, 1]), "one length"),
    "labels out of range": ((X, Y + 1), "sample . has the label 3, expected 0 to 2"),
    "negative labels": ((X, Y - 1), "has the label -1, expected 0 to 2"),
    "one-hot labels": ((X, torch.eye(3)[Y]), r"one-hot: give y.argmax\(1\)"),
    "a column of labels": ((X, Y[:, None]), r"give y\[:, 0\]"),
    "labels of floats": ((X, Y.float()), "whole numbers"),
    "labels of bools": ((X, Y > 0), "whole numbers"),
    "labels of words": ((X.numpy(), np.array(["cat", "dog", "eel"])[Y]), "must be numbers"),
    "labels in pieces": ((X, [Y[:30], Y[30:]]), "DataLoader|same number"),
    "a path": ("photos", r"concord.load_data\('photos'\)"),
    "nothing": (None, "got NoneType"),
    "a dictionary": ({"x": X, "y": Y}, "a pair"),
    "inputs alone": (X, "got Tensor"),
    "three things": ((X, Y, Y), "got 3 values"),
}


@pytest.mark.parametrize("what", DATA)
def test_data_that_cannot_be_trained_on(what):
    given, words = DATA[what]
    ensemble = concord.Ensemble(members())
    before = states(ensemble)
    with pytest.raises((UsageError, DataError), match=words):
        ensemble.fit(given, **FIT)
    assert same(states(ensemble), before)


class Twins(nn.Module):
    """Another task: two outputs."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 3)

    def forward(self, x):
        return self.dense(x), self.dense(x)


UNFIT = {
    "other numbers of classes": (
        {"a": nn.Linear(4, 3), "b": nn.Linear(4, 4)},
        "same number of classes, got a 3, b 4",
    ),
    "other inputs": ({"a": Small(), "b": nn.Linear(5, 3)}, r"'b' cannot take inputs of shape \(2, 4\)"),
    "a tuple as output": ({"a": Small(), "b": Twins()}, r"'b' must give logits \(B, K\), got a tuple"),
    "a map as output": ({"a": nn.Unflatten(1, (2, 2))}, r"must give logits \(B, K\), got shape \(2, 2, 2\)"),
    "float64": ({"a": Small().double()}, "parameters torch.float64: use member.float"),
    "half precision": ({"a": Small().half()}, "parameters torch.float16: use member.float"),
    "all frozen": ({"a": Small().requires_grad_(False)}, "no member has a parameter that learns"),
    "no parameters": ({"a": NoParameters()}, "no member has a parameter that learns"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_members_that_do_not_fit_the_data(what):
    made, words = UNFIT[what]
    with pytest.raises(UsageError, match=words):
        fit(made=made)


def test_members_of_another_number_of_classes_than_the_task():
    with pytest.raises(UsageError, match=r"'small': a member must give \(B, 5\) logits, got \(2, 3\)"):
        fit(task=concord.Classify(5))
    with pytest.raises(UsageError, match=r"'a' \(a tuple\).*do not fit the task Classify"):
        fit(pairs(X, Y), {"a": Twins()}, task=concord.Classify(3), valid=None)


def test_a_member_without_parameters_goes_along():
    ensemble = fit(made={"a": NoParameters(), "b": Small()})
    assert ensemble.evaluate((X, Y)).members["a"].error == 0  # the label is the largest of the three numbers


def lacking(made):
    return torch.optim.SGD(made["small"].parameters(), lr=0.1)


CHOICES = {
    "no epochs": ({"epochs": 0}, "epochs.*greater than 0, got 0"),
    "half an epoch": ({"epochs": 1.5}, "epochs.*whole number, got 1.5"),
    "True epochs": ({"epochs": True}, "epochs.*whole number"),
    "no batch": ({"batch_size": 0}, "batch_size.*greater than 0"),
    "a fraction as a seed": ({"seed": 0.5}, "seed.*whole number"),
    "all for validation": ({"valid": 1.0}, "above 0 and below 1 to cut off; got 1.0"),
    "less than nothing": ({"valid": -0.1}, "above 0 and below 1"),
    "True for validation": ({"valid": True}, "got True"),
    "too much": ({"valid": 0.999}, "60 samples: too few to cut valid=0.999 off"),
    "validation of another width": ({"valid": (X[:, :3], Y)}, "valid: member 'small' cannot take"),
    "validation of other labels": ({"valid": (X, Y + 1)}, "valid: sample .* has the label 3"),
    "a test of another width": ({"test": (X[:, :3], Y)}, "test: member 'small' cannot take"),
    "a path of validation": ({"valid": "photos"}, "valid is a path"),
    "an unknown schedule": ({"schedule": "cosin"}, "did you mean 'cosine'"),
    "too long a warm-up": ({"warmup": 2}, "warmup.*less than 1"),
    "no gradient": ({"clip": 0}, "clip.*greater than 0"),
    "no patience": ({"patience": 0}, "patience.*greater than 0"),
    "patience without validation": ({"patience": 1, "valid": None}, "patience looks .*give valid"),
    "parts of two": ({"micro_batch": 2}, "micro_batch.*at least 3"),
    "parts in turn": ({"micro_batch": 4, "alternating": True}, "micro_batch needs the simultaneous update"),
    "a word as a precision": (
        {"precision": "bfloat16"},
        "precision is torch.float32 or torch.bfloat16, got 'bfl",
    ),
    "float64": ({"precision": torch.float64}, "got torch.float64"),
    "less than no workers": ({"workers": -1}, "workers is a number of processes from 0, got -1"),
    "a word as workers": ({"workers": "2"}, "got '2'"),
    "a word as an optimizer": ({"optimizer": "adam"}, r"concord.Adam\(...\).*got 'adam'"),
    "a class as an optimizer": ({"optimizer": torch.optim.Adam}, "made of the parameters of all members"),
    "a negative rate": ({"optimizer": concord.Adam(lr=-1)}, "optimizer.lr.*greater than 0"),
    "less than no seconds": ({"checkpoint_seconds": -1}, "checkpoint_seconds.*at least 0"),
}


@pytest.mark.parametrize("what", CHOICES)
def test_choices_that_cannot_be(what):
    options, words = CHOICES[what]
    with pytest.raises(UsageError, match=words):
        fit(**options)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"consensus": "kdcl_general"}, "kdcl_general looks at validation data"),
        ({"consensus": "l2", "edges": "disagreement_matching"}, "disagreement_matching looks at validation"),
    ],
)
def test_a_consensus_that_looks_at_validation_data_needs_some(how, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        concord.Ensemble(members(), weight=0.1, **how).fit((X, Y), valid=None, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_optimizer_that_lacks_a_member_is_refused_before_a_folder_is_made(tmp_path):
    made = members()
    with pytest.raises(UsageError, match=r"does not have \d of the parameters of member 'big'"):
        fit(made=made, optimizer=lacking(made), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_load_data_gives_has_parts_of_its_own(tmp_path):
    splits = concord.load_data(str(write_npz(tmp_path / "data.npz")))
    made = {"a": nn.Sequential(nn.Flatten(), nn.Linear(36, 3))}
    for given in ({"valid": 0.2}, {"valid": splits.test}, {"test": splits.test}):
        with pytest.raises(UsageError, match="leave valid and test out"):
            concord.Ensemble(made).fit(splits, epochs=1, **given)
    assert concord.Ensemble(made).fit(splits, epochs=1).valid is not None
    assert concord.Ensemble(made).fit(splits, epochs=1, valid=None).valid is None


def test_choices_that_can_be():
    wanted = states(fit())
    assert same(states(fit(epochs=np.int64(1), batch_size=np.int32(16), seed=np.int64(0))), wanted)
    assert same(states(fit(valid=np.float64(0.1))), wanted)
    assert len(concord.Ensemble(members()).fit((X, Y), epochs=1, batch_size=1000).epochs) == 1
    assert concord.Ensemble(members()).fit((X, Y), epochs=1, valid=False).valid is None


def test_fit_again_continues_from_the_weights_as_they_are():
    ensemble = fit()
    first = states(ensemble)
    ensemble.fit((X, Y), **FIT)
    assert not same(states(ensemble), first)
    with pytest.raises(UsageError, match="label 3, expected 0 to 2"):
        ensemble.fit((X, Y + 1), **FIT)


def test_few_samples_and_few_classes_are_enough():
    for count in (1, 2):
        assert fit((X[:count], Y[:count]), {"a": Small()}, valid=None).task.classes == 3


INPUTS = {
    "another width": (X[:, :3], "'small' cannot take inputs of shape"),
    "a sample without a batch": (X[0], r"'small' must give logits \(4, 3\), got \(3,\).*x\[None\]"),
    "a pair": ((X, Y), "'small' cannot take inputs of shape"),
    "nothing": (None, "tensors or arrays, got None"),
    "a file": ("cat.png", "got 'cat.png'; image files are read with concord.load_data"),
    "no samples": (X[:0], "length 0"),
    "NaN": (with_nan(), "sample 7 holds NaN"),
    "integers": (X.long(), "give x.float"),
}


@pytest.fixture(scope="module")
def trained():
    return fit()


@pytest.mark.parametrize("what", INPUTS)
def test_inputs_that_cannot_be_predicted(what, trained):
    given, words = INPUTS[what]
    for ask in (trained.predict, trained.predict_proba, trained.member("small").predict):
        with pytest.raises(UsageError, match=words):
            ask(given)


def test_inputs_of_many_forms_are_predicted_alike(trained):
    wanted = trained.predict(X)
    for given in (X.double(), X.tolist(), pairs(X, Y), TensorDataset(X, Y), loader(X)):
        assert torch.equal(trained.predict(given), wanted)
    assert np.array_equal(trained.predict(X.numpy()), wanted.numpy())


SCORED = {
    "another width": ((X[:, :3], Y), "'small' cannot take"),
    "other labels": ((X, Y + 1), "label 3"),
    "no targets": (X, "a pair"),
    "an empty loader": (pairs(X[:0], Y[:0]), "no samples"),
    "a loader of other labels": (pairs(X, Y + 1), "batch 1 of the loader: sample"),
}


@pytest.mark.parametrize("what", SCORED)
def test_data_that_cannot_be_scored(what, trained):
    given, words = SCORED[what]
    with pytest.raises((UsageError, DataError), match=words):
        trained.evaluate(given)


def test_names_that_are_not_there_are_answered_with_the_nearest(trained):
    with pytest.raises(UsageError, match=r"no member 'smal'.*did you mean 'small'.*small, big"):
        trained["smal"]
    with pytest.raises(UsageError, match="there are: small, big"):
        trained.member(3)
    with pytest.raises(UsageError, match="fit first"):
        concord.Ensemble(members()).predict(X)
