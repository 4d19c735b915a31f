"""Faults of other implementations that concord must not have: collaboration.md, section 3.2."""

import pytest
import run_made
import torch
from training_made import (
    CLASSES,
    cohort,
    optimizer_for,
    own_batches,
    run,
    same,
    samples,
    shared_batches,
    state,
    together,
)

import concord
from concord.consensus.costs import COSTS, kl, sce_tf1
from concord.consensus.edges import shape, table
from concord.consensus.objective import pairwise
from concord.tasks.classify import Classify
from concord.training.batch import Batch
from concord.training.loop import Rule, train


def watched(members):
    """A list that grows by (member, input, whether it was training) with every forward pass."""
    seen = []
    for i, one in enumerate(members):
        one.register_forward_hook(
            lambda module, args, output, i=i: seen.append((i, args[0], module.training))
        )
    return seen


# YingZhangDUT/Deep-Mutual-Learning (official)


def test_official_dml_all_members_see_one_batch_once_unless_asked_otherwise():
    members = cohort(3)
    seen = watched(members)
    batches = shared_batches(2)
    run(members, batches)
    expected = [(i, batch.inputs[0]) for batch in batches for i in range(3)]
    assert [i for i, _, _ in seen] == [i for i, _ in expected]
    assert all(torch.equal(x, wanted) for (_, x, _), (_, wanted) in zip(seen, expected, strict=True))


def test_official_dml_every_member_learns_from_its_own_batch_when_asked():
    members = cohort(2)
    seen = watched(members)
    (batch,) = own_batches(1, 2)
    (step,) = run(members, [batch], alternating=True, edges=shape("all", 2))
    first, second = batch.inputs
    asked = [(0, first), (1, first), (1, second), (0, second)]
    assert all(i == j and torch.equal(x, y) for (i, x, _), (j, y) in zip(seen, asked, strict=True))
    assert all(map(torch.equal, step.targets, batch.targets))


@pytest.mark.parametrize("count", [2, 4])
def test_official_dml_and_kd_lib_one_step_takes_one_forward_per_member(count):
    members = cohort(count)
    seen = watched(members)
    run(members, shared_batches(1), edges=shape("all", count))
    assert len(seen) == count  # not count^2 or 2 count^2


def test_in_turn_every_member_asks_each_other_once():
    members = cohort(4)
    seen = watched(members)
    run(members, shared_batches(1), edges=shape("all", 4), alternating=True)
    assert len(seen) == 4 + 4 * 3


# KD_Lib


@pytest.mark.parametrize("cost", [kl, sce_tf1])
def test_kd_lib_mutual_learning_compares_probabilities_not_logits(cost):
    a, b = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 1.0, 3.0]])
    torch.testing.assert_close(cost(a + 5, b), cost(a, b))


def test_kd_lib_a_members_term_leaves_no_gradient_in_its_peer():
    alone, beside = cohort(2), cohort(2)
    batches = shared_batches(1)
    run(alone, batches, weight=0.0)
    run(beside, batches, edges=table([[0, 1], [0, 0]]))
    assert all(
        torch.equal(p.grad, q.grad)
        for p, q in zip(alone[1].parameters(), beside[1].parameters(), strict=True)
    )
    assert not torch.equal(alone[0][0].weight.grad, beside[0][0].weight.grad)


def test_kd_lib_all_predictions_of_a_step_are_made_before_any_weight_moves():
    members = cohort(3)
    start = [state(one) for one in members]
    unmoved = []
    for one, old in zip(members, start, strict=True):
        one.register_forward_hook(
            lambda m, a, o, old=old: unmoved.append(torch.equal(m[0].weight, old["0.weight"]))
        )
    run(members, shared_batches(1), edges=shape("all", 3))
    assert unmoved == [True] * 3
    assert not any(
        torch.equal(one[0].weight, old["0.weight"]) for one, old in zip(members, start, strict=True)
    )


