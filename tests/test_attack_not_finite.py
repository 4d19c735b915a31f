"""Attacks on networks whose gradient or answer is not a finite number, and on those that work in place."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from attack_made import images_and_labels, network
from run_made import call
from torch import nn

import concord
from concord.attack.fgsm import fgsm
from concord.attack.gradient import away, gradient, stuck, toward
from concord.attack.norms import NORMS
from concord.attack.pgd import pgd
from concord.attack.strike import NO_ANSWER, margins, strike, untouched
from concord.data.batches import Normalise
from concord.runs import toml
from concord.runs.adversary import adversarial_of
from concord.runs.attack_inputs import _together
from concord.runs.interface import Interface

EPS = 0.3
ATTACKS = {
    "fgsm": lambda loss, x, eps: fgsm(loss, x, eps),
    "linf": lambda loss, x, eps: pgd(loss, x, eps, steps=3, step_size=eps / 2),
    "l2": lambda loss, x, eps: pgd(loss, x, eps, steps=3, step_size=eps / 2, norm=NORMS["l2"]),
    "linf, random start": lambda loss, x, eps: pgd(
        loss, x, eps, steps=3, step_size=eps / 2, generator=torch.Generator().manual_seed(0)
    ),
    "l2, random start": lambda loss, x, eps: pgd(
        loss, x, eps, steps=3, step_size=eps / 2, norm=NORMS["l2"], generator=torch.Generator().manual_seed(0)
    ),
}


class Roots(nn.Module):
    """Divides each 2x2 patch by its root mean square: 0 times infinity on flat ones."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.out = nn.Linear(16, 3)

    def forward(self, x):
        patches = F.unfold(x, 2, stride=2)
        patches = patches - patches.mean(1, keepdim=True)
        return self.out((patches / (patches.square().mean(1, keepdim=True).sqrt() + 0.1)).flatten(1))


def flat_in_one_corner():
    """Images whose gradient is not a number in the upper left patch alone. Shape: (8, 1, 4, 4)"""
    x, y = images_and_labels(8)
    x[:, :, :2, :2] = 0.5
    return x, y


def size(change, name):
    return change.flatten(1).norm(dim=1) if name.startswith("l2") else change.abs().flatten(1).amax(1)


