"""A batch in parts: less memory, the same update."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training_made import CLASSES, cohort, optimizer_for, own_batches, run, samples, shared_batches, state

from concord.consensus.costs import sce
from concord.consensus.edges import shape
from concord.consensus.objective import pairwise
from concord.errors import DivergedError, UsageError
from concord.runs import toml
from concord.training.batch import Batch
from concord.training.cohort import Adversarial


def plain_members(count):
    """Without batch normalisation, so that samples do not meet."""
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(
            nn.Sequential(nn.Flatten(), nn.Linear(16, 4 + seed), nn.ReLU(), nn.Linear(4 + seed, CLASSES))
        )
    return [one.double() for one in made]


def doubled(batches):
    return [b._replace(inputs=tuple(x.double() for x in b.inputs)) for b in batches]


@given(st.integers(2, 50), st.integers(3, 60))
def test_parts_are_the_batch_in_order_and_none_has_one_sample_or_too_many(count, most):
    x, y = torch.arange(float(count))[:, None], torch.arange(count)
    batch = Batch((x, (x + 1, x + 2)), (y,), aligned=False, unlabelled=x)
    parts = batch.parts(most)
    assert torch.equal(torch.cat([p.targets[0] for p in parts]), y)
    assert torch.equal(torch.cat([p.inputs[0] for p in parts]), x)
    assert torch.equal(torch.cat([p.inputs[1][1] for p in parts]), x + 2)
    sizes = [len(p.targets[0]) for p in parts]
    assert max(sizes) - min(sizes) <= 1
    assert 1 < min(sizes) <= max(sizes) <= most
    assert all(p.unlabelled is x and not p.aligned for p in parts)


@pytest.mark.parametrize("most", [3, 4, 5])
@pytest.mark.parametrize("batches", [shared_batches(3), own_batches(3, 2)], ids=["shared", "own"])
def test_a_batch_in_parts_gives_the_update_of_the_whole(batches, most):
    def craft(i, loss, x, index):
        return x + 0.1

    options = {
        "consensus": pairwise(sce),
        "edges": shape("all", 2),
        "weight": 0.5,
        "clip": 0.5,
        "adversarial": Adversarial(craft),
    }
    batches = [b._replace(unlabelled=samples(9)[0].double()) for b in doubled(batches)]
    ours, theirs = plain_members(2), plain_members(2)
    parts = run(ours, batches, optimizer_for(ours), most=most, **options)
    whole = run(theirs, batches, optimizer_for(theirs), **options)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(state(one), state(other), rtol=1e-9, atol=1e-12)
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close((one.losses, one.consensus), (other.losses, other.consensus))
        torch.testing.assert_close(one.outputs, other.outputs)


def test_no_pass_is_larger_than_asked_for():
    members, seen = cohort(2), []
    for one in members:
        one.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    run(members, shared_batches(1), most=4)
    assert seen == [3, 3, 3, 3]  # 6 samples in two parts, for two members


def test_every_part_has_dropout_of_its_own():
    class Kept(nn.Dropout):
        def forward(self, x):
            self.masks = [*getattr(self, "masks", []), super().forward(torch.ones_like(x)) > 0]
            return x * self.masks[-1]

    member = nn.Sequential(nn.Flatten(), kept := Kept(0.5), nn.Linear(16, CLASSES))
    run([member], shared_batches(1), most=3, seeds=[7], edges=shape("chain", 1))
    first, second = kept.masks
    assert not torch.equal(first, second)
    again = nn.Sequential(nn.Flatten(), kept := Kept(0.5), nn.Linear(16, CLASSES))
    run([again], shared_batches(1), most=3, seeds=[7], edges=shape("chain", 1))
    assert torch.equal(kept.masks[1], second)


def test_a_part_that_is_no_number_moves_no_weight():
    members = plain_members(2)
    before = [state(one) for one in members]
    (x,), (y,) = doubled(shared_batches(1))[0][:2]
    x[-1] = float("nan")
    with pytest.raises(DivergedError, match="update 0"):
        run(members, [Batch((x,), (y,))], most=3)
    assert all(
        torch.equal(state(one)[k], v)
        for one, old in zip(members, before, strict=True)
        for k, v in old.items()
    )


def test_in_turn_it_is_refused():
    tables = {
        "members": [{"name": "a", "network": "x"}],
        "train": {"micro_batch": 8, "update": "alternating"},
    }
    with pytest.raises(UsageError, match=r"train.micro_batch need the simultaneous update"):
        toml.parse(tables)
