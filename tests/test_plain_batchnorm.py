"""Batch normalisation: the four lines by hand, every gradient and the running statistics against torch."""

from math import sqrt
from random import Random

import pytest
import torch
import torch.nn.functional as F

from concord.plain import batchnorm
from concord.plain.batchnorm import Running

X = [1.0, 2.0, 6.0]  # mean 3, variance (4 + 1 + 9) / 3 = 14 / 3, unbiased 7


def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=True)


def test_the_four_lines_by_hand():
    found = batchnorm.forward(X, gamma=2.0, beta=10.0, eps=4 / 3)  # sigma^2 + eps = 6
    assert (found.mean, found.variance) == (3, pytest.approx(14 / 3))
    assert found.x_hat == pytest.approx([-2 / sqrt(6), -1 / sqrt(6), 3 / sqrt(6)])
    assert found.y == pytest.approx([10 - 4 / sqrt(6), 10 - 2 / sqrt(6), 10 + 6 / sqrt(6)])


def test_gradients_by_hand():
    # s^2 = 6, gamma = 2, dy = (1, 0, 0): dx^ = (2, 0, 0), dL/dsigma^2 = -1/12 * 2 * -2/sqrt(6),
    # dL/dmu = -2/sqrt(6), dx_b = (2, 0, 0)/sqrt(6) + (2/9)(-2, -1, 3)/sqrt(6) - (2/3)(1, 1, 1)/sqrt(6)
    passed = batchnorm.forward(X, gamma=2.0, beta=10.0, eps=4 / 3)
    dx, dgamma, dbeta = batchnorm.backward([1.0, 0.0, 0.0], passed, 2.0, eps=4 / 3)
    assert dx == pytest.approx([8 / 9 / sqrt(6), -8 / 9 / sqrt(6), 0], abs=1e-15)
    assert (dgamma, dbeta) == (pytest.approx(-2 / sqrt(6)), 1)


@pytest.mark.parametrize("seed", range(4))
def test_results_and_every_gradient_equal_torch(seed):
    random = Random(seed)
    size = random.randint(2, 9)
    values, dy = ([random.gauss(1, 3) for _ in range(size)] for _ in range(2))
    gamma, beta = random.gauss(0, 1), random.gauss(0, 1)
    x, weight, bias = tensor(values), tensor([gamma]), tensor([beta])
    y = F.batch_norm(x[:, None], None, None, weight, bias, training=True)[:, 0]
    y.backward(torch.tensor(dy, dtype=torch.float64))
    passed = batchnorm.forward(values, gamma, beta)
    dx, dgamma, dbeta = batchnorm.backward(dy, passed, gamma)
    assert passed.y == pytest.approx(y.tolist(), abs=1e-10)
    assert dx == pytest.approx(x.grad.tolist(), abs=1e-10)
    assert [dgamma, dbeta] == pytest.approx([weight.grad.item(), bias.grad.item()], abs=1e-10)


def test_a_channel_of_pictures_is_all_its_samples_and_places():
    pictures = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight, bias = tensor([0.5, -2.0, 1.5]), tensor([0.1, 0.2, -0.3])
    whole = F.batch_norm(pictures, None, None, weight, bias, training=True)
    for c in range(3):
        ours = batchnorm.forward(pictures[:, c].flatten().tolist(), weight[c].item(), bias[c].item())
        assert ours.y == pytest.approx(whole[:, c].flatten().tolist(), abs=1e-12)


def test_running_statistics_by_hand():
    # .9 * (0, 1) + .1 * (3, 7): the unbiased variance
    found = batchnorm.remember(Running(), batchnorm.forward(X, 1.0, 0.0))
    assert (found.mean, found.variance) == (pytest.approx(0.3), pytest.approx(1.6))


def test_training_and_testing_follow_torch_over_five_batches():
    random, module = Random(3), torch.nn.BatchNorm1d(1, dtype=torch.float64)
    running = Running()
    for size in (2, 5, 3, 8, 4):
        x = [random.gauss(4, 2) for _ in range(size)]
        module(torch.tensor(x, dtype=torch.float64)[:, None])
        running = batchnorm.remember(running, batchnorm.forward(x, 1.0, 0.0))
    assert running.mean == pytest.approx(module.running_mean.item(), abs=1e-12)
    assert running.variance == pytest.approx(module.running_var.item(), abs=1e-12)

    torch.nn.init.constant_(module.weight, 1.7)
    torch.nn.init.constant_(module.bias, -0.4)
    x = [1.0, 5.0, -2.0]
    theirs = module.eval()(torch.tensor(x, dtype=torch.float64)[:, None])[:, 0]
    assert batchnorm.while_testing(x, running, 1.7, -0.4) == pytest.approx(theirs.tolist(), abs=1e-12)


def test_while_testing_no_sample_sees_the_others():
    running = Running(3.0, 4.0)
    assert batchnorm.while_testing([5.0], running, 2.0, 1.0, eps=5.0) == [1 + 2 * 2 / 3]
    assert batchnorm.while_testing([100.0, 5.0], running, 2.0, 1.0, eps=5.0)[1] == 1 + 2 * 2 / 3


def test_a_constant_added_to_the_batch_or_a_positive_factor_has_no_effect():
    moved = batchnorm.forward([5 * x + 7 for x in X], 1.3, 0.2, eps=25e-5).y
    assert moved == pytest.approx(batchnorm.forward(X, 1.3, 0.2, eps=1e-5).y)


@pytest.mark.parametrize("batch", [[], [3.0]])
def test_batches_without_a_spread_are_refused(batch):
    with pytest.raises(ValueError, match=f"at least 2 values to normalise over, got {len(batch)}"):
        batchnorm.forward(batch, 1.0, 0.0)


def test_numbers_that_are_no_setting_are_refused():
    with pytest.raises(ValueError, match="eps: expected more than 0, got 0"):
        batchnorm.forward(X, 1.0, 0.0, eps=0.0)
    with pytest.raises(ValueError, match="running variance: expected at least 0, got -1"):
        batchnorm.while_testing(X, Running(0.0, -1.0), 1.0, 0.0)
    with pytest.raises(ValueError, match="dy: expected 3 numbers, got 2"):
        batchnorm.backward([1.0, 2.0], batchnorm.forward(X, 1.0, 0.0), 1.0)
