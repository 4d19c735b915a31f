"""What a member is beyond its state dict: kept, put back, or said to be lost."""

import itertools
import json
import random
import threading
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from concord.errors import CheckpointError, UsageError
from concord.tasks.classify import Classify
from concord.training.beside import VALUES, Beside
from concord.training.plain_values import NotPlainError, packed, unpacked
from concord.training.put_beside import put
from concord.training.state import state_of, unpack_members
from concord.training.trial import try_training

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inside: (
        st.lists(inside)
        | st.tuples(inside, inside)
        | st.dictionaries(st.text() | st.integers(), inside)
        | st.frozensets(st.integers() | st.text())
    ),
)


class Restless(nn.Module):
    """Keeps all that a user may keep outside the state dict, and changes it with every training pass."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 3)
        self.register_buffer("shift", torch.zeros(3), persistent=False)
        self.dice = torch.Generator().manual_seed(1)
        self.numpy_dice, self.old_dice = np.random.default_rng(2), np.random.RandomState(3)
        self.python_dice = random.Random(4)
        self.passes, self.sizes, self.latest = 0, [], None
        self.table, self.last, self.window = {"largest": 0.0}, deque(maxlen=2), np.zeros(2)

    def get_extra_state(self):
        return {"passes": self.passes, "mean": self.shift * 2}

    def set_extra_state(self, state):
        self.told = state

    def forward(self, x):
        y = self.dense(x) + self.shift
        if self.training:
            self.shift += 0.1 * torch.rand(3, generator=self.dice)
            drawn = self.numpy_dice.random() + self.old_dice.rand() + self.python_dice.random()
            self.passes += 1
            self.sizes.append(len(x))
            self.last.append(drawn)
            self.window[0] += drawn
            self.table["largest"] = max(self.table["largest"], float(x.max()))
            self.latest = x.detach()
            y = y + drawn
        return y


def trained(member, passes=3):
    return [member(torch.full((2, 4), float(i))) for i in range(passes)]


def moved(member, name="a"):
    """A new member with all that this one is, by way of the tensors of a checkpoint."""
    other = Restless()
    saved = state_of(member) | Beside(name, member, built=False).tensors()
    unpack_members({name: other}, {name: saved})
    return other


def test_a_member_that_was_read_back_goes_on_as_the_one_that_was_saved():
    member = Restless()
    built = Beside("a", member)
    trained(member)
    other = Restless()
    unpack_members({"a": other}, {"a": state_of(member) | built.tensors()})
    assert (other.passes, other.sizes, other.table, other.last) == (
        3,
        [2, 2, 2],
        {"largest": 2.0},
        member.last,
    )
    assert other.told["passes"] == 3
    assert torch.equal(other.told["mean"], member.shift * 2)
    for one, two in zip(trained(member), trained(other), strict=True):
        assert torch.equal(one, two)


class Hiding(nn.Module):
    """A part that is not registered, a part that is frozen first, and one that stops to train."""

    def __init__(self):
        super().__init__()
        self.norm, self.dense = nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.dense.weight.requires_grad_(False)
        self.hidden = {"parts": [nn.BatchNorm1d(4), nn.Dropout(0.5)]}
        self.parts = self.hidden["parts"]

    def change(self):
        self.parts[0](torch.arange(8.0).view(2, 4))
        nn.init.constant_(self.parts[0].weight, 3)
        self.parts[1].p = 0.25
        self.dense.weight.requires_grad_(True)
        self.norm.eval()


def test_hidden_modules_what_learns_and_the_modes_of_parts_are_kept():
    member, other = Hiding(), Hiding()
    built = Beside("a", member)
    member.change()
    assert built.lost() == []
    unpack_members({"a": other}, {"a": state_of(member) | built.tensors()})
    assert torch.equal(other.parts[0].running_mean, 0.1 * torch.tensor([2.0, 3, 4, 5]))
    assert other.parts[0].weight.tolist() == [3, 3, 3, 3]
    assert (other.parts[1].p, other.dense.weight.requires_grad) == (0.25, True)
    assert (other.training, other.norm.training, other.dense.training) == (True, False, True)
    frozen = Hiding().requires_grad_(False)  # as one that was retired
    unpack_members({"a": frozen}, {"a": state_of(member) | built.tensors()})
    assert not any(p.requires_grad for p in frozen.parameters())


def test_modules_and_names_that_appear_in_a_training_are_said():
    member = Hiding()
    built = Beside("a", member)
    member.parts.append(nn.Linear(1, 1))
    member.register_buffer("late", torch.ones(1))
    one, other = built.lost()
    assert "hidden[parts][2] (Linear) is made while it is trained, and no checkpoint can hold it" in one
    assert "names in its state dict changed while it was trained (late)" in other
    assert built.lost() == []
    assert len(built.untold().lost()) == 2


def test_lists_that_contain_themselves_are_said_to_be_lost():
    member = nn.Linear(2, 2)
    member.ring = []
    member.ring.append(member.ring)
    built = Beside("a", member)
    assert built.tensors() == {}
    member.ring.append(1)
    assert built.tensors() == {}
    assert "ring (list) changes" in built.lost()[0]


def test_what_did_not_change_since_it_was_built_is_not_kept():
    plain = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.1))
    assert Beside("a", plain).tensors() == {}
    member = Restless()
    kept = json.loads(Beside("a", member).tensors()[VALUES].numpy().tobytes())
    assert (kept["attributes"], kept["buffers"], list(kept["extra"])) == ({}, {}, [""])


def test_a_change_that_cannot_be_kept_is_said_once():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.counter = Counter()

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.lock, self.hook, self.size = threading.Lock(), print, 3

    member = Counting()
    beside = Beside("a", member)
    assert beside.lost() == []
    member.counter.seen += 1
    (sentence,) = beside.lost()
    assert sentence.startswith("member 'a': counter (Counter) changes while it is trained")
    assert beside.lost() == []
    assert Beside("b", Plain()).lost() == []


class Counter:
    seen = 0


@pytest.mark.parametrize("state", [{"rows": itertools.count()}, object(), [lambda: 1]])
def test_extra_state_that_no_checkpoint_holds_is_refused(state):
    class Odd(nn.Linear):
        def get_extra_state(self):
            return state

    with pytest.raises(
        UsageError, match=r"member 'a': get_extra_state of 0 gives a .* no checkpoint can hold"
    ):
        Beside("a", nn.Sequential(Odd(2, 2))).tensors()


@given(PLAIN)
def test_plain_values_come_back_as_they_were(value):
    tensors = []
    text = json.dumps(packed(value, tensors), allow_nan=False)
    assert unpacked(json.loads(text), tensors) == value
    assert type(unpacked(json.loads(text), tensors)) is type(value)


def test_arrays_and_tensors_come_back_with_their_types():
    for value in (
        np.arange(6, dtype=np.uint16).reshape(2, 3),
        np.float64(0.1),
        torch.ones(2, dtype=torch.bfloat16),
    ):
        tensors = []
        found = unpacked(packed(value, tensors), tensors)
        assert (type(found), found.dtype, found.shape) == (type(value), value.dtype, value.shape)
        assert (found == value).all()
    assert np.isnan(unpacked(packed(float("nan"), []), []))
    for other in (object(), np.array([object()]), {1: print}, nn.Parameter(torch.ones(1))):
        with pytest.raises(NotPlainError):
            packed(other, [])


def test_documents_that_are_no_plain_values_are_refused():
    for document in (
        {"tensor": 3},
        {"array": ["<f4", [2], 0]},
        {"x": 1},
        {},
        {"array": ["O", [1], 0]},
        {"dict": 3},
    ):
        with pytest.raises(ValueError, match=r"."):
            unpacked(document, [])


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"forward": 1}, "not an attribute that a checkpoint may set"),
        ({"training": False}, "not an attribute that a checkpoint may set"),
        ({"passes": "many"}, "passes is a int here"),
        ({"gone.passes": 1}, "gone"),
    ],
)
def test_a_checkpoint_sets_only_attributes_of_the_kind_that_the_member_has(attributes, words):
    document = {"extra": {}, "buffers": {}, "attributes": attributes}
    saved = {VALUES: torch.frombuffer(bytearray(json.dumps(document).encode()), dtype=torch.uint8)}
    with pytest.raises(CheckpointError, match=words):
        put("a", Restless(), saved)


def test_a_trial_leaves_a_member_as_it_was_even_if_it_cannot_be_copied():
    member = Restless()
    member.lock = threading.Lock()
    twin = moved(member)
    try_training("a", member, torch.ones(2, 4), torch.tensor([0, 1]), Classify(3))
    assert (member.passes, member.sizes, member.training) == (0, [], True)
    assert all(p.grad is None for p in member.parameters())
    for one, two in zip(trained(member), trained(twin), strict=True):
        assert torch.equal(one, two)
