"""Ensembles in one network in training: a loss of each inner member, one prediction for all of them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_made import (
    CLASSES,
    assert_close,
    member,
    optimizer_for,
    run,
    same,
    samples,
    shared_batches,
    state,
    train_alone,
)

import concord
from concord.errors import UsageError
from concord.tasks.classify import Classify
from concord.training.cohort import Adversarial
from concord.training.optim import groups_of
from concord.training.trial import try_training
from concord.zoo.ensembles.batch import batch_ensemble
from concord.zoo.ensembles.packed import side_by_side

STEPS = 4


def in_one(count=2):
    """Networks, and one network that holds a copy of each."""
    apart = [member(seed) for seed in range(count)]
    return side_by_side(apart), apart


@pytest.mark.parametrize("alternating", [False, True])
def test_each_inner_member_learns_from_its_own_loss_as_it_would_alone(alternating):
    one, apart = in_one()
    batches = shared_batches(STEPS)
    # the loss is the mean of two, so the rate that each inner member meets is half of it
    steps = run([one], batches, optimizer_for([one], lr=0.1), weight=0.0, alternating=alternating)
    losses = []
    for alone in apart:
        first = batches[0].of(0)
        losses.append(F.cross_entropy(copy.deepcopy(alone)(first[0]), first[1]).item())
        train_alone(alone, [batch.of(0) for batch in batches], optimizer_for([alone], lr=0.05))
    assert_close([one], [side_by_side(apart)])
    assert steps[0].losses.tolist() == pytest.approx([sum(losses) / 2])


def test_adversarial_inputs_are_learned_from_by_each_inner_member():
    one, apart = in_one()
    (batch,) = shared_batches(1)
    x, y = batch.of(0)
    run(
        [one], [batch], weight=0.0, adversarial=Adversarial(lambda i, loss, x, index: x + loss(x).mean(), 0.0)
    )
    # share 0: learned from x' alone, after a pass over x that moved the statistics
    losses = [F.cross_entropy(copy.deepcopy(alone)(x), y).item() for alone in apart]
    optimizer = optimizer_for(apart, lr=0.025)
    for alone in apart:
        alone(x)
        F.cross_entropy(alone(x + sum(losses) / 2), y).backward()
    optimizer.step()
    assert_close([one], [side_by_side(apart)])


@pytest.mark.parametrize("alternating", [False, True])
def test_others_meet_what_inner_members_predict_together(alternating):
    (batch,) = shared_batches(1)
    x, _ = batch.of(0)
    one, apart = in_one()
    partner = member(7)
    alone = copy.deepcopy(partner)(x)
    told = torch.stack([copy.deepcopy(each)(x) for each in apart]).mean(0)
    (step,) = run([partner, one], [batch], alternating=alternating, weight=0.5)
    torch.testing.assert_close(step.outputs[1], told.detach())
    if not alternating:
        assert step.consensus.item() == pytest.approx((alone - told).square().sum(1).mean().item(), rel=1e-4)


def test_parts_of_a_batch_and_stacked_members_change_nothing_but_rounding():
    (batch,) = shared_batches(1)

    def made(seed):
        return side_by_side([nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)) for _ in range(2)])

    torch.manual_seed(0)
    whole = [made(0), made(1)]
    parts, stacks = copy.deepcopy(whole), copy.deepcopy(whole)
    run(whole, [batch])
    run(parts, [batch], most=2)
    run(stacks, [batch], stacks=[(0, 1)])
    assert_close(parts, whole)
    assert_close(stacks, whole)


def test_a_batch_ensemble_is_trained_saved_and_read_by_its_names(tmp_path):
    x, y = samples(0, rows=40)
    torch.manual_seed(0)

    def members():
        return {"one": batch_ensemble(member(0), members=3), "alone": member(1)}

    ensemble = concord.Ensemble(members(), consensus="l2", weight=0.1)
    before = state(ensemble["one"])
    ensemble.fit((x, y), valid=None, epochs=2, batch_size=8)
    changed = {key for key, value in state(ensemble["one"]).items() if not torch.equal(value, before[key])}
    assert {key for key, _ in ensemble["one"].named_parameters()} <= changed
    ensemble.save(tmp_path / "saved")
    again = concord.load(tmp_path / "saved", members=members())
    assert same(state(again["one"]), state(ensemble["one"]))
    assert torch.equal(again.member("one").predict_proba(x), ensemble.member("one").predict_proba(x))


def test_weight_decay_reaches_kernels_alone():
    kinds = {
        "packed": (side_by_side([member(0), member(1)]), {"0.layer.weight", "5.weight"}),
        "batch": (batch_ensemble(member(0), members=2), {"0.shared.weight", "5.shared.weight"}),
    }
    for one, kernels in kinds.values():
        names = {id(p): name for name, p in one.network.named_parameters()}
        decayed = [
            p
            for group in groups_of({"one": one}, 0.1, "kernels")
            if group["weight_decay"]
            for p in group["params"]
        ]
        assert {names[id(p)] for p in decayed} == kernels


class Unequal(nn.Linear):
    """Says that it is an ensemble, and gives outputs of no use."""

    def inner_outputs(self, output):
        return [output, output[:, :1]]


def test_inner_outputs_that_do_not_fit_the_task_are_refused_before_the_training():
    x, y = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    with pytest.raises(UsageError, match=r"\(B, 3\) logits, got \(4, 1\)"):
        try_training("u", Unequal(5, CLASSES), x, y, Classify(CLASSES))