@pytest.mark.parametrize("alternating", [False, True])
def test_kd_lib_members_train_in_training_mode_even_after_an_evaluation_in_between(alternating):
    members = cohort(2, dropout=0.5)
    seen = watched(members)
    bound, rule = together(members, consensus=pairwise(kl)), Rule(alternating=alternating)
    updates = train(bound, shared_batches(3), optimizer_for(members), weight=1.0, rule=rule)
    for _ in updates:
        for one in members:
            one.eval()
    assert all(training for _, _, training in seen)
    assert [one[1].num_batches_tracked.item() for one in members] == [3, 3]


def test_kd_lib_the_training_error_is_that_of_each_member_not_of_the_best():
    right = torch.eye(CLASSES)[[0, 1, 2, 0]]
    labels = torch.tensor([0, 1, 2, 0])
    task = Classify(CLASSES)
    scores = task.scores(task.tally([right, right.flip(1)], [labels, labels]), ["st", "m"])
    assert [scores.members[name].error for name in ("st", "m")] == [0, 0.75]


def test_kd_lib_every_update_has_an_index_of_its_own():
    assert [step.index for step in run(cohort(2), shared_batches(4), start=10)] == [10, 11, 12, 13]


def test_kd_lib_every_member_is_trained_and_kept():
    members = cohort(3)
    run(members, shared_batches(2))
    assert not any(same(state(one), state(new)) for one, new in zip(members, cohort(3), strict=True))


def test_kd_lib_every_member_is_in_the_checkpoint(tmp_path):
    from concord.training import checkpoint

    run_made.train(tmp_path / "run", run_made.settings(members=3))
    kept = checkpoint.newest(tmp_path / "run" / "ckpt")[0].tensors
    assert kept.keys() == {"member-m0", "member-m1", "member-m2", "optimizer", "totals"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_kd_lib_members_are_moved_to_the_device_of_the_training(tmp_path):
    from concord.runs.loading import load_run

    tables = run_made.settings(train__device="cuda", data__limit=64, train__epochs=1)
    concord.train(tables, tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    assert {p.device.type for m in loaded.members.values() for p in m.parameters()} == {"cuda"}


# chxy95/Deep-Mutual-Learning, yukiharada1228/deep-mutual-learning


@pytest.mark.parametrize("name", COSTS)
def test_whether_a_peer_is_held_constant_is_said_by_the_edge_whatever_the_cost(name):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(4, 3, generator=generator).requires_grad_() for _ in range(2)]
    for detach in (True, False):
        edges = table([[0, 1], [0, 0]], detach)
        cost = pairwise(COSTS[name])(logits, None, edges).sum()
        own, peer = torch.autograd.grad(cost, logits, allow_unused=True, materialize_grads=True)
        assert own.abs().min() > 0
        assert (peer == 0).all() == detach


# torch.nn.KLDivLoss


def test_kl_div_loss_the_cost_is_a_mean_over_samples_not_over_classes_too():
    a, b = torch.tensor([[1.0, 2.0, 0.0]] * 2), torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 0.0]])
    (step,) = run(
        fixed(a, b), [Batch((samples(0, rows=2)[0],), (torch.tensor([0, 1]),))], consensus=pairwise(kl)
    )
    both = [(a, b), (b, a)]
    right = [torch.nn.KLDivLoss(reduction="batchmean")(p.log_softmax(1), q.softmax(1)) for p, q in both]
    torch.testing.assert_close(step.consensus, torch.stack(right).mean())


def fixed(*logits):
    """Members that always say the same."""

    class Fixed(torch.nn.Module):
        def __init__(self, said):
            super().__init__()
            self.said = torch.nn.Parameter(said.clone())

        def forward(self, x):
            return self.said

    return [Fixed(said) for said in logits]


# timm, torchdistill


@pytest.mark.parametrize("alternating", [False, True])
def test_timm_and_torchdistill_a_peer_is_in_training_mode_and_learns_too(alternating):
    members = cohort(2, dropout=0.5)
    seen = watched(members)
    run(members, shared_batches(1), alternating=alternating)
    assert {(i, training) for i, _, training in seen} == {(0, True), (1, True)}
    assert all(p.grad is not None for p in members[1].parameters())
