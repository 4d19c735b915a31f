"""The fast gradient sign method beside figures worked out by hand, closed forms, and another library."""

import copy
from math import log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from attack_made import by_art, images_and_labels, network
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from concord.attack.fgsm import fgsm
from concord.attack.gradient import away, gradient, stuck, toward
from concord.errors import ShapeError, UsageError


def linear(weight):
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return nn.Sequential(nn.Flatten(), layer)


def test_one_step_on_a_linear_softmax_by_hand():
    # logits (ln 2, 0, 0) at x = (1/2, 1/4, 1/2), so p = (1/2, 1/4, 1/4); with label 0 the gradient is
    # -w0 / 2 + w1 / 4 + w2 / 4 = (-ln 2, 1, -1/2)
    net = linear([[2 * log(2), 0.0, 0.0], [-2.0, 1.0, 1.5], [2.0, 3.0, -3.5]])
    x = torch.tensor([[[[0.5, 0.25, 0.5]]]])
    assert net(x)[0].tolist() == pytest.approx([log(2), 0, 0])
    found = gradient(away(net, torch.tensor([0])), x)
    assert found.flatten().tolist() == pytest.approx([-log(2), 1, -0.5])
    changed = fgsm(away(net, torch.tensor([0])), x, 0.3)
    assert changed.flatten().tolist() == pytest.approx([0.2, 0.55, 0.2])
    assert fgsm(away(net, torch.tensor([0])), x, 0.6).flatten().tolist() == pytest.approx([0, 0.85, 0])


def test_the_margin_of_a_linear_classifier_moves_by_eps_times_the_sum_of_the_weights():
    weight = [[0.5, -2.0, 0.25, 0.0], [-1.0, 1.0, 3.0, 0.0]]
    net, x, y = linear(weight), torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    margin = lambda images: (net(images)[0, 0] - net(images)[0, 1]).item()  # noqa: E731
    changed = fgsm(away(net, y), x, 0.1)
    assert margin(x) - margin(changed) == pytest.approx(0.1 * (1.5 + 3.0 + 2.75 + 0.0), rel=1e-5)
    assert changed[0, 0, 1, 1] == 0.5  # sign(0) = 0: a pixel that nobody looks at stays


def test_the_wanted_label_is_reached_on_a_linear_network():
    torch.manual_seed(0)
    net, (x, y) = linear(torch.randn(3, 16).tolist()), images_and_labels(20)
    for label in range(3):
        wanted = torch.full_like(y, label)
        assert (net(fgsm(toward(net, wanted), x, 0.5)).argmax(1) == label).float().mean() > 0.9
    left, reached = fgsm(away(net, y), x, 0.1), fgsm(toward(net, y), x, 0.1)
    cost = lambda images: F.cross_entropy(net(images), y, reduction="none")  # noqa: E731
    assert (cost(left) > cost(x)).all()
    assert (cost(reached) < cost(x)).all()


@pytest.mark.parametrize("eps", [0.03, 0.3])
def test_it_equals_the_adversarial_robustness_toolbox(eps):
    from art.attacks.evasion import FastGradientMethod

    net, (x, y) = network(), images_and_labels(40)
    theirs = FastGradientMethod(by_art(net), norm=np.inf, eps=eps).generate(x.numpy(), np.eye(3)[y])
    torch.testing.assert_close(fgsm(away(net, y), x, eps), torch.from_numpy(theirs), rtol=0, atol=1e-6)


def test_towards_a_label_it_equals_the_adversarial_robustness_toolbox():
    from art.attacks.evasion import FastGradientMethod

    net, (x, y) = network(), images_and_labels(40)
    attack = FastGradientMethod(by_art(net), norm=np.inf, eps=0.1, targeted=True)
    theirs = attack.generate(x.numpy(), np.eye(3)[(y + 1) % 3])
    ours = fgsm(toward(net, (y + 1) % 3), x, 0.1)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-6)


def test_normalised_images_with_a_radius_per_channel_give_the_same_attack():
    mean, std = torch.tensor([0.2, 0.5]).view(1, 2, 1, 1), torch.tensor([0.1, 0.7]).view(1, 2, 1, 1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, 5), nn.Tanh(), nn.Linear(5, 3))
    x, y = torch.rand(8, 2, 3, 3), torch.randint(3, (8,))
    plain = fgsm(away(lambda p: net((p - mean) / std), y), x, 0.2)
    scaled = fgsm(away(net, y), (x - mean) / std, 0.2 / std, low=(0 - mean) / std, high=(1 - mean) / std)
    torch.testing.assert_close(scaled * std + mean, plain, rtol=0, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 2), st.integers(0, 10**6))
def test_the_result_stays_within_eps_and_within_the_range(eps, seed):
    torch.manual_seed(seed)
    x, y = torch.rand(3, 1, 4, 4), torch.randint(3, (3,))
    changed = fgsm(away(network(), y), x, eps)
    assert (changed - x).abs().max() <= eps + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_parameters_get_no_gradient_and_statistics_stay():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).eval()
    x, y = images_and_labels(4)
    net(x).sum().backward()
    before = [p.grad.clone() for p in net.parameters()]
    kept = {k: v.clone() for k, v in net.state_dict().items()}
    changed = fgsm(away(net, y), x, 0.1)
    assert all(torch.equal(p.grad, old) for p, old in zip(net.parameters(), before, strict=True))
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())
    assert not changed.requires_grad
    assert not x.requires_grad


