"""Settings of the recipe in runs whose members collaborate: each does what it says there too."""

import copy
from math import cos, pi

import pytest
import torch
from run_made import make_job, member, outcome, settings, train, train_in_parts
from safetensors.torch import load_file

import concord
from concord.training import checkpoint
from concord.training.fit import fit
from concord.training.loop import Step

UPDATES = 18  # three epochs of six
NESTEROV = {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}


def job_of(path, **changes):
    """A job of two members without dropout, and copies of both as they start."""
    made = {f"m{i}": member(i, dropout=0.0) for i in range(2)}
    job = make_job(path, settings(**changes), members=made)
    return job, [copy.deepcopy(one).train() for one in made.values()]


# SGD with Nesterov's momentum, label smoothing, cosine with warm-up: against a loop by hand


def smoothed(logits, y, smoothing):
    """(1 - s) CE(y) + s times the mean over classes."""
    logs = logits.log_softmax(-1)
    own = -logs[torch.arange(len(y)), y]
    return ((1 - smoothing) * own - smoothing * logs.mean(-1)).mean()


def by_hand(members, feed, *, smoothing, rate, nesterov):
    """The loop of a pair with l2 of weight 0.1, from the formulas."""
    speeds = [[torch.zeros_like(p) for p in one.parameters()] for one in members]
    batches = (batch for epoch in range(3) for batch in feed.train(epoch, 0))
    for index, batch in enumerate(batches):
        x, y = batch.of(0)
        z = [one(x) for one in members]
        apart = [(z[i] - z[1 - i].detach()).square().sum(-1).mean() for i in range(2)]
        total = sum(smoothed(one, y, smoothing) for one in z) + 0.1 * sum(apart)
        gradients = torch.autograd.grad(total, [p for one in members for p in one.parameters()])
        left = iter(gradients)
        with torch.no_grad():
            for one, of_one in zip(members, speeds, strict=True):
                for p, v in zip(one.parameters(), of_one, strict=True):
                    g = next(left) + (0.01 * p if p.ndim >= 2 else 0)
                    v.mul_(0.9).add_(g)
                    p -= rate(index) * (g + 0.9 * v if nesterov else v)


def warm_cosine(index):
    return 0.05 * min(1, (index + 1) / (0.3 * UPDATES)) * (1 + cos(pi * index / UPDATES)) / 2


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_pair_ends_with_the_weights_of_a_loop_by_hand(tmp_path, nesterov, smoothing):
    job, theirs = job_of(
        tmp_path / "run",
        train__optimizer=NESTEROV | {"nesterov": nesterov},
        train__schedule="cosine",
        train__warmup=0.3,
        train__label_smoothing=smoothing,
    )
    list(fit(job))
    by_hand(theirs, job.feed, smoothing=smoothing, rate=warm_cosine, nesterov=nesterov)
    for mine, other in zip(job.members.values(), theirs, strict=True):
        for name, value in other.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-3, atol=1e-4)


# Mixed batches


def first_step(job):
    return next(event for event in fit(job) if isinstance(event, Step))


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_both_members_see_the_same_mixed_batch_and_agree_on_it(tmp_path, way):
    job, theirs = job_of(tmp_path / "run", **{f"augment__{way}": 1.0})
    plain, _ = job_of(tmp_path / "plain")
    batch, before = next(job.feed.train(0, 0)), next(plain.feed.train(0, 0))
    (x,), (y,) = batch.inputs, batch.targets
    (pixels,), (labels,) = before.inputs, before.targets
    rows = torch.arange(len(labels))
    other = labels.roll(1)
    alike = labels == other
    assert not alike.all()
    shares = y[rows, labels][~alike]
    assert (shares == shares[0]).all()  # one share for a batch
    assert (y[rows, other][~alike] - (1 - shares)).abs().max() < 1e-6
    if way == "mixup":
        torch.testing.assert_close(x, shares[0] * pixels + (1 - shares[0]) * pixels.roll(1, 0))
    else:
        assert ((x == pixels) | (x == pixels.roll(1, 0))).all()
    step = first_step(job)
    assert step.targets[0] is step.targets[1]
    assert torch.equal(step.targets[0], y)
    z = [one(x).detach() for one in theirs]
    for output, expected in zip(step.outputs, z, strict=True):
        torch.testing.assert_close(output, expected)
    torch.testing.assert_close(step.consensus, (z[0] - z[1]).square().sum(-1).mean())
    losses = [-(y * one.log_softmax(-1)).sum(-1).mean() for one in z]
    torch.testing.assert_close(step.losses, torch.stack(losses))


