"""A user's tensors and arrays: taken as they are, or refused with the sample and what to do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concord.data.dataset import Draw
from concord.data.tensors import Tensors
from concord.errors import UsageError

X, Y = np.zeros((6, 3)), np.array([0, 1, 2, 0, 1, 2])


def test_arrays_become_what_networks_take():
    data = Tensors(np.arange(18, dtype=np.float64).reshape(6, 3), Y.astype(np.uint16))
    x, y = data.batch(torch.tensor([5, 0]), Draw(0, 0))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.tolist() == [[15, 16, 17], [0, 1, 2]]
    assert y.tolist() == [2, 0]
    assert data.spec.shape == (3,)
    assert data.spec.classes == ("0", "1", "2")
    assert len(data) == 6
    assert data.name(4) == "sample 4"


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_any_samples_in_any_order(index):
    x = torch.randn(6, 2, 2)
    data = Tensors({"a": x, "b": [torch.arange(6), x[:, 0]]}, Y)
    found, y = data.batch(torch.tensor(index), None)
    assert torch.equal(found["a"], x[index])
    assert found["b"][0].tolist() == index
    assert torch.equal(found["b"][1], x[index, 0])
    assert y.tolist() == Y[index].tolist()


def test_arrays_that_cannot_be_written_or_run_backwards_are_taken():
    x = np.arange(18.0).reshape(6, 3)
    x.flags.writeable = False
    data = Tensors(x[::-1], Y)
    assert data.batch(torch.tensor([0]), None)[0].tolist() == [[15, 16, 17]]


def test_names_and_classes_are_the_users():
    data = Tensors(X, Y, classes=["cat", "dog", "eel"], names=list("abcdef"))
    assert data.spec.classes == ("cat", "dog", "eel")
    assert data.name(1) == "b"
    assert Tensors(X, Y, classes=5).spec.classes == tuple("01234")


def test_other_targets_are_any_tree():
    data = Tensors(X, (np.zeros((6, 4)), np.ones((6, 2, 2), np.int32)), targets="any")
    _, (first, second) = data.batch(torch.tensor([1]), None)
    assert first.shape == (1, 4)
    assert second.shape == (1, 2, 2)


def test_the_fingerprint_sees_values_labels_classes_and_types():
    base = Tensors(X, Y).fingerprint
    assert Tensors(X.copy(), Y.copy()).fingerprint == base
    changed = X.copy()
    changed[3, 1] = 1e-6
    others = [
        Tensors(changed, Y),
        Tensors(X, Y[::-1].copy()),
        Tensors(X, Y, classes=["a", "b", "c"]),
        Tensors(X.astype(np.int64), Y),
    ]
    assert len({base, *(data.fingerprint for data in others)}) == 5


def nan_at(i):
    x = X.copy()
    x[i:, 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X, Y[:5], {}, "same number of samples, got inputs 6, targets 5"),
        ({"a": X, "b": X[:2]}, Y, {}, r"inputs\['a'\] 6, inputs\['b'\] 2, targets 6"),
        (X[:0], Y[:0], {}, "there are no samples"),
        (np.float64(3), Y, {}, "inputs is a single number"),
        (nan_at(4), Y, {}, r"inputs: sample 4 holds NaN or an infinity \(2 such samples\)"),
        (np.where(nan_at(5) != 0, -np.inf, 0), Y, {}, "inputs: sample 5 holds NaN or an infinity; replace"),
        (X.astype(complex), Y, {}, "inputs must be numbers, got complex128"),
        (X.astype(object), Y, {}, "inputs must be numbers, got object"),
        (X.astype(str), Y, {}, "inputs must be numbers, got <U"),
        (X, np.eye(3)[Y], {}, r"one-hot: give y\.argmax\(1\)"),
        (X, torch.eye(3, dtype=torch.int64)[torch.from_numpy(Y)], {}, r"one-hot: give y\.argmax\(1\)"),
        (X, Y[:, None], {}, r"give y\[:, 0\]"),
        (X, np.zeros((6, 4)), {}, "one class number for each sample"),
        (X, Y.astype(float), {}, r"whole numbers \(integers\), got torch.float32: give y\.astype\(int\)"),
        (X, Y - 1, {}, r"sample 0 has the label -1, expected 0 to 1 \(2 such labels\)|expected 0 to 1"),
        (X, Y, {"classes": 2}, r"sample 2 has the label 2, expected 0 to 1 \(2 such labels\)"),
        (X, Y, {"classes": "abc"}, "classes is a list of names or their number, got 'abc'"),
        (X, Y, {"classes": ["a", "a", "b"]}, "different names"),
        (X, Y, {"names": ["a"]}, "6 samples, but 1 names"),
        (X, (Y, Y), {}, 'give targets="any"'),
    ],
)
def test_bad_input_is_refused_with_what_to_do(x, y, options, message):
    with pytest.raises(UsageError, match=message):
        Tensors(x, y, **options)