def test_an_attack_works_where_gradients_are_switched_off():
    net, (x, y) = network(), images_and_labels(4)
    expected = fgsm(away(net, y), x, 0.1)
    with torch.no_grad():
        assert torch.equal(fgsm(away(net, y), x, 0.1), expected)


def test_samples_without_a_gradient_are_found():
    net = linear([[1.0] * 16, [-1.0] * 16])
    x = torch.stack([torch.full((1, 4, 4), 0.01), torch.full((1, 4, 4), 100.0)])
    # the first is unsure; at a margin of 3200 nats a softmax in float32 is exactly 1
    assert stuck(away(net, torch.tensor([0, 0])), x).tolist() == [False, True]
    one_pixel = linear([[1.0] + [0.0] * 15, [-1.0] + [0.0] * 15])
    assert stuck(away(one_pixel, torch.tensor([0, 0])), x).tolist() == [False, True]
    rounded = lambda images: net(images.round())  # noqa: E731 - a step function
    assert stuck(away(rounded, torch.tensor([0, 0])), x).all()
    constant = lambda images: torch.zeros(len(images))  # noqa: E731 - no path from the images at all
    assert torch.equal(fgsm(constant, x.clamp(max=1), 0.1), x.clamp(max=1))


@pytest.mark.parametrize("margin", [-5, 18, 25, 31, 45, 80])
@pytest.mark.parametrize("loss", [away, toward])
def test_far_ahead_the_gradient_is_still_that_of_exact_arithmetic(margin, loss):
    # logits (m, 0, -1) + W x at x = 1/2: an odd margin, 3 classes, weights without symmetry
    torch.manual_seed(0)
    weight = torch.randn(3, 16, dtype=torch.float64)
    weight -= weight.mean(1, keepdim=True)  # so that x = 1/2 everywhere leaves the logits alone
    bias = torch.tensor([float(margin), 0.0, -1.0])
    net = lambda images: images.flatten(1) @ weight.to(images.dtype).T + bias.to(images.dtype)  # noqa: E731
    x, y = torch.full((1, 1, 4, 4), 0.5), torch.tensor([0])
    # d (-ln p_0) = sigmoid(d) (q_1 w_1 + q_2 w_2 - w_0), q the softmax of the others, d = ln(1 + 1/e) - m
    others = np.array([1, np.exp(-1)])
    q, ahead = others / others.sum(), 1 / (1 + np.exp(margin) / others.sum())
    w = weight.numpy()
    expected = torch.from_numpy(ahead * (q[0] * w[1] + q[1] * w[2] - w[0]))
    expected = expected if loss is away else -expected
    for images in (x, x.double()):
        found = gradient(loss(net, y), images).flatten().double()
        torch.testing.assert_close(found / ahead, expected / ahead, rtol=1e-5, atol=1e-6)
    if margin <= 25:
        exact = F.cross_entropy(net(x.double().requires_grad_()), y, reduction="none")
        torch.testing.assert_close(away(net, y)(x), exact.detach(), rtol=1e-4, atol=0)


def test_an_attack_on_a_network_in_float32_that_is_far_ahead_is_that_on_the_one_in_float64():
    torch.manual_seed(0)
    net, (x, y) = network(), images_and_labels(60)
    with torch.no_grad():
        y = net(x).argmax(1)
        net[-1].weight *= 300
    margin = net(x).topk(2).values.diff().neg().flatten()
    assert ((margin > 20) & (margin < 80)).sum() > 20
    moved = fgsm(away(net, y), x, 0.1)
    exact = fgsm(away(copy.deepcopy(net).double(), y), x.double(), 0.1)
    assert (moved - exact).abs().flatten(1).amax(1)[margin < 80].max() < 1e-6


def test_batch_normalisation_in_training_mode_shows_samples_to_each_other():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3))
    x, y = images_and_labels(4)
    together = gradient(away(net, y), x)
    exact = x.clone().requires_grad_()
    F.cross_entropy(net(exact), y, reduction="sum").backward()
    torch.testing.assert_close(together, exact.grad)
    own = torch.zeros_like(y, dtype=torch.float32).index_fill(0, torch.tensor(0), 1)
    alone = gradient(lambda images: own * away(net, y)(images), x)
    assert not torch.allclose(together[0], alone[0], atol=1e-3)  # the losses of the others count too
    assert alone[1:].abs().max() > 1e-3
    net.eval()
    torch.testing.assert_close(gradient(away(net, y), x)[:1], gradient(away(net, y[:1]), x[:1]))


def test_a_gradient_that_is_no_number_is_stuck_like_one_of_zero():
    x = torch.stack([torch.full((1, 4, 4), v) for v in (0.5, 0.25, 0.75)])
    # the root has no slope at 0: 0 times infinity
    broken = lambda images: ((images.flatten(1) - 0.5).sum(1) * 0).sqrt() + images.flatten(1)[:, 0] * 0  # noqa: E731
    assert gradient(broken, x).isnan().all()
    assert torch.equal(fgsm(broken, x, 0.1), x)
    assert stuck(broken, x).all()


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf"), torch.tensor([0.1, -0.1])])
def test_a_radius_that_is_none_is_refused(eps):
    x, y = images_and_labels(2)
    with pytest.raises(UsageError, match="eps must be finite and at least 0"):
        fgsm(away(network(), y), x, eps)


def test_a_loss_that_is_a_mean_over_the_batch_is_refused():
    x, y = images_and_labels(4)
    with pytest.raises(ShapeError, match=r"one number per image, \(4,\), got \(\)"):
        fgsm(lambda images: F.cross_entropy(network()(images), y), x, 0.1)
