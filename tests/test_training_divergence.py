"""Trainings that go wrong with every loss a number: infinite moments, updates that round to nothing."""

import pytest
import torch
from run_made import call, make_job, member, settings, train
from torch import nn
from training_made import cohort, optimizer_for, run, samples, shared_batches, state

from concord.errors import DivergedError
from concord.training import divergence
from concord.training.batch import Batch
from concord.training.divergence import Unmoved, refuse_not_finite
from concord.training.fit import fit

LARGEST = torch.finfo(torch.float32).max
SGD = {"kind": "sgd", "lr": 0.05, "momentum": 0.0, "weight_decay": 0.0}


def held(members):
    return {f"m{i}": one for i, one in enumerate(members)}


@pytest.mark.parametrize("kind", ["adam", "adamw"])
@pytest.mark.parametrize("update", ["simultaneous", "alternating"])
def test_second_moments_that_overflow_are_told_with_the_members_and_nothing_is_saved(kind, update, tmp_path):
    weight = 1e28  # gradients of about 1e26, whose squares are beyond float32; the cost itself is not
    tables = settings(
        consensus__weight=weight,
        train__optimizer={"kind": kind, "lr": 0.01, "weight_decay": 0.0},
        train__update=update,
    )
    with pytest.raises(
        DivergedError, match=r"moments of m0, m1 are not finite after 6 updates.*consensus wei"
    ) as e:
        train(tmp_path / "r", tables)
    assert e.value.members == ("m0", "m1")
    assert e.value.exit_status == 5
    assert not list((tmp_path / "r" / "ckpt").glob("step-*[1-9]"))


def test_only_the_member_whose_moments_overflow_is_named():
    members = cohort(2)
    optimizer = optimizer_for(members, "adam")
    run(members, shared_batches(1), optimizer)
    refuse_not_finite(held(members), optimizer, 1)
    optimizer.state[members[1][5].bias]["exp_avg_sq"][0] = torch.inf
    with pytest.raises(DivergedError, match="moments of m1 are") as told:
        refuse_not_finite(held(members), optimizer, 1)
    assert told.value.members == ("m1",)


def test_a_cost_times_its_weight_beyond_all_numbers_is_told_before_anything_is_learned():
    members = cohort(2)
    before = [state(one) for one in members]
    with pytest.raises(DivergedError, match=r"cost of member 0, member 1 times its weight 3e\+38 is not"):
        run(members, [Batch(*spread())], weight=3e38)
    names = [name for name, _ in members[0].named_parameters()]
    for one, old in zip(members, before, strict=True):
        assert all(torch.equal(one.get_parameter(name), old[name]) for name in names)


def spread():
    """One batch on which two members surely differ by more than 1."""
    x, y = samples(0)
    return (100 * x,), (y,)


def test_a_gradient_whose_norm_overflows_is_no_update_of_nothing():
    """Clipping divides by the norm: by infinity it would leave 0, and a training that looks whole."""
    members = cohort(1)
    members[0][5].weight.register_hook(lambda found: torch.full_like(found, LARGEST / 2))
    with pytest.raises(DivergedError):
        run(members, shared_batches(2), optimizer_for(members), clip=0.1)
    optimizer = optimizer_for(members)
    with pytest.raises(DivergedError, match="parameters of m0 are not finite"):
        refuse_not_finite(held(members), optimizer, 2)


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [({"kind": "adam", "lr": 1e-45}, "m0, m1"), (SGD | {"lr": 1e-30}, "m0, m1"), (SGD, None)],
)
def test_updates_that_round_to_nothing_are_told_at_the_end_of_the_first_epoch(optimizer, told, tmp_path):
    tables = settings(train__optimizer=optimizer, train__epochs=2)
    if told is None:
        assert train(tmp_path / "r", tables)
        return
    with pytest.raises(DivergedError, match=rf"{told} did not move.*after 6 updates") as caught:
        train(tmp_path / "r", tables)
    assert caught.value.members == ("m0", "m1")


class Large(nn.Module):
    """Divides by the norm of its weights, so that their size changes no output; and starts far out."""

    def __init__(self, size):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.weight = nn.Parameter(torch.randn(3, 36) * size)

    def forward(self, x):
        return x.flatten(1) @ (self.weight / self.weight.norm()).T


@pytest.mark.parametrize(("size", "told"), [(1.0, False), (1e10, True)])
def test_weights_so_large_that_no_update_reaches_them_are_told(size, told, tmp_path):
    members = {"m0": Large(size), "m1": member(1)}
    job = make_job(tmp_path / "r", settings(train__optimizer=SGD, consensus__weight=0.0), members=members)
    if told:
        with pytest.raises(DivergedError, match="m0 did not move") as caught:
            list(fit(job))
        assert caught.value.members == ("m0",)
    else:
        assert list(fit(job))


def unmoved(members):
    optimizer = optimizer_for(members)
    for one in members:
        one(samples(0)[0]).square().mean().backward()
    return Unmoved(held(members), optimizer)


def test_a_change_of_one_bit_is_no_move_and_a_thousand_times_it_is_one():
    members = cohort(2)
    found = unmoved(members)
    with torch.no_grad():
        for one, times in zip(members, (1, 1000), strict=True):
            one[5].weight.mul_(1 + times * torch.finfo(torch.float32).eps)
            one[5].weight[1:] /= 1 + times * torch.finfo(torch.float32).eps
    with pytest.raises(DivergedError) as told:
        found.refuse({"m0": 1.0, "m1": 1.0}, rate=0.1, first=0.1, done=1)
    assert told.value.members == ("m0",)


def test_of_a_large_parameter_values_are_looked_at_from_end_to_end(monkeypatch):
    monkeypatch.setattr(divergence, "MOST", 4)
    one = nn.Linear(10, 1, bias=False)
    one.weight.grad = torch.ones(1, 10)
    found = Unmoved({"m0": one}, torch.optim.SGD(one.parameters(), lr=0.1))
    assert [len(part) for part in found.before["m0"].values()] == [4]  # 0, 3, 6, 9
    with torch.no_grad():
        one.weight[0, 9] += 1
    found.refuse({"m0": 1.0}, rate=0.1, first=0.1, done=1)


@pytest.mark.parametrize(
    ("losses", "rate"), [(1e-6, 0.1), (1.0, 0.0), (1.0, 1e-6)], ids=["learned", "rate 0", "schedule ends"]
)
def test_who_is_not_expected_to_move_is_not_told(losses, rate):
    unmoved(cohort(1)).refuse({"m0": losses}, rate=rate, first=0.1, done=1)


def test_who_has_no_gradient_or_learns_nothing_is_not_told():
    still, frozen = cohort(2)
    frozen.requires_grad_(False)
    found = Unmoved(held([still, frozen]), optimizer_for([still]))
    found.refuse({"m0": 1.0, "m1": 1.0}, rate=0.1, first=0.1, done=1)


def test_a_schedule_that_ends_at_zero_is_no_divergence(tmp_path):
    tables = settings(train__schedule="cosine", train__epochs=40, train__batch_size=64)  # one update an epoch
    assert len(train(tmp_path / "r", tables)) == 80


def test_the_command_line_ends_with_status_5(tmp_path, capsys):
    options = ["--set", "data.limit=200", "--set", "train.threads=1", "--consensus", "kl", "--weight", "1e34"]
    names = "noel2017_st,noel2017_text_st"
    status, _, err = call(
        capsys, "train", "--members", names, "--epochs", "2", *options, "--out", tmp_path / "r"
    )
    assert status == 5
    assert "moments of noel2017_st, noel2017_text_st are not finite" in err
    assert "Traceback" not in err
