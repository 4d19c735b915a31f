"""A user's torch.utils.data.Dataset: reproducible whatever it draws from, and distrusted."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from concord.data.dataset import Draw
from concord.data.loader import Loader, Wanted
from concord.data.wrapped import Wrapped
from concord.errors import DataError, UsageError


class Noisy(Dataset):
    """Draws from all three generators that people use."""

    def __len__(self):
        return 9

    def __getitem__(self, i):
        drawn = torch.rand(1), torch.tensor([random.random()]), torch.tensor([np.random.rand()])  # noqa: NPY002
        return torch.cat([torch.tensor([float(i)]), *drawn]), i % 3


class Faulty(Dataset):
    def __init__(self, fault, length=6):
        self.fault, self.length = fault, length

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        if i < 4:
            return np.zeros(3, np.float32), i % 2
        return self.fault(i)


def test_samples_are_those_of_the_dataset():
    x, y = torch.randn(7, 2, 3), torch.arange(7) % 2
    data = Wrapped(TensorDataset(x, y), classes=["a", "b"])
    index = torch.tensor([6, 0, 3])
    found, labels = data.batch(index, None)
    assert torch.equal(found, x[index])
    assert torch.equal(labels, y[index])
    assert data.spec.shape == (2, 3)
    assert data.spec.classes == ("a", "b")
    assert len(data) == 7


def test_what_it_draws_depends_on_seed_epoch_and_sample_only():
    data = Wrapped(Noisy(), classes=3)
    whole = data.batch(torch.arange(9), Draw(1, 2))[0]
    torch.manual_seed(0)
    again = data.batch(torch.tensor([5, 2]), Draw(1, 2))[0]
    assert torch.equal(again, whole[[5, 2]])
    assert (whole[:, 1:].diff(dim=0) != 0).all()
    for other in (Draw(1, 3), Draw(2, 2), None):
        assert (data.batch(torch.arange(9), other)[0][:, 1:] != whole[:, 1:]).all()
    assert torch.equal(data.batch(torch.arange(9), None)[0], data.batch(torch.arange(9), None)[0])


def test_the_generators_of_the_process_are_put_back_and_workers_change_nothing():
    data = Wrapped(Noisy(), classes=3)

    def states():
        numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
        return torch.get_rng_state().tolist(), random.getstate(), numpy

    before = states()
    oracle = data.batch(torch.arange(9), Draw(1, 2))[0]
    assert states() == before
    ((made, _),) = Loader({"x": data}, 1).batches([Wanted("x", torch.arange(9), Draw(1, 2))])
    assert torch.equal(made, oracle)


def stop(i):
    raise IndexError("out of range")


def broken(i):
    raise KeyError("file")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (stop, "has a length of 6, but there is no sample 4"),
        (broken, r"sample 4 cannot be read \(KeyError: 'file'\)"),
        (lambda i: (np.zeros(4, np.float32), 0), r"sample 4 has the shapes \(\(4,\), \(\)\), sample 0 has"),
        (lambda i: (np.full(3, np.nan, np.float32), 0), "sample 4 holds NaN"),
        (lambda i: (np.zeros(3, np.float32), 2), r"sample 4 has the label 2, expected 0 to 1"),
        (lambda i: np.zeros(3), "sample 4 must be a pair"),
        (lambda i: (np.zeros(3, np.float32), 0, 1), "sample 4 must be a pair"),
    ],
)
def test_a_faulty_sample_is_named(fault, message):
    data = Wrapped(Faulty(fault), classes=2)
    assert len(data.batch(torch.arange(4), None)[1]) == 4
    with pytest.raises(DataError, match=message):
        data.batch(torch.tensor([1, 4, 5]), None)


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (Faulty(stop), {}, "give classes"),
        (Faulty(stop, 0), {"classes": 2}, "is empty"),
        (iter([1]), {"classes": 2}, "an IterableDataset is given as a DataLoader"),
    ],
)
def test_what_is_no_such_dataset_is_refused(dataset, options, message):
    with pytest.raises(UsageError, match=message):
        Wrapped(dataset, **options)


def test_pictures_without_a_transform_are_refused_with_what_to_do():
    from PIL import Image

    class Pictures(Faulty):
        def __getitem__(self, i):
            return Image.new("L", (2, 2)), 0

    with pytest.raises(DataError, match="give the dataset a transform that makes tensors"):
        Wrapped(Pictures(stop), classes=2)


def test_other_targets_are_any_tree_and_a_fingerprint_may_be_given():
    x = torch.randn(4, 2)
    data = Wrapped(TensorDataset(x, x * 2), targets="any")
    assert torch.equal(data.batch(torch.arange(4), None)[1], x * 2)
    assert data.fingerprint != Wrapped(TensorDataset(x, x * 3), targets="any").fingerprint
    assert Wrapped(TensorDataset(x, x), targets="any", fingerprint="mine").fingerprint == "mine"


def test_how_many_samples_are_not_finite_is_said_of_what_was_looked_at_alone():
    """All but one of 200 are NaN; a batch of three is what was asked for."""
    x = torch.full((200, 3), float("nan"))
    x[0] = 0
    whole = Wrapped(TensorDataset(x, torch.arange(200) % 2), classes=2)
    with pytest.raises(DataError, match=r"sample 1 holds NaN or an infinity \(at least 2 such samples\)"):
        whole.batch(torch.tensor([0, 1, 2]), None)
