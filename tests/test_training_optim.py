"""Optimiser groups and learning rates."""

import pytest
import torch
from torch import nn
from training_made import member

from concord.runs.config import Train
from concord.runs.config_optimizers import Adam, Sgd
from concord.runs.plan import optimizer_of
from concord.training.optim import learning_rate, set_rate


def rates(steps, **settings):
    settings = {"schedule": "halving"} | settings
    rate = learning_rate(1.0, settings.pop("schedule"), steps=steps, **settings)
    return [rate(index) for index in range(settings["epochs"] * steps)]


def test_halving_epochs_drops_at_epochs_15_23_and_28_of_30():
    by_epoch = [set(rates(7, epochs=30, schedule="halving_epochs")[7 * e : 7 * e + 7]) for e in range(30)]
    assert by_epoch == [{1.0}] * 15 + [{0.5}] * 8 + [{0.25}] * 5 + [{0.125}] * 2


def test_halving_epochs_looks_at_whole_epochs():
    by_epoch = rates(3, epochs=3, schedule="halving_epochs")
    assert by_epoch == [1] * 6 + [0.5] * 3  # the middle of training lies within epoch 1


def test_halving_drops_after_half_three_quarters_and_nine_tenths_of_the_updates():
    assert rates(10, epochs=2) == [1] * 10 + [0.5] * 5 + [0.25] * 3 + [0.125] * 2


def test_cosine_falls_from_the_rate_towards_zero():
    assert rates(2, epochs=2, schedule="cosine") == pytest.approx([1, 0.5 + 2**-1.5, 0.5, 0.5 - 2**-1.5])


def test_a_constant_rate_stays():
    assert rates(2, epochs=3, schedule="constant") == [1] * 6


def test_warm_up_rises_in_equal_steps_to_the_rate_and_then_leaves_it():
    assert rates(5, epochs=2, schedule="constant", warmup=0.4) == pytest.approx(
        [0.25, 0.5, 0.75, 1] + [1] * 6
    )


def test_a_schedule_begins_again_with_each_cycle():
    half = [1, 0.5 + 2**-1.5, 0.5, 0.5 - 2**-1.5]
    assert rates(2, epochs=4, schedule="cosine", cycles=2) == pytest.approx(2 * half)
    assert rates(3, epochs=6, schedule="halving_epochs", cycles=2) == 2 * rates(
        3, epochs=3, schedule="halving_epochs"
    )
    warm = rates(2, epochs=4, schedule="cosine", cycles=2, warmup=0.5)  # of the whole training
    assert warm == pytest.approx([(i + 1) / 4 * r for i, r in enumerate(half)] + half)


def test_warm_up_multiplies_the_schedule():
    plain, warm = (rates(4, epochs=2, schedule="cosine", warmup=w) for w in (0.0, 0.5))
    assert warm == pytest.approx([0.25 * plain[0], 0.5 * plain[1], 0.75 * plain[2], *plain[3:]])


def test_the_rate_scales_with_the_one_configured():
    assert learning_rate(0.5**10, "halving", epochs=2, steps=3)(0) == 0.5**10
    assert learning_rate(0.5**10, "halving", epochs=2, steps=3)(3) == 0.5**11


def test_only_kernels_decay_unless_all_are_asked_for():
    one = member(0)
    for decay, decayed in (
        ("kernels", {"0.weight", "5.weight"}),
        ("all", {n for n, _ in one.named_parameters()}),
    ):
        train = Train(optimizer=Sgd(kind="sgd", lr=0.5, momentum=0.0, weight_decay=0.1, decay=decay))
        optimizer = optimizer_of(train)({"st": one})
        before = {name: p.detach().clone() for name, p in one.named_parameters()}
        for p in one.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        for name, p in one.named_parameters():
            torch.testing.assert_close(p.detach(), before[name] * (0.95 if name in decayed else 1.0))


def test_adam_adds_the_decay_to_the_gradient_and_adamw_to_the_weight():
    moved = {}
    for kind in ("adam", "adamw"):
        layer = nn.Linear(2, 1, bias=False)
        nn.init.constant_(layer.weight, 2.0)
        optimizer = optimizer_of(Train(optimizer=Adam(kind=kind, lr=0.1, weight_decay=0.5)))({"st": layer})
        layer.weight.grad = torch.zeros_like(layer.weight)
        optimizer.step()
        moved[kind] = layer.weight[0, 0].item()
    assert moved["adam"] == pytest.approx(
        2 - 0.1
    )  # a first step of Adam has length lr, whatever the gradient
    assert moved["adamw"] == pytest.approx(2 - 0.1 * 0.5 * 2)


@pytest.mark.parametrize(
    "chosen", [Adam(), Adam(kind="adamw"), Sgd(kind="sgd", nesterov=True)], ids=lambda c: c.kind
)
def test_one_optimiser_for_all_is_one_for_each_bit_for_bit(chosen):
    train = Train(optimizer=chosen)
    together = {"st": member(0), "m": member(1, width=5)}
    apart = {"st": member(0), "m": member(1, width=5)}
    joint = optimizer_of(train)(together)
    each = [optimizer_of(train)({name: one}) for name, one in apart.items()]
    for seed in range(3):
        for one in (*together.values(), *apart.values()):
            generator = torch.Generator().manual_seed(seed)
            for p in one.parameters():
                p.grad = torch.randn(p.shape, generator=generator)
        for optimizer in (joint, *each):
            optimizer.step()
    for name, one in together.items():
        assert all(torch.equal(p, q) for p, q in zip(one.parameters(), apart[name].parameters(), strict=True))


def test_settings_reach_the_optimiser():
    group = optimizer_of(Train(optimizer=Adam(betas=(0.8, 0.9), eps=0.1)))({"st": member(0)}).param_groups[0]
    assert (group["betas"], group["eps"], group["lr"], group["member"]) == ((0.8, 0.9), 0.1, 0.5**10, "st")
    sgd = Sgd(kind="sgd", momentum=0.7, nesterov=True)
    group = optimizer_of(Train(optimizer=sgd))({"st": member(0)}).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.7, True)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_frozen_parameters_stay_as_they_are_until_they_are_set_free(kind):
    one = member(0)
    frozen, before = one[0].weight.requires_grad_(False), one[0].weight.clone()
    optimizer = optimizer_of(Train(optimizer={"kind": kind, "weight_decay": 0.1}))({"st": one})
    for free in (False, True):
        frozen.requires_grad_(free)
        optimizer.zero_grad()
        one(torch.randn(2, 1, 4, 4)).square().sum().backward()
        optimizer.step()
        assert torch.equal(frozen, before) is not free


def test_a_new_rate_reaches_every_group_and_keeps_the_moments():
    one = member(0)
    optimizer = optimizer_of(Train())({"st": one})
    for p in one.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    moments = [entry["exp_avg"].clone() for entry in optimizer.state.values()]
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
    assert all(torch.equal(m, e["exp_avg"]) for m, e in zip(moments, optimizer.state.values(), strict=True))
