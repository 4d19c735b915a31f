"""The training loop beside loops written out in plain torch."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_made import (
    KINDS,
    asked,
    assert_close,
    cohort,
    member,
    optimizer_for,
    own_batches,
    run,
    same,
    samples,
    shared_batches,
    state,
    statistics,
    together,
    train_alone,
)

from concord.consensus.costs import kl, l2, sce, sce_tf1
from concord.consensus.edges import shape, table
from concord.consensus.kdcl import min_logit, naive, towards
from concord.consensus.objective import pairwise
from concord.errors import DivergedError
from concord.training.batch import Batch
from concord.training.cohort import Adversarial
from concord.training.loop import train
from concord.training.seeding import mix

STEPS = 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("alternating", [False, True])
def test_weight_zero_gives_every_member_the_weights_it_gets_alone(kind, clip, alternating):
    together, apart = cohort(3, dropout=0.3), cohort(3, dropout=0.3)
    batches, seeds = shared_batches(STEPS), [5, 6, 7]
    optimizer = optimizer_for(together, kind)
    run(together, batches, optimizer, weight=0.0, seeds=seeds, clip=clip, alternating=alternating)
    for one, alone, seed in zip(together, apart, seeds, strict=True):
        pairs = [batch.of(0) for batch in batches]
        train_alone(alone, pairs, optimizer_for([alone], kind), seed=seed, clip=clip)
        assert same(state(one), state(alone))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_member_that_changes_its_input_in_place_changes_it_for_nobody_else(weight, alternating, place):
    """Beside it the others get the weights that they get beside the same network without that habit."""

    def members(inplace):
        three = cohort(3)
        three[place].insert(0, nn.Threshold(0.0, 0.5, inplace=inplace))
        return three

    habit, without, batches = members(True), members(False), shared_batches(STEPS)
    kept = [batch.of(0)[0].clone() for batch in batches]
    adversary = Adversarial(lambda i, loss, x, index: x + 0.1)
    for each in (habit, without):
        run(each, batches, weight=weight, alternating=alternating, adversarial=adversary)
    for one, other in zip(habit, without, strict=True):
        assert same(state(one), state(other))
    assert all(torch.equal(batch.of(0)[0], x) for batch, x in zip(batches, kept, strict=True))


def test_weight_zero_gives_the_same_with_samples_of_its_own_and_unlabelled_images():
    together, apart = cohort(2), cohort(2)
    batches = [batch._replace(unlabelled=samples(99)[0]) for batch in own_batches(STEPS, 2)]
    run(together, batches, weight=0.0)
    for i, alone in enumerate(apart):
        train_alone(alone, [batch.of(i) for batch in batches], optimizer_for([alone]))
        assert same(state(together[i]), state(alone))


@pytest.mark.parametrize("alternating", [False, True])
def test_weight_zero_never_asks_what_members_say_of_each_other(alternating):
    def unwanted(logits, labels, edges):
        raise AssertionError("the consensus was computed")

    steps = run(cohort(2), shared_batches(2), consensus=unwanted, weight=0.0, alternating=alternating)
    assert [step.consensus.item() for step in steps] == [0, 0]


def test_who_learns_from_nobody_trains_as_if_alone_beside_learners():
    together, alone = cohort(2), cohort(2)[1]
    batches = shared_batches(STEPS)
    run(together, batches, edges=shape("one_way", 2))
    train_alone(alone, [batch.of(0) for batch in batches], optimizer_for([alone]))
    assert same(state(together[1]), state(alone))


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("blend", [False, True])
def test_permuting_members_permutes_results_bit_for_bit(detach, order, blend):
    weights = [[0.0, 1.0, 0.3], [0.7, 0.0, 0.2], [0.5, 0.9, 0.0]]
    names, seeds = ["st", "m", "deep"], [5, 6, 7]

    def trained(at):
        members = [cohort(3, dropout=0.3)[i] for i in at]
        edges = replace(table([[weights[i][j] for j in at] for i in at], detach), blend=blend)
        parts = {"names": [names[i] for i in at], "seeds": [seeds[i] for i in at]}
        steps = run(
            members,
            [batch._replace(unlabelled=samples(99)[0]) for batch in shared_batches(STEPS)],
            optimizer_for(members, "adam"),
            consensus=pairwise(sce),
            edges=edges,
            clip=0.5,
            **parts,
        )
        return [state(one) for one in members], [step.losses for step in steps]

    straight, losses = trained(range(3))
    permuted, permuted_losses = trained(order)
    assert all(same(permuted[n], straight[i]) for n, i in enumerate(order))
    assert all(torch.equal(b, a[list(order)]) for a, b in zip(losses, permuted_losses, strict=True))


@pytest.mark.parametrize("edges", [shape("chain", 2), table([[0, 1], [0, 0]], detach=False)])
def test_l2_is_the_joint_step_on_one_undirected_term(edges):
    ours, theirs = cohort(2), cohort(2)
    batches = shared_batches(STEPS)
    run(ours, batches, edges=edges, weight=0.3)
    optimizer = optimizer_for(theirs)
    for (x,), (y,), *_ in batches:
        a, b = theirs[0](x), theirs[1](x)
        joint = F.cross_entropy(a, y) + F.cross_entropy(b, y) + 0.3 * ((a - b) ** 2).sum(1).mean()
        optimizer.zero_grad()
        joint.backward()
        optimizer.step()
    assert_close(ours, theirs)


@pytest.mark.parametrize("cost", [sce_tf1, kl])
def test_the_form_of_source_004_is_mutual_learning_with_weight_one(cost):
    ours, theirs = cohort(3), cohort(3)
    batches = shared_batches(STEPS)
    run(ours, batches, optimizer_for(ours, "adam"), consensus=pairwise(cost), edges=shape("all", 3))
    optimizers = [optimizer_for([one], "adam") for one in theirs]
    for (x,), (y,), *_ in batches:
        said = [one(x) for one in theirs]
        for i, optimizer in enumerate(optimizers):
            loss = F.cross_entropy(said[i], y)
            for j in {0, 1, 2} - {i}:
                target = said[j].detach().softmax(1)
                loss = loss + F.kl_div(said[i].log_softmax(1), target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    assert_close(ours, theirs)


@pytest.mark.parametrize("batches", [shared_batches(STEPS), own_batches(STEPS, 3)], ids=["shared", "own"])
@pytest.mark.parametrize("alternating", [True, False])
def test_members_with_fresh_predictions_of_their_peers_follow_the_algorithm(batches, alternating):
    # alternating: algorithm 1 of Zhang et al.; otherwise all predictions come from before the step
    ours, theirs = cohort(3), cohort(3)
    run(ours, batches, consensus=pairwise(kl), edges=shape("all", 3), alternating=alternating)
    optimizers = [optimizer_for([one]) for one in theirs]
    for batch in batches:
        before = copy.deepcopy(theirs)
        for i, optimizer in enumerate(optimizers):
            x, y = batch.of(i)
            peers = [asked(one, x) for one in (theirs if alternating else before)]
            said = theirs[i](x)
            loss = F.cross_entropy(said, y)
            for j in {0, 1, 2} - {i}:
                loss = loss + F.kl_div(said.log_softmax(1), peers[j].softmax(1), reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert_close(ours, theirs)
    assert [one[1].num_batches_tracked.item() for one in ours] == [STEPS] * 3


def test_members_compare_views_of_the_same_images_row_by_row():
    ours, theirs = cohort(2), cohort(2)
    (one, y), (other, _) = samples(0), samples(1)
    run(ours, [Batch((one, other), (y, y))], weight=0.5)
    a, b = theirs[0](one), theirs[1](other)
    joint = F.cross_entropy(a, y) + F.cross_entropy(b, y) + 0.5 * ((a - b) ** 2).sum(1).mean()
    optimizer = optimizer_for(theirs)
    joint.backward()
    optimizer.step()
    assert_close(ours, theirs)


def test_unlabelled_images_add_a_second_term_of_the_same_kind():
    ours, theirs = cohort(2), cohort(2)
    (x, y), (extra, _) = samples(0), samples(1, rows=4)
    run(ours, [Batch((x,), (y,), unlabelled=extra)], weight=0.5)
    a, b = theirs[0](x), theirs[1](x)
    before = [statistics(one) for one in theirs]
    c, d = theirs[0](extra), theirs[1](extra)
    agree = ((a - b) ** 2).sum(1).mean() + ((c - d) ** 2).sum(1).mean()
    (F.cross_entropy(a, y) + F.cross_entropy(b, y) + 0.5 * agree).backward()
    optimizer_for(theirs).step()
    for one, other, moved in zip(ours, theirs, before, strict=True):
        torch.testing.assert_close(dict(one.named_parameters()), dict(other.named_parameters()))
        assert same(statistics(one), moved)


@pytest.mark.parametrize("alternating", [False, True])
def test_unlabelled_images_alone_give_gradient_to_every_member(alternating):
    def only_unlabelled(logits, labels, edges):
        return pairwise(l2)(logits, labels, edges) if labels is None else logits[0].new_zeros(1)

    (x, y), (extra, _) = samples(0), samples(1)
    with_extra, without = cohort(3), cohort(3)
    batch = Batch((x,), (y,))
    run(with_extra, [batch._replace(unlabelled=extra)], consensus=only_unlabelled, alternating=alternating)
    run(without, [batch], consensus=only_unlabelled, alternating=alternating)
    for one, other, start in zip(with_extra, without, cohort(3), strict=True):
        assert not torch.equal(one[0].weight, other[0].weight)
        assert same(statistics(one), statistics(other))
        assert not same(statistics(one), statistics(start))


@pytest.mark.parametrize("made", [shared_batches(2), own_batches(2, 3)], ids=["shared", "own"])
@pytest.mark.parametrize("consensus", [pairwise(sce), towards(naive), towards(min_logit)])
def test_the_reported_cost_is_the_same_in_turn_and_at_once_while_nothing_is_learned(made, consensus):
    extra = None if consensus.__qualname__.startswith("towards") else samples(9)[0]
    batches = [batch._replace(unlabelled=extra) for batch in made]

    def costs(alternating):
        members = cohort(3)
        still = optimizer_for(members, lr=0.0)
        steps = run(members, batches, still, consensus=consensus, alternating=alternating)
        return torch.stack([step.consensus for step in steps])

    torch.testing.assert_close(costs(True), costs(False))


def test_a_step_tells_true_means_and_the_cost_of_one_edge():
    members, twins = cohort(2), cohort(2)
    (x, y) = samples(0)
    (step,) = run(members, [Batch((x,), (y,))], weight=0.25, start=7)
    a, b = (twin(x).detach() for twin in twins)
    torch.testing.assert_close(step.losses, torch.stack([F.cross_entropy(a, y), F.cross_entropy(b, y)]))
    torch.testing.assert_close(step.consensus, ((a - b) ** 2).sum(1).mean())
    assert torch.equal(step.outputs[0], a)
    assert torch.equal(step.outputs[1], b)
    assert (step.index, step.weight) == (7, 0.25)
    assert all(z.grad_fn is None for z in (*step.outputs, step.losses, step.consensus))
    assert all(torch.equal(target, y) for target in step.targets)


@pytest.mark.parametrize("alternating", [False, True])
def test_labels_that_all_members_share_are_one_tensor_after_a_copy_too(alternating, monkeypatch):
    # what counts agreement knows by it that members were asked about the same samples
    monkeypatch.setattr(torch.Tensor, "cpu", torch.Tensor.clone)
    (step,) = run(cohort(2), shared_batches(1), alternating=alternating)
    assert step.targets[0] is step.targets[1]
    own = own_batches(1, 2)
    (step,) = run(cohort(2), own, alternating=alternating)
    assert all(torch.equal(told, given) for told, given in zip(step.targets, own[0].targets, strict=True))


def test_the_weight_may_depend_on_the_update():
    steps = run(cohort(2), shared_batches(3), weight=lambda index: index / 10, start=4)
    assert [step.weight for step in steps] == [0.4, 0.5, 0.6]


def test_one_update_is_made_for_each_step_asked_for():
    members = cohort(2)
    start = [state(one) for one in members]
    updates = train(together(members), iter(shared_batches(2)), optimizer_for(members), weight=1.0)
    assert same(state(members[0]), start[0])
    next(updates)
    after = state(members[0])
    assert not same(after, start[0])
    next(updates)
    assert not same(state(members[0]), after)
    assert next(updates, None) is None


def test_dropout_is_a_function_of_seed_and_update_alone():
    def trained(noise, seeds, batches, start=0):
        torch.manual_seed(noise)
        members = cohort(2, dropout=0.5)
        run(members, batches, seeds=seeds, start=start)
        return state(members[0])

    batches = shared_batches(2)
    first = trained(1, [3, 4], batches)
    assert same(first, trained(2, [3, 4], batches))
    assert not same(first, trained(1, [5, 4], batches))
    assert not same(first, trained(1, [3, 4], batches, start=1))


@pytest.mark.parametrize("alternating", [False, True])
def test_dropout_with_seeds_leaves_the_callers_generator_alone(alternating):
    batches = [batch._replace(unlabelled=samples(9)[0]) for batch in own_batches(2, 2)]
    members = cohort(2, dropout=0.5)
    before = torch.get_rng_state()
    run(members, batches, seeds=[1, 2], alternating=alternating)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_seeds_dropout_draws_from_the_callers_generator():
    before = torch.get_rng_state()
    run(cohort(2, dropout=0.5), shared_batches(1))
    assert not torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_no_number_names_the_member_and_learns_nothing():
    members = cohort(3)
    optimizer = optimizer_for(members, "adam")
    run(members, shared_batches(2), optimizer)
    with torch.no_grad():
        members[1][5].bias[0] = float("nan")
    weights = [{k: v.clone() for k, v in one.named_parameters()} for one in members]
    moments = copy.deepcopy(optimizer.state_dict()["state"])
    tracked = [one[1].num_batches_tracked.item() for one in members]
    with pytest.raises(
        DivergedError, match=r"update 2: the loss of m is not a finite number\. Nothing was"
    ) as e:
        run(members, shared_batches(1), optimizer, names=["st", "m", "deep"], start=2)
    assert e.value.exit_status == 5
    for one, old in zip(members, weights, strict=True):
        torch.testing.assert_close(dict(one.named_parameters()), old, rtol=0, atol=0, equal_nan=True)
    for key, old in moments.items():
        assert same(optimizer.state_dict()["state"][key], old)
    assert [one[1].num_batches_tracked.item() for one in members] == [n + 1 for n in tracked]


def test_an_input_that_is_no_number_is_learned_from_by_nobody():
    members = cohort(2)
    before = [dict(state(one)) for one in members]
    (x,), (y,) = shared_batches(1)[0][:2]
    x = x.clone()
    x[0, 0, 1, 1] = float("nan")
    with pytest.raises(DivergedError, match=r"update 0: the loss of member 0, member 1 is not"):
        run(members, [Batch((x,), (y,))])
    for one, old in zip(members, before, strict=True):
        assert all(torch.equal(p, old[name]) for name, p in one.named_parameters())


class Draws(nn.Module):
    """Draws noise from every generator that code may use."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        noise = random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002
        return self.head(x.flatten(1) * noise)


