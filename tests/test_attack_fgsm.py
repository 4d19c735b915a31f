"""The fast gradient sign method beside figures worked out by hand, closed forms, and another library."""

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


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf"), torch.tensor([0.1, -0.1])])
def test_a_radius_that_is_none_is_refused(eps):
    x, y = images_and_labels(2)
    with pytest.raises(UsageError, match="eps must be finite and at least 0"):
        fgsm(away(network(), y), x, eps)


def test_a_loss_that_is_a_mean_over_the_batch_is_refused():
    x, y = images_and_labels(4)
    with pytest.raises(ShapeError, match=r"one number per image, \(4,\), got \(\)"):
        fgsm(lambda images: F.cross_entropy(network()(images), y), x, 0.1)
