"""Counting takes no longer for a longer map, whatever it is resized to."""

from time import thread_time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from concord.cost.count import count
from concord.cost.field import PHASES


def conv(c_in, c_out):
    return nn.Conv2d(c_in, c_out, 3, padding=1)


class UNet(nn.Module):
    """Two levels; both ways up are bilinear with aligned corners: no two lengths have a common factor."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = conv(3, 4), conv(4, 4), conv(4, 4)
        self.up2, self.up1 = conv(8, 4), conv(8, 4)

    def forward(self, x):
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        inner = self.three(F.max_pool2d(two, 2))
        inner = self.up2(torch.cat([two, resized(inner, two)], 1))
        return self.up1(torch.cat([one, resized(inner, one)], 1))


def resized(x, like):
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def seconds(network, shape):
    """Of processor time, so that other work does not matter: the shortest of three counts."""
    times = []
    for _ in range(3):
        start = thread_time()
        count(network, shape)
        times.append(thread_time() - start)
    return min(times)


def test_a_u_net_that_aligns_corners_takes_no_longer_for_a_large_picture():
    network = UNet()
    small, large = seconds(network, (3, 224, 224)), seconds(network, (3, 4096, 4096))
    assert large < 4 * small
    assert seconds(network, (3, 1024, 1024)) < 4 * small


def test_the_field_of_that_u_net_is_exact_up_to_about_a_thousand_pixels_and_bounded_beyond():
    def field(side):
        return count(UNet(), (3, side, side)).receptive_field.fields[3]

    told = [field(side) for side in (224, 512, 960, 1024, 4096)]
    assert [one.exact for one in told] == [True, True, True, False, False]
    assert [(one.size, one.jump) for one in told[:3]] == [(30, 1)] * 3
    assert all(30 <= one.size <= 40 and one.jump == 1 for one in told[3:])


def test_no_unit_of_that_u_net_sees_beyond_its_bound_or_much_less():
    network = UNet().double()
    x = torch.ones(1, 3, 1024, 8, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(1)
    y = network(x)
    field = count(network, x).receptive_field.fields[2]
    for unit in (0, 1, 2, 3, 500, 501, 502, 503, 1020, 1021, 1022, 1023):
        (gradient,) = torch.autograd.grad(y[0, :, unit].sum(), x, retain_graph=True)
        rows = gradient.abs().sum((0, 1, 3)).nonzero()[:, 0].tolist()
        low, high = field.region(unit)
        assert low <= rows[0] <= rows[-1] <= high
        assert rows[0] - low + high - rows[-1] <= 10


class Skip(nn.Module):
    """A resizing, then one level of a U-Net whose way up is a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv1d(1, 1, 2, 2), nn.ConvTranspose1d(1, 1, 2, 2)

    def forward(self, x):
        x = F.interpolate(x, size=3002, mode="linear", align_corners=True)
        return x + self.up(self.down(x))


def test_a_bound_carried_through_a_skip_is_not_rounded_on_the_way():
    network = Skip().double()
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(1)
    x = torch.ones(1, 1, 4097, dtype=torch.float64, requires_grad=True)
    field, y = count(network, x).receptive_field.fields[2], network(x)
    assert not field.exact
    for unit in range(0, 3002, 97):
        (gradient,) = torch.autograd.grad(y[0, 0, unit], x, retain_graph=True)
        seen = gradient[0, 0].nonzero()[:, 0].tolist()
        low, high = field.region(unit)
        assert low <= seen[0] <= seen[-1] <= high


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("size", [1021, 30_011])
def test_an_upsampling_to_a_prime_number_of_positions(mode, size):
    network = nn.Sequential(nn.Upsample(size=size, mode=mode), nn.Conv1d(1, 1, 3, padding=1))
    assert seconds(network, (1, 8)) < 0.1
    field = count(network, (1, 8)).receptive_field.fields[2]
    assert (field.exact, field.period <= PHASES) == (size == 1021, True)
    assert field.jump * size == 8
    assert [field.region(unit) for unit in (0, size // 2, size - 1)] == [(0, 0), (3, 4), (7, 7)]


def test_adaptive_pooling_between_two_prime_lengths():
    network = nn.AdaptiveAvgPool1d(1_000_003)
    assert seconds(network, (1, 1_000_033)) < 0.1
    # windows of two positions, but for two at the ends: ... n + m - 1
    assert count(network, (1, 1_000_033)).other_operations == 1_000_033 + 1_000_003 - 1