def test_a_member_may_draw_from_any_generator_and_goes_on_bit_for_bit():
    def trained(start, members):
        batches = shared_batches(STEPS)[start:]
        return run(members, batches, optimizer_for(members), seeds=[3], start=start, edges=shape("chain", 1))

    torch.manual_seed(0)
    straight = [Draws()]
    cut = copy.deepcopy(straight)
    whole = trained(0, straight)
    run(cut, shared_batches(2), optimizer_for(cut), seeds=[3], edges=shape("chain", 1))
    random.seed(99)  # a new process has other states
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    rest = trained(2, cut)
    assert torch.equal(rest[0].losses, whole[2].losses)
    after = random.getstate(), np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0]
    assert (before[1] == after[1]).all()
    assert torch.equal(before[2], after[2])


def test_in_turn_only_those_before_the_member_that_diverges_have_learned():
    members = cohort(3)
    with torch.no_grad():
        members[1][5].bias[0] = float("inf")
    start = [state(one) for one in members]
    with pytest.raises(DivergedError, match=r"the loss of member 1 is"):
        run(members, shared_batches(1), edges=shape("one_way", 3).into([2]), alternating=True)
    weights = [torch.equal(one[0].weight, old["0.weight"]) for one, old in zip(members, start, strict=True)]
    assert weights == [False, True, True]


