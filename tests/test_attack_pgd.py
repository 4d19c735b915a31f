"""Projected gradient descent beside closed forms and another library, and the balls it stays in."""

import numpy as np
import pytest
import torch
from attack_made import by_art, images_and_labels, network
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from concord.attack.fgsm import fgsm
from concord.attack.gradient import away, toward
from concord.attack.norms import NORMS
from concord.attack.pgd import pgd
from concord.errors import UsageError

ART = {"linf": np.inf, "l2": 2}
LINF, L2 = NORMS["linf"], NORMS["l2"]


def art_pgd(net, norm, eps, step_size, steps, **options):
    from art.attacks.evasion import ProjectedGradientDescentPyTorch

    parts = {"norm": ART[norm], "eps": eps, "eps_step": step_size, "max_iter": steps, "verbose": False}
    return ProjectedGradientDescentPyTorch(by_art(net), **parts, **options)


def as_large_as_the_ball(change, norm, eps):
    lengths = change.flatten(1).norm(dim=1) if norm == "l2" else change.abs().flatten(1).amax(1)
    return (lengths > 0.99 * eps).float().mean()


@pytest.mark.parametrize("steps", range(1, 8))
@pytest.mark.parametrize(("norm", "eps", "step_size"), [("linf", 0.1, 0.04), ("l2", 0.6, 0.25)])
def test_every_step_equals_that_of_the_adversarial_robustness_toolbox(norm, eps, step_size, steps):
    net, (x, y) = network(), images_and_labels(40)
    theirs = torch.from_numpy(art_pgd(net, norm, eps, step_size, steps).generate(x.numpy(), np.eye(3)[y]))
    ours = pgd(away(net, y), x, eps, norm=NORMS[norm], steps=steps, step_size=step_size)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    if steps == 7:
        assert as_large_as_the_ball(ours - x, norm, eps) > 0.5  # otherwise nothing was projected


@pytest.mark.parametrize(("norm", "eps", "step_size"), [("linf", 0.1, 0.03), ("l2", 0.6, 0.15)])
@pytest.mark.parametrize("target", [False, True])
def test_from_the_same_start_it_equals_the_toolbox_towards_a_label_and_away(
    norm, eps, step_size, target, monkeypatch
):
    from art.attacks.evasion.projected_gradient_descent import projected_gradient_descent_pytorch as inside

    net, (x, y) = network(), images_and_labels(40)
    start = NORMS[norm].draw(x, eps, torch.Generator().manual_seed(3))
    monkeypatch.setattr(inside, "random_sphere", lambda *a, **k: start.reshape(len(x), -1).numpy())
    attack = art_pgd(net, norm, eps, step_size, 5, num_random_init=1, targeted=target, batch_size=40)
    theirs = torch.from_numpy(attack.generate(x.numpy(), np.eye(3)[y]))
    parts = {"norm": NORMS[norm], "steps": 5, "step_size": step_size}
    loss = (toward if target else away)(net, y)
    ours = pgd(loss, x, eps, generator=torch.Generator().manual_seed(3), **parts)
    assert not torch.allclose(pgd(loss, x, eps, **parts), ours, atol=1e-3)
    # of several starts the toolbox keeps the successful one, so it leaves images alone that resist
    tried = (theirs != x).flatten(1).any(1)
    assert tried.sum() > 10
    torch.testing.assert_close(ours[tried], theirs[tried], rtol=0, atol=1e-6)


def test_one_step_as_large_as_the_ball_is_fgsm():
    net, (x, y) = network(), images_and_labels(20)
    ours = pgd(away(net, y), x, 0.1, steps=1, step_size=0.1)
    torch.testing.assert_close(ours, fgsm(away(net, y), x, 0.1), rtol=0, atol=1e-6)


def test_on_a_linear_classifier_the_euclidean_attack_follows_the_weights():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    w = torch.tensor([[0.0, 0, 0, 0], [3.0, 0, 0, -4]])
    net[1].weight.data = w
    x = torch.full((1, 1, 2, 2), 0.5)
    changed = pgd(away(net, torch.tensor([0])), x, 0.25, norm=L2, steps=10, step_size=0.1)
    assert (changed - x).flatten().tolist() == pytest.approx([0.25 * 0.6, 0, 0, -0.25 * 0.8])
    assert (net(changed)[0, 1] - net(x)[0, 1]).item() == pytest.approx(0.25 * 5)  # eps ||w||