@pytest.mark.parametrize("aim", [away, toward])
@pytest.mark.parametrize("name", ATTACKS)
def test_the_rest_of_an_image_is_attacked_where_a_part_has_no_gradient(name, aim):
    net, (x, y) = Roots(), flat_in_one_corner()
    loss = aim(net, y)
    found = gradient(loss, x)
    assert found[:, :, :2, :2].isnan().all()  # otherwise this tests nothing
    assert found[:, :, 2:, 2:].isfinite().all()
    assert not stuck(loss, x).any()
    changed = ATTACKS[name](loss, x, EPS)
    assert changed.isfinite().all()
    assert ((changed >= 0) & (changed <= 1)).all()
    assert (size(changed - x, name) <= EPS * (1 + 1e-6)).all()
    assert (changed != x)[:, :, 2:, 2:].flatten(1).any(1).all()
    if name in ("fgsm", "linf", "l2"):  # a random start leaves the flat patches behind, and has a gradient
        assert torch.equal(changed[:, :, :2, :2], x[:, :, :2, :2])
        # as on the network that never sees the flat patch
        mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
        mask[:, :, :2, :2] = False
        finite = lambda images: loss(images.where(mask, x))  # noqa: E731
        torch.testing.assert_close(ATTACKS[name](finite, x, EPS), changed)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_image_without_any_finite_gradient_stays_and_is_stuck_and_its_neighbours_do_not(name, value):
    net, (x, y) = network(), images_and_labels(6)
    spoilt = torch.tensor([True, False, True, False, False, False])

    def loss(images):
        scale = torch.where(spoilt, value, 1.0).view(-1, 1, 1, 1)
        images.register_hook(lambda found: found * scale)
        return away(net, y)(images)

    assert stuck(loss, x).tolist() == spoilt.tolist()
    changed, clean = ATTACKS[name](loss, x, EPS), ATTACKS[name](away(net, y), x, EPS)
    assert torch.equal(changed[~spoilt], clean[~spoilt])
    assert changed.isfinite().all()
    if "random" not in name:
        assert torch.equal(changed[spoilt], x[spoilt])


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("factor", [1, 1e38, math.inf, math.nan])
@pytest.mark.parametrize("network", [network(), Roots()])
def test_radius_zero_gives_the_images_back(name, network, factor):
    x, y = flat_in_one_corner()
    assert torch.equal(ATTACKS[name](away(lambda images: network(images) * factor, y), x, 0.0), x)


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1.0, 1e30, 3e38])
@pytest.mark.parametrize("eps", [1e-30, 0.1, 1e6])
def test_the_steepest_direction_has_length_one_whatever_the_size_of_the_gradient(scale, eps):
    found = torch.tensor([[0.6, -0.8], [1.0, 0.0], [math.nan, -1.0], [math.inf, 1.0], [0.0, 0.0]]) * scale
    expected = [[0.6, -0.8], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0], [0.0, 0.0]]
    precise = 0.2 if scale < 1e-40 else 1e-5  # the smallest numbers of float32 have one or two digits
    torch.testing.assert_close(NORMS["l2"].steepest(found, eps), torch.tensor(expected), rtol=0, atol=precise)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_images_of_any_type_with_no_gradient_stay_as_they_are(norm, dtype):
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    flat = lambda images: (images * 0).flatten(1).sum(1)  # noqa: E731
    changed = pgd(flat, x, EPS, steps=2, step_size=0.1, norm=NORMS[norm])
    assert changed.dtype == dtype
    assert torch.equal(changed, x)


def test_a_channel_of_radius_zero_stays_and_the_others_fill_the_ball():
    change, axes = torch.tensor([[0.5, 3.0, 4.0]]), torch.tensor([[0.0, 1.0, 1.0]])
    assert NORMS["l2"].project(change, axes)[0].tolist() == pytest.approx([0, 0.6, 0.8])
    assert NORMS["linf"].project(change, axes).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [1e-9, 1e-7, 1e-3, 0.1, 0.7])
def test_no_rounding_leads_out_of_the_ball(norm, eps):
    net, (x, y) = network(), images_and_labels(40)
    changed = pgd(away(net, y), x, eps, steps=4, step_size=eps, norm=NORMS[norm])
    change = changed.double() - x.double()  # exact
    assert (size(change, norm) <= eps * (1 + 1e-12)).all()
    assert eps < 1e-6 or (size(change, norm) > 0.99 * eps).any()


def test_a_network_without_an_answer_is_wrong_with_no_confidence_and_shown_nowhere():
    net, (x, y) = network(), images_and_labels(12)
    with torch.no_grad():
        y = net(x).argmax(1)

    def breaks(images):  # right on the images as they are, and no number for any other
        logits = net(images)
        same = torch.tensor([bool((image == x).flatten(1).all(1).any()) for image in images.detach()])
        return logits.where(same.unsqueeze(1), math.nan)

    struck = strike({"a": breaks, "b": net}, "a", [(x, y)], lambda loss, images: images * 0.9)
    assert (struck.votes[0] == NO_ANSWER).all()
    assert (struck.confidences[0] == 0).all()
    assert (struck.votes[1] >= 0).all()
    assert len(struck.examples) == 0
    votes, sure = untouched({"a": breaks}, [(x, y)])
    assert torch.equal(votes[0], y)
    assert sure.isfinite().all()