@pytest.mark.parametrize(("alternating", "who"), [(False, "member 0, member 1"), (True, "member 0")])
def test_a_consensus_cost_that_is_no_number_is_told_from_a_loss(alternating, who):
    members = cohort(2)
    with torch.no_grad():
        members[0][5].bias.fill_(1e25)  # its softmax is finite, its squared distance overflows
    start = [one[0].weight.clone() for one in members]
    with pytest.raises(DivergedError, match=rf"update 0: the consensus cost of {who} is not a finite number"):
        run(members, shared_batches(1), alternating=alternating)
    assert all(torch.equal(one[0].weight, old) for one, old in zip(members, start, strict=True))


@pytest.mark.parametrize("alternating", [False, True])
def test_bfloat16_computes_outputs_low_and_keeps_weights_and_costs_in_float32(alternating):
    members, exact = cohort(2), cohort(2)
    batches = shared_batches(2)
    steps = run(members, batches, precision=[torch.bfloat16] * len(members), alternating=alternating)
    reference = run(exact, batches, alternating=alternating)
    assert all(torch.equal(z, z.bfloat16().float()) for step in steps for z in step.outputs)
    assert not all(torch.equal(z, z.bfloat16().float()) for step in reference for z in step.outputs)
    torch.testing.assert_close(steps[0].losses, reference[0].losses, rtol=0.05, atol=0.05)
    for one, other in zip(members, exact, strict=True):
        assert all(p.dtype == torch.float32 for p in one.parameters())
        torch.testing.assert_close(one[0].weight, other[0].weight, rtol=0.1, atol=0.02)