def test_views_are_mixed_with_the_same_share_and_have_the_same_targets(tmp_path):
    changes = {"augment__mixup": 1.0, "augment__shift": 1, "train__batches": "views"}
    job, _ = job_of(tmp_path / "run", **changes)
    batch = next(job.feed.train(0, 0))
    assert batch.aligned
    assert batch.of(0)[1] is batch.of(1)[1]
    assert not torch.equal(batch.of(0)[0], batch.of(1)[0])


COSTS = ["l1", "kl", "sce", "sce_tf1", "kdcl_naive", "kdcl_linear", "kdcl_minlogit", "kdcl_general"]


@pytest.mark.parametrize("cost", COSTS)
def test_every_cost_takes_mixed_labels(tmp_path, cost):
    job, _ = job_of(tmp_path / "run", augment__mixup=0.5, consensus__cost=cost, train__epochs=1)
    steps = [event for event in fit(job) if isinstance(event, Step)]
    assert all(step.consensus.isfinite() and step.consensus > 0 for step in steps)


# TrivialAugment


def test_trivial_augment_changes_a_batch_once_for_both_members_or_once_for_each_view(tmp_path):
    plain, _ = job_of(tmp_path / "plain")
    shared, _ = job_of(tmp_path / "shared", augment__policy="trivial")
    views, _ = job_of(tmp_path / "views", augment__policy="trivial", train__batches="views")
    before, one, two = (next(job.feed.train(0, 0)) for job in (plain, shared, views))
    assert len(one.inputs) == 1
    changed = (one.inputs[0] != before.inputs[0]).flatten(1).any(1)
    assert changed.sum() > len(changed) / 2  # a few operations change nothing
    assert torch.equal(one.targets[0], before.targets[0])
    assert len(two.inputs) == 2
    assert not torch.equal(two.inputs[0], two.inputs[1])
    again = next(shared.feed.train(1, 0)).inputs[0]
    assert again.shape == one.inputs[0].shape


# Exact resume of what changes batches

VARIANTS = {
    "mixup": {"augment__mixup": 0.4},
    "both of views": {"augment__mixup": 0.4, "augment__cutmix": 1.0, "train__batches": "views"},
    "trivial": {"augment__policy": "trivial", "train__label_smoothing": 0.1, "train__ema": 0.9},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_mixed_and_augmented_batches_resume_bit_for_bit(tmp_path, name):
    tables = settings(**VARIANTS[name])
    train(tmp_path / "whole", tables)
    assert train_in_parts(tmp_path / "cut", tables, polls=4) >= 4
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


# Partners

SMALL = {"name": "small", "network": "noel2017_st(filters=4)"}
LARGE = {"name": "large", "network": "noel2017_st"}
FEW = {"epochs": 1, "batch_size": 32, "threads": 1, "precision": "float32"}


def tables_of(*members, **consensus):
    chosen = {"cost": "l2", "weight": 0.5} | consensus if consensus else {}
    return {"members": list(members), "data": {"limit": 100}, "consensus": chosen, "train": FEW}


def weights(run, name):
    return checkpoint.load(checkpoint.steps(run / "ckpt")[-1]).tensors[f"member-{name}"]


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def test_a_larger_partner_that_learns_from_nobody_trains_as_alone_and_moves_the_small_one(tmp_path):
    concord.train(tables_of(SMALL, LARGE, edges=[[0.0, 1.0], [0.0, 0.0]]), tmp_path / "pair")
    concord.train(tables_of(SMALL, LARGE), tmp_path / "plain")
    assert same(weights(tmp_path / "pair", "large"), weights(tmp_path / "plain", "large"))
    assert not same(weights(tmp_path / "pair", "small"), weights(tmp_path / "plain", "small"))


def test_a_partner_starts_from_the_weights_that_a_run_exported(tmp_path):
    file = tmp_path / "large.safetensors"
    concord.train(tables_of(LARGE), tmp_path / "first")
    concord.load(tmp_path / "first").export("large", file)
    partner = LARGE | {"name": "partner"}
    slow = {"train": FEW | {"optimizer": {"kind": "sgd", "lr": 1e-5, "momentum": 0.0}}}
    for name, given in (("pair", partner | {"pretrained": str(file)}), ("plain", partner)):
        concord.train(tables_of(SMALL, given, edges="chain") | slow, tmp_path / name)
    apart = {
        name: max(
            (value - weights(tmp_path / name, "partner")[key]).abs().max().item()
            for key, value in load_file(file).items()
            if value.ndim >= 2
        )
        for name in ("pair", "plain")
    }
    assert 0 < apart["pair"] < 1e-2 < apart["plain"]
