"""Loaders and data sets of a user's own that end early, lie, or give what no member takes."""

import pytest
import torch
from python_made import data, members, same, states
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import concord
from concord.errors import DataError, UsageError

X, Y = data(60)
FIT = {"epochs": 1, "batch_size": 16}


def loader(dataset, **options):
    return DataLoader(dataset, **({"batch_size": 16} | options))


def pairs(x, y):
    return loader(TensorDataset(x, y))


def fit(given, made=None, *, task="classify", **options):
    ensemble = concord.Ensemble(made or members(), task=task)
    ensemble.fit(given, **(FIT | options))
    return ensemble


def with_nan():
    x = X.clone()
    x[7, 2] = float("nan")
    return x


class Lying(torch.utils.data.Dataset):
    """Says that it has 80 samples."""

    def __len__(self):
        return 80

    def __getitem__(self, i):
        return X[i], Y[i]


class Streamed(torch.utils.data.IterableDataset):
    """``count(epoch)`` samples in each epoch, the first of which is numbered 0; their width is that."""

    def __init__(self, count=lambda epoch: 60, width=lambda epoch: 4):
        self.count, self.width, self.epoch = count, width, -1

    def __iter__(self):
        self.epoch += 1
        return ((X[i, : self.width(self.epoch)], Y[i]) for i in range(self.count(self.epoch)))


def narrower(epoch):
    return 4 - (epoch > 1)


# the first pass over a stream counts its batches
LOADERS = {
    "empty": (lambda: pairs(X[:0], Y[:0]), "gives no batch"),
    "an empty stream": (lambda: loader(Streamed(lambda epoch: 0)), "gives no batch"),
    "ends early": (
        lambda: loader(Streamed(lambda epoch: 60 if epoch < 2 else 30)),
        "2 batches in epoch 2",
    ),
    "goes too far": (
        lambda: loader(Streamed(lambda epoch: 30 if epoch < 2 else 60)),
        "more than 2 batches",
    ),
    "other shapes later": (
        lambda: loader(Streamed(width=lambda epoch: 4 - (epoch > 1))),
        "1 of the loader in epoch 2.*'small' cannot",
    ),
    "a length that lies": (lambda: loader(Lying()), "failed at batch 4: IndexError"),
    "NaN": (lambda: pairs(with_nan(), Y), "1 of the loader in epoch 1.*sample 7 of the batch holds NaN"),
    "labels out of range": (lambda: pairs(X, Y + 1), "has the label 3, expected 0 to 2"),
    "labels of floats": (lambda: pairs(X, Y.float()), "whole numbers"),
    "one-hot labels": (lambda: pairs(X, torch.eye(3, dtype=torch.int64)[Y]), "one-hot"),
    "three things": (lambda: loader(TensorDataset(X, Y, Y)), r"pair \(inputs, targets\), got list of 3"),
    "inputs alone": (lambda: loader(X), "got Tensor"),
    "no batches": (lambda: pairs_one_by_one(), "samples along the first axis"),
    "dictionaries": (lambda: loader([{"x": X[i], "y": Y[i]} for i in range(60)]), "got dict"),
    "words": (lambda: loader([("a", Y[i]) for i in range(60)]), "must be numbers"),
    "another width": (lambda: pairs(X[:, :3], Y), r"'small' cannot take inputs of shape \(2, 3\)"),
}


def pairs_one_by_one():
    return loader(TensorDataset(X, Y), batch_size=None)


@pytest.mark.parametrize("what", LOADERS)
def test_loaders_that_cannot_be_trained_on(what):
    make, words = LOADERS[what]
    with pytest.raises((UsageError, DataError), match=words):
        fit(make(), task=concord.Classify(3), valid=None, epochs=3)


def test_a_loader_alone_is_trained_on_without_validation_and_with_as_many_classes_as_logits():
    ensemble = concord.Ensemble(members())
    history = ensemble.fit(pairs(X, Y), **FIT)
    assert ensemble.task == concord.Classify(3)
    assert history.valid is None
    assert any("nothing is validated on" in text for text in history.notices)
    assert same(states(ensemble), states(fit(pairs(X, Y), task=concord.Classify(3), valid=None)))


def test_a_shuffling_loader_gives_the_same_batches_whether_its_classes_are_asked_for_or_given():
    def shuffling():
        return loader(TensorDataset(X, Y), shuffle=True, generator=torch.Generator().manual_seed(5))

    assert same(states(fit(shuffling())), states(fit(shuffling(), task=concord.Classify(3))))


def test_no_fraction_can_be_cut_off_a_loader():
    with pytest.raises(UsageError, match="give valid as data of its own, or valid=None"):
        fit(pairs(X, Y), task=concord.Classify(3), valid=0.1)
    with pytest.raises(UsageError, match="the loader is empty"):
        fit(pairs(X[:0], Y[:0]))
    with pytest.raises(UsageError, match="must give logits"):
        fit(pairs(X, Y), {"a": nn.Flatten(0)})
    with pytest.raises(UsageError, match="IterableDataset: give it as a DataLoader"):
        fit(Streamed(), task=concord.Classify(3))
    with pytest.raises(UsageError, match="lazy layers"):
        fit(pairs(X, Y), {"a": nn.LazyLinear(3)}, task=concord.Classify(3), valid=None)


def test_loaders_of_doubles_of_narrow_labels_and_of_shares_are_taken():
    wanted = states(fit(pairs(X, Y), task=concord.Classify(3), valid=None))
    for given in (pairs(X.double(), Y), pairs(X, Y.int()), loader(Streamed())):
        assert same(states(fit(given, task=concord.Classify(3), valid=None)), wanted)
    shares = fit(pairs(X, torch.eye(3)[Y]), task=concord.Classify(3), valid=None)
    for key, value in states(shares).items():
        torch.testing.assert_close(value, wanted[key])


def test_a_data_set_whose_length_lies_names_the_sample_that_is_not_there():
    with pytest.raises(DataError, match="length of 80, but there is no sample"):
        fit(Lying())