def test_a_gradient_is_clipped_by_the_norm_of_its_own_member():
    members, reference = cohort(2), cohort(2)
    (x, y) = samples(0)
    with torch.no_grad():
        for pair in (members, reference):
            pair[1][5].weight.mul_(100)  # a loss and gradient far above those of the first
    run(members, [Batch((x,), (y,))], torch.optim.SGD([p for m in members for p in m.parameters()], lr=1.0),
        weight=0.0, clip=0.01)  # fmt: skip
    for one, start in zip(members, reference, strict=True):
        moved = torch.cat(
            [(p - q).flatten() for p, q in zip(one.parameters(), start.parameters(), strict=True)]
        )
        assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_member_needs_no_more_than_a_forward_pass():
    members = [nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), member(0)]
    first, *_, last = run(members, shared_batches(1) * 30, weight=0.01)
    assert (last.losses < first.losses).all()


# Training on attacked inputs


def shaken(i, loss, x, index):
    """An adversary of the simplest kind, with noise that is a function of the member and the update."""
    noise = samples(1000 + 10 * index + i, rows=len(x))[0]
    start = (x + 0.01 * noise).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(loss(start).sum(), start)
    return x + 0.1 * slope.sign()


def attacked_by_hand(one, i, x, y, index, seed):
    """The crafted inputs, made with a copy so that nothing of the member moves."""
    twin = copy.deepcopy(one)

    def loss(inputs):
        torch.manual_seed(mix(seed, index))
        return F.cross_entropy(twin(inputs), y, reduction="none")

    return shaken(i, loss, x, index)