def in_place(net):
    return nn.Sequential(nn.Threshold(0.5, 0.0, inplace=True), net)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_network_that_changes_its_input_is_attacked_like_one_that_does_not(name):
    net, (x, y) = network(), images_and_labels(10)
    kept = x.clone()
    pure = nn.Sequential(nn.Threshold(0.5, 0.0), net)
    changed = ATTACKS[name](away(in_place(net), y), x, EPS)
    assert torch.equal(x, kept)
    assert torch.equal(changed, ATTACKS[name](away(pure, y), x, EPS))


def test_a_network_that_changes_its_input_does_not_change_what_others_see():
    first, second, (x, y) = in_place(network(0)), network(1), images_and_labels(30)
    kept, attack = x.clone(), ATTACKS["linf"]
    alone = strike({"b": second}, "b", [(x, y)], lambda loss, images: attack(loss, images, EPS))
    beside = strike({"a": first, "b": second}, "b", [(x, y)], lambda loss, images: attack(loss, images, EPS))
    assert torch.equal(beside.votes[1], alone.votes[0])
    assert torch.equal(beside.examples.changed, alone.examples.changed)
    both, one = untouched({"a": first, "b": second}, [(x, y)]), untouched({"b": second}, [(x, y)])
    assert torch.equal(both[0][1], one[0][0])
    margins(first, [(x, y)])
    assert torch.equal(x, kept)


def test_the_members_of_an_ensemble_that_is_attacked_see_the_images_as_they_are():
    first, second, (x, _) = in_place(network(0)), network(1), images_and_labels(5)
    apart = torch.stack([first(x.clone()), second(x)]).mean(0)
    torch.testing.assert_close(_together([first, second], x), apart)


@pytest.mark.parametrize("settings", [{"eps": EPS}, {"kind": "pgd", "eps": EPS, "norm": "l2", "steps": 3}])
def test_training_images_made_by_the_adversary_are_images(settings):
    """A member that works in place and whose gradient is not a number on flat patches."""
    interface = Interface((1, 4, 4), ("0", "1", "2"), Normalise((100.0,), (50.0,)))
    config = toml.parse({"members": [{"name": "m0", "network": "noel2017_st"}], "adversarial": settings})
    x, y = flat_in_one_corner()
    normal = (x * 255 - 100) / 50
    loss = away(nn.Sequential(nn.ReLU(inplace=True), Roots()), y)
    kept = normal.clone()
    changed = adversarial_of(config, interface).craft(0, loss, normal, 0)
    assert torch.equal(normal, kept)
    pixels = (changed * 50 + 100) / 255
    assert changed.isfinite().all()
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6
    assert (size(pixels - x, settings.get("norm", "linf")) <= EPS * (1 + 1e-5)).all()
    assert not torch.equal(changed, normal)


NETWORK = """
import torch
import torch.nn.functional as F
from torch import nn

class Roots(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.out = nn.Linear(channels * 64, classes)
    def forward(self, x):
        p = F.unfold(x, 2, stride=2)
        p = p - p.mean(1, keepdim=True)
        return self.out((p / (p.square().mean(1, keepdim=True).sqrt() + 0.1)).flatten(1))

def roots(channels, classes): return Roots(channels, classes)
"""


@pytest.mark.parametrize("method", ["fgsm", "pgd", "pgd --norm l2", "pgd --norm l2 --target 3"])
def test_an_attack_of_radius_zero_has_the_error_without_an_attack(method, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_roots.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = ["own_roots:roots"]
    members = [{"name": name, "network": code[0]} for name in "ab"]
    concord.train({"members": members, "train": {"epochs": 1, "threads": 1}}, "run", allow_code=code)
    options = [
        "--method",
        *method.split(),
        "--eps",
        "0,0.5",
        "--limit",
        "100",
        "--json",
        "--allow-code",
        code[0],
    ]
    status, out, err = call(capsys, "attack", "run", *options)
    assert status == 0, err
    for figures in json.loads(out)["networks"].values():
        still, moved = figures["points"]
        assert still["error"] == figures["clean_error"]
        assert moved["error"]["share"] > still["error"]["share"]  # the gradient that is there is used