def test_the_projections_by_hand():
    change = torch.tensor([[0.3, -0.4], [0.03, 0.04]])
    torch.testing.assert_close(L2.project(change, 0.25), torch.tensor([[0.15, -0.2], [0.03, 0.04]]))
    torch.testing.assert_close(LINF.project(change, 0.35), torch.tensor([[0.3, -0.35], [0.03, 0.04]]))
    # an ellipse of half axes 0.6 and 0.8: ||(0.3 / 0.6, 0.4 / 0.8)|| = 0.7071 is inside
    axes = torch.tensor([[0.6, 0.8]])
    torch.testing.assert_close(L2.project(change, axes), change)
    torch.testing.assert_close(L2.project(2 * change, axes)[0], 2 * change[0] / 2**0.5)


def test_the_steepest_direction_of_a_stretched_ball_climbs_more_than_any_other_of_its_size():
    generator = torch.Generator().manual_seed(0)
    gradient, axes = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.1, 2.0, 1.0]])
    steps = torch.randn(2000, 3, generator=generator)
    others = axes * steps / steps.norm(dim=1, keepdim=True)  # on the border of the ellipsoid
    ours = axes * L2.steepest(gradient, axes)
    assert (ours / axes).norm().item() == pytest.approx(1)
    assert (gradient * ours).sum() >= (gradient * others).sum(1).max() - 1e-6


def test_a_gradient_too_small_to_be_squared_still_has_a_direction():
    steepest = L2.steepest(torch.tensor([[3e-30, 4e-30], [0.0, 0.0]]), 0.1)
    torch.testing.assert_close(steepest, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["linf", "l2"]), st.floats(0, 3), st.floats(0, 2), st.integers(0, 10**6), st.booleans()
)
def test_the_result_stays_in_the_ball_and_in_the_range(norm, eps, step_size, seed, random):
    torch.manual_seed(seed)
    x, y = torch.rand(3, 1, 4, 4).round(decimals=1), torch.randint(3, (3,))
    generator = torch.Generator().manual_seed(seed) if random else None
    parts = {"norm": NORMS[norm], "steps": 3, "step_size": step_size, "generator": generator}
    changed = pgd(away(network(), y), x, eps, **parts)
    change = (changed - x).flatten(1)
    assert (change.norm(dim=1) if norm == "l2" else change.abs().amax(1)).max() <= eps * (1 + 1e-5) + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_fill_the_ball_and_depend_on_the_generator_alone(norm):
    x = torch.zeros(4000, 1, 1, 2)
    draw = lambda seed: NORMS[norm].draw(x, 0.5, torch.Generator().manual_seed(seed))  # noqa: E731
    change = draw(0).flatten(1)
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    inside = change.norm(dim=1) if norm == "l2" else change.abs().amax(1)
    assert inside.max() <= 0.5
    assert (inside < 0.25).float().mean().item() == pytest.approx(0.25, abs=0.03)  # a quarter of the area
    assert change.mean(0).abs().max() < 0.02


def test_normalised_images_with_a_stretched_ball_give_the_same_euclidean_attack():
    mean, std = torch.tensor([0.2, 0.5]).view(1, 2, 1, 1), torch.tensor([0.1, 0.7]).view(1, 2, 1, 1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, 5), nn.Tanh(), nn.Linear(5, 3))
    x, y = torch.rand(8, 2, 3, 3), torch.randint(3, (8,))
    plain = pgd(away(lambda p: net((p - mean) / std), y), x, 0.8, norm=L2, steps=6, step_size=0.3)
    parts = {"low": (0 - mean) / std, "high": (1 - mean) / std, "step_size": 0.3 / std}
    scaled = pgd(away(net, y), (x - mean) / std, 0.8 / std, norm=L2, steps=6, **parts)
    torch.testing.assert_close(scaled * std + mean, plain, rtol=0, atol=1e-5)


def test_more_steps_raise_the_loss_further():
    net, (x, y) = network(), images_and_labels(60)
    costs = [
        away(net, y)(pgd(away(net, y), x, 0.2, steps=steps, step_size=0.02)).mean().item()
        for steps in (1, 4, 20)
    ]
    assert costs == sorted(costs)
    assert costs[2] >= away(net, y)(fgsm(away(net, y), x, 0.2)).mean().item() - 1e-4


def test_wrong_sizes_are_refused():
    x, y = images_and_labels(2)
    loss = away(network(), y)
    with pytest.raises(UsageError, match="step_size must be finite"):
        pgd(loss, x, 0.1, steps=2, step_size=float("nan"))
    with pytest.raises(UsageError, match="eps must be finite"):
        pgd(loss, x, -1, steps=2, step_size=0.1)
    with pytest.raises(UsageError, match="at least one, got 0"):
        pgd(loss, x, 0.1, steps=0, step_size=0.1)
