"""Answers kept with the weights show a member that was built otherwise, and raise no false alarms."""

import pytest
import torch
from torch import nn

from concord.errors import CheckpointError
from concord.training.probe import ANSWER, ASKED, check, fault, probed, without


class Chosen(nn.Module):
    def __init__(self, *places):
        super().__init__()
        self.places, self.dense = list(places), nn.Linear(3, 5)
        nn.init.constant_(self.dense.bias, 0.1)
        nn.init.orthogonal_(self.dense.weight, generator=torch.Generator().manual_seed(0))

    def forward(self, x):
        return self.dense(x.flatten(1)[:, self.places])


class Changed(nn.Linear):
    def __init__(self, change):
        super().__init__(9, 5)
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x.flatten(1)))


def test_the_same_weights_behind_another_choice_answer_otherwise():
    saved = probed("a", Chosen(0, 1, 2), (3, 3))
    assert saved[ANSWER].shape == (4, 5)
    assert fault("a", Chosen(0, 1, 2), saved) is None
    with pytest.raises(CheckpointError, match=r"run/x: member 'a' answers otherwise.*weights are the same"):
        check("a", Chosen(0, 1, 3), saved, "run/x")
    assert fault("a", Chosen(0, 1, 3), without(saved)) is None


@pytest.mark.parametrize("noise", [1e-4, 1e-3])
def test_rounding_as_of_other_devices_is_no_alarm(noise):
    saved = probed("a", Chosen(0, 1, 2), (3, 3))
    apart = saved | {ANSWER: saved[ANSWER] * (1 + noise)}
    assert fault("a", Chosen(0, 1, 2), apart) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y * torch.rand_like(y),  # chance, of which no row comes twice
        lambda y: torch.sin(1e6 * y),  # rounding decides
        lambda y: y / 0,
        lambda y: y[:1],
        lambda y: (y, y),
    ],
)
def test_answers_that_do_not_repeat_are_not_kept(change):
    assert probed("a", Changed(change), (9,)) == {}


def test_a_row_that_does_not_repeat_leaves_the_others():
    member = Changed(lambda y: torch.where(torch.arange(4)[:, None] == 2, torch.nan, y))
    saved = probed("a", member, (9,))
    assert saved[ANSWER].isnan().all(1).tolist() == [False, False, True, False]
    assert fault("a", member, saved) is None


def test_asking_leaves_a_member_as_it_was():
    class Counting(Chosen):
        asked = 0

        def __init__(self):
            super().__init__(0, 1, 2)
            self.dice = torch.Generator().manual_seed(0)

        def forward(self, x):
            self.asked += 1
            torch.rand(1, generator=self.dice)
            return super().forward(x)

    member = Counting()
    fault("a", member, probed("a", member, (9,)))
    assert (member.asked, member.training) == (0, True)
    assert torch.equal(member.dice.get_state(), torch.Generator().manual_seed(0).get_state())


@pytest.mark.parametrize(
    "wrong",
    [{ASKED: torch.tensor([2**40])}, {ASKED: torch.tensor([-1])}, {ANSWER: torch.zeros(4)}],
)
def test_damaged_answers_are_a_checkpoint_error(wrong):
    saved = probed("a", Chosen(0, 1, 2), (3, 3)) | wrong
    with pytest.raises(CheckpointError, match="member 'a'"):
        fault("a", Chosen(0, 1, 2), saved)


def test_inputs_too_large_to_be_asked_are_not():
    assert probed("a", nn.Flatten(), (2**30,)) == {}
    assert probed("a", nn.Flatten(), None) == {}