@pytest.mark.parametrize("made", [shared_batches(STEPS), own_batches(STEPS, 2)], ids=["shared", "own"])
@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_an_adversary_adds_the_loss_on_what_it_makes_of_the_inputs(made, alternating, share):
    ours, theirs, seeds = cohort(2, dropout=0.3), cohort(2, dropout=0.3), [5, 6]
    adversarial = Adversarial(shaken, share)
    steps = run(
        ours, made, weight=0.0, seeds=seeds, alternating=alternating, adversarial=adversarial, clip=0.5
    )
    for i, (one, seed) in enumerate(zip(theirs, seeds, strict=True)):
        optimizer = optimizer_for([one])
        for index, batch in enumerate(made):
            x, y = batch.of(i)
            one.train()
            torch.manual_seed(mix(seed, index))
            clean = F.cross_entropy(one(x), y)
            changed = attacked_by_hand(one, i, x, y, index, seed)
            torch.manual_seed(mix(seed, index))
            loss = share * clean + (1 - share) * F.cross_entropy(one(changed), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(one.parameters(), 0.5)
            optimizer.step()
            torch.testing.assert_close(steps[index].losses[i], loss.detach())
    assert_close(ours, theirs)
    assert [one[1].num_batches_tracked.item() for one in ours] == [2 * STEPS] * 2


@pytest.mark.parametrize("alternating", [False, True])
def test_members_agree_on_the_inputs_as_they_came(alternating):
    ours, theirs = cohort(2), cohort(2)
    (x, y) = samples(0)
    parts = {"alternating": alternating, "weight": 0.5}
    (step,) = run(ours, [Batch((x,), (y,))], adversarial=Adversarial(shaken), **parts)
    (plain,) = run(theirs, [Batch((x,), (y,))], **parts)
    assert torch.equal(step.outputs[0], plain.outputs[0])
    if not alternating:  # in turn, the second meets a first that has learned something else
        assert torch.equal(step.consensus, plain.consensus)
    assert not same(state(ours[0]), state(theirs[0]))


def test_an_adversary_with_a_share_of_nothing_changes_no_weight():
    ours, theirs = cohort(2), cohort(2)
    run(ours, shared_batches(1), adversarial=Adversarial(shaken, 1.0))
    run(theirs, shared_batches(1))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(dict(one.named_parameters()), dict(other.named_parameters()))


@pytest.mark.parametrize("alternating", [False, True])
def test_a_teacher_is_not_attacked_and_stays_as_it_is(alternating):
    members = cohort(2)
    members[1].requires_grad_(False)
    start, asked_for = state(members[1]), []

    def noted(i, loss, x, index):
        asked_for.append(i)
        return shaken(i, loss, x, index)

    run(members, shared_batches(2), optimizer_for(members[:1]), alternating=alternating,
        adversarial=Adversarial(noted))  # fmt: skip
    assert asked_for == [0, 0]
    assert same(state(members[1]), start)


@pytest.mark.parametrize("alternating", [False, True])
def test_making_attacked_inputs_moves_no_statistics_and_learning_from_them_does(alternating):
    def seen(i, loss, x, index):
        before = statistics(members[i])
        for _ in range(3):
            loss(x)
        assert not same(statistics(members[i]), before)  # copies, which are thrown away
        return x

    members, twins = cohort(2), cohort(2)
    (x, y) = samples(0)
    run(members, [Batch((x,), (y,))], adversarial=Adversarial(seen), alternating=alternating)
    for one, twin in zip(members, twins, strict=True):
        twin.train()(x), twin(x)
        assert same(statistics(one), statistics(twin))


def test_an_attacked_loss_that_is_no_number_is_told_like_any_other():
    def broken(i, loss, x, index):
        return x * (float("nan") if i else 1.0)

    members = cohort(2)
    start = [one[0].weight.clone() for one in members]
    with pytest.raises(DivergedError, match=r"update 0: the loss of member 1 is not a finite number"):
        run(members, shared_batches(1), adversarial=Adversarial(broken))
    assert all(torch.equal(one[0].weight, old) for one, old in zip(members, start, strict=True))


class Two(nn.Module):
    """A member that takes two inputs; it says of them what ``inner`` says of their sum."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, a, b):
        return self.inner(a + b)


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("made", [shared_batches(STEPS), own_batches(STEPS, 2)], ids=["shared", "own"])
def test_members_with_several_inputs_train_like_members_with_one(made, alternating):
    def in_two(x):
        return 2 * x, -x  # exact: their sum is x bit for bit

    single = [batch._replace(unlabelled=samples(99)[0]) for batch in made]
    double = [
        batch._replace(inputs=tuple(map(in_two, batch.inputs)), unlabelled=in_two(batch.unlabelled))
        for batch in single
    ]
    plain, wrapped = cohort(2, dropout=0.3), [Two(one) for one in cohort(2, dropout=0.3)]
    parts = {"seeds": [3, 4], "alternating": alternating}
    expected = run(plain, single, **parts)
    steps = run(wrapped, double, **parts)
    assert all(same(state(two.inner), state(one)) for two, one in zip(wrapped, plain, strict=True))
    for step, other in zip(steps, expected, strict=True):
        assert torch.equal(step.losses, other.losses)
        assert torch.equal(step.consensus, other.consensus)
