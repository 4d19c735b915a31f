"""Members of one architecture in one pass, beside a pass for each."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_made import (
    assert_close,
    member,
    optimizer_for,
    own_batches,
    run,
    same,
    samples,
    shared_batches,
    state,
)

import concord
from concord.consensus.costs import sce
from concord.consensus.edges import shape
from concord.consensus.objective import pairwise
from concord.errors import UsageError
from concord.training import stacked
from concord.training.batch import Batch
from concord.training.cohort import Adversarial

STEPS = 4


def twins(count, width=3):
    return [member(seed, width=width).double() for seed in range(count)]


def doubled(batches):
    return [b._replace(inputs=tuple(x.double() for x in b.inputs)) for b in batches]


def test_two_linear_members_by_hand():
    a, b = nn.Linear(1, 2), nn.Linear(1, 2)
    for one, weight, bias in ((a, [[2.0], [3.0]], [1.0, 0.0]), (b, [[-1.0], [5.0]], [0.0, 7.0])):
        one.weight.data, one.bias.data = torch.tensor(weight), torch.tensor(bias)
    first, second = stacked.outputs([a, b], [(torch.tensor([[10.0]]),)])
    assert first.tolist() == [[21, 30]]
    assert second.tolist() == [[-10, 57]]
    first, second = stacked.outputs([a, b], [(torch.tensor([[10.0]]),), (torch.tensor([[1.0]]),)])
    assert (first.tolist(), second.tolist()) == ([[21, 30]], [[-1, 12]])


def views(count, members):
    """Changed copies of the same samples for each member."""
    shared = shared_batches(count)
    return [Batch(tuple(b.inputs[0] + i for i in range(members)), b.targets * members) for b in shared]


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize(
    "batches", [shared_batches(STEPS), own_batches(STEPS, 3), views(STEPS, 3)], ids=["shared", "own", "views"]
)
def test_stacked_members_train_as_with_a_pass_for_each(kind, batches):
    ours, theirs = twins(3), twins(3)
    options = {"consensus": pairwise(sce), "edges": shape("all", 3), "weight": 0.5, "clip": 0.5}
    batches = [b._replace(unlabelled=samples(99)[0].double()) for b in doubled(batches)]
    together = run(ours, batches, optimizer_for(ours, kind), stacks=[[0, 1, 2]], **options)
    apart = run(theirs, batches, optimizer_for(theirs, kind), **options)
    for one, other in zip(ours, theirs, strict=True):  # running statistics and their counter too
        torch.testing.assert_close(state(one), state(other), rtol=1e-9, atol=1e-12)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one.losses, other.losses)
        torch.testing.assert_close(one.outputs, other.outputs)


def test_members_outside_a_stack_and_teachers_keep_their_own_pass():
    made = [lambda: member(0).double(), lambda: member(1, width=5).double(), lambda: member(2).double()]
    ours, theirs = [make() for make in made], [make() for make in made]
    for cohort in (ours, theirs):
        cohort[1].requires_grad_(False)
    batches = doubled(shared_batches(STEPS))
    run(ours, batches, optimizer_for([ours[0], ours[2]]), stacks=[[2, 0]])
    run(theirs, batches, optimizer_for([theirs[0], theirs[2]]))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(state(one), state(other), rtol=1e-9, atol=1e-12)


def test_adversarial_training_goes_with_it():
    def craft(i, loss, x, index):
        return x + 0.1 * (i + 1)

    ours, theirs = twins(2), twins(2)
    batches = doubled(shared_batches(STEPS))
    run(ours, batches, stacks=[[0, 1]], adversarial=Adversarial(craft))
    run(theirs, batches, adversarial=Adversarial(craft))
    assert_close(ours, theirs)


def test_gradients_through_the_stack_match_finite_differences():
    members = [nn.Linear(2, 3).double(), nn.Linear(2, 3).double()]
    x = samples(0)[0][:, 0, 0, :2].double()
    weights = [p for one in members for p in one.parameters()]

    def said(*parameters):
        for one, (weight, bias) in zip(members, (parameters[:2], parameters[2:]), strict=True):
            one._parameters.update(weight=weight, bias=bias)
        return tuple(F.log_softmax(z, -1) for z in stacked.outputs(members, [(x,)]))

    assert torch.autograd.gradcheck(said, weights)


def test_dropout_is_refused():
    members = [member(0, dropout=0.5).train(), member(1, dropout=0.5).train()]
    with pytest.raises(RuntimeError, match="random"):
        stacked.outputs(members, [(samples(0)[0],)])


def settings(networks, **train):
    members = [{"name": f"m{i}", "network": network} for i, network in enumerate(networks)]
    small = {"limit": 128, "size": 8}
    train = {"epochs": 2, "batch_size": 32, "device": "cpu", "precision": "float32", "threads": 1} | train
    return {"members": members, "data": small, "train": train, "consensus": {"cost": "l2", "weight": 0.01}}


def weights(run_folder):
    from safetensors.torch import load_file

    newest = max(run_folder.glob("ckpt/step-*"))
    return {file.name: load_file(file) for file in sorted(newest.glob("member-*.safetensors"))}


def test_a_stacked_run_resumes_bit_for_bit_and_is_close_to_one_that_is_not(tmp_path):
    from concord.errors import StoppedError

    pair = ["noel2017_st(filters=4)", "noel2017_st(filters=4)", "noel2017_m(filters=4)"]
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.train(settings(pair, stacked=True), tmp_path / "cut", stop=lambda: next(polls) == 3)
    concord.resume(tmp_path / "cut")
    concord.train(settings(pair, stacked=True), tmp_path / "whole")
    concord.train(settings(pair), tmp_path / "apart")
    cut, whole, apart = (weights(tmp_path / name) for name in ("cut", "whole", "apart"))
    assert all(same(cut[name], whole[name]) for name in whole)
    assert not same(apart["member-m0.safetensors"], whole["member-m0.safetensors"])
    for name in whole:
        torch.testing.assert_close(whole[name], apart[name], rtol=0.05, atol=2e-3)


ODD = """
import random

import torch
from torch import nn


class Counts(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.head = nn.Linear(channels * 64, classes)
        self.register_buffer("n", torch.tensor(0))

    def forward(self, x):
        self.n = self.n + 1  # a new tensor, not the old one changed
        return self.head(x.flatten(1))


class Shuffles(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.head = nn.Linear(channels * 64, classes)
        self.order = torch.randperm(channels * 64)  # neither parameter nor buffer

    def forward(self, x):
        return self.head(x.flatten(1)[:, self.order])


class Plays(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.head = nn.Linear(channels * 64, classes)

    def forward(self, x):
        return self.head(x.flatten(1)) * random.choice([1.0, 1.0])


class Shares(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.head = nn.Linear(channels * 64, classes)
        self.first = self.second = nn.BatchNorm1d(classes)

    def forward(self, x):
        return self.second(self.first(self.head(x.flatten(1))))
"""


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("Counts", "what it computes is not what each gives"),
        ("Shuffles", "what it computes is not what each gives"),
        ("Plays", "they draw random numbers"),
        ("Shares", "torch.func.vmap ends in RuntimeError"),  # a module used twice is left in pieces
    ],
)
def test_members_that_one_pass_would_compute_wrongly_are_refused(network, why, tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text(ODD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    code = f"odd:{network}"
    with pytest.raises(UsageError, match=f"m0, m1 cannot be computed in one pass: {why}"):
        concord.train(settings([code, code], stacked=True), tmp_path / "run", allow_code=[code])
    assert not (tmp_path / "run").exists()


def test_one_pass_is_in_float32_whatever_the_machine_has(tmp_path):
    pair = ["noel2017_st(filters=4)"] * 2
    concord.train(settings(pair, stacked=True, precision="auto"), tmp_path / "auto")
    concord.train(settings(pair, stacked=True), tmp_path / "float32")
    one, other = weights(tmp_path / "auto"), weights(tmp_path / "float32")
    assert all(same(one[name], other[name]) for name in one)
    with pytest.raises(UsageError, match=r"train.stacked computes in float32"):
        concord.train(settings(pair, stacked=True, precision="bfloat16"), tmp_path / "low")


def test_when_a_partner_retires_the_other_goes_on_alone(tmp_path):
    from concord.errors import StoppedError

    pair = ["noel2017_st(filters=4)"] * 2
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.train(settings(pair, stacked=True), tmp_path / "run", stop=lambda: next(polls) == 3)
    assert concord.resume(tmp_path / "run", without=["m1"])["members"].keys() == {"m0", "m1"}


@pytest.mark.parametrize(
    ("networks", "train", "message"),
    [
        (["noel2017_st", "noel2017_m"], {}, "m0 is noel2017_st, m1 is noel2017_m"),
        (
            ["squeezenet1_1", "squeezenet1_1"],
            {},
            "m0, m1 cannot be computed in one pass: they draw random numbers, as dropout",
        ),
        (
            ["noel2017_st", "noel2017_st"],
            {"update": "alternating"},
            "train.stacked and train.micro_batch need the simultaneous",
        ),
    ],
)
def test_what_cannot_be_stacked_is_told(networks, train, message, tmp_path):
    wanted = settings(networks, stacked=True, **train)
    wanted["data"]["size"] = 64 if "squeezenet1_1" in networks else 8
    with pytest.raises(UsageError, match=message):
        concord.train(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists()
