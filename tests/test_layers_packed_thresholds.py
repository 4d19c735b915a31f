"""Where batch normalisation changes its sign: a search against the layer itself on many floats."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from concord.layers.packed.thresholds import affine, has_statistics, threshold

LARGEST = torch.finfo(torch.float32).max
TINY = torch.finfo(torch.float32).smallest_normal
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SCALES = st.one_of(FLOATS, st.floats(-2, 2, width=32), st.sampled_from([0.0, -0.0, 1e-38, -1e38, 1e-45]))


def norm_of(channels, gamma, beta, mean, var, eps=1e-5, kind=nn.BatchNorm2d):
    norm = kind(channels, eps=eps).eval()
    with torch.no_grad():
        for own, numbers in (
            (norm.weight, gamma), (norm.bias, beta), (norm.running_mean, mean), (norm.running_var, var)
        ):  # fmt: skip
            own.copy_(torch.as_tensor(numbers, dtype=torch.float32))
    return norm


def many(cut):
    """Floats of every size, and the neighbours of the threshold."""
    rows = [0.0, -0.0, TINY, -TINY, 1e-45, -1e-45, LARGEST, -LARGEST, 1.0, -1.0]
    bits = torch.arange(
        -2139095040, 2139095040, 2 * 1000003, dtype=torch.int64
    )  # a few thousand of all floats
    every = torch.where(
        bits < 0, -(bits.abs().int().view(torch.float32)), bits.abs().int().view(torch.float32)
    )
    near = cut[cut.isfinite()]
    for way in (torch.inf, -torch.inf):
        step = near
        for _ in range(3):
            step = step.nextafter(torch.tensor(way))
            rows += step.tolist()
    rows = torch.tensor([*rows, *near.tolist(), *(-near).tolist()])
    x = torch.cat([rows, every])
    return x[x.isfinite()]


def assert_signs(norm):
    """For every float tried, the threshold says what the layer does, wherever it gives a number."""
    found = threshold(norm)
    x = many(found.cut)
    with torch.no_grad():
        grid = x[:, None].expand(-1, norm.num_features)
        if isinstance(norm, nn.BatchNorm2d):
            y = norm(grid[:, :, None, None].contiguous(memory_format=torch.channels_last))[:, :, 0, 0]
        else:
            y = norm(grid.contiguous())
    negative = found.side * grid < found.cut
    assert torch.equal(negative[~y.isnan()], (y < 0)[~y.isnan()])


def test_thresholds_by_hand():
    # gamma (x - mu) / sd + beta: mu - beta sd / gamma = 1 - 3 x 2 / 4 and, as gamma < 0, with -x instead of x
    norm = norm_of(4, [4.0, -4.0, 0.0, 0.0], [3.0, 3.0, 1.0, -1.0], [1.0] * 4, [4.0] * 4, eps=0)
    found = threshold(norm)
    assert found.cut.tolist() == [-0.5, -2.5, -torch.inf, torch.inf]
    assert found.side.tolist() == [1, -1, 1, 1]


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d])
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_thresholds_of_many_channels(kind, eps):
    draw = torch.Generator().manual_seed(0)
    gamma, beta, mean = torch.randn(3, 200, generator=draw)
    gamma[:20], beta[10:30] = 0, 0
    gamma[30:40] *= 1e-20
    beta[40:50] *= 1e20
    var = torch.rand(200, generator=draw) ** 4
    var[::9] = 0
    assert_signs(norm_of(200, gamma, beta, 20 * mean, 5 * var, eps, kind))


@settings(max_examples=60, deadline=None)
@given(SCALES, SCALES, FLOATS, st.floats(0, 2**100, width=32))
def test_thresholds_of_any_numbers(gamma, beta, mean, var):
    assert_signs(norm_of(1, [gamma], [beta], [mean], [var]))


def test_a_layer_without_factors_and_one_without_statistics():
    plain = nn.BatchNorm2d(3, affine=False).eval()
    plain.running_mean.copy_(torch.tensor([1.0, -2.0, 0.0]))
    assert_signs(plain)
    assert threshold(plain).cut.tolist() == [1.0, -2.0, 0.0]
    assert not has_statistics(nn.BatchNorm2d(3, track_running_stats=False))
    assert not has_statistics(nn.Identity())
    assert not has_statistics(None)


def test_factor_and_shift_by_hand():
    factor, shift = affine(norm_of(2, [4.0, -1.0], [3.0, 0.5], [1.0, 8.0], [4.0, 16.0], eps=0))
    assert factor.tolist() == [2.0, -0.25]
    assert shift.tolist() == [1.0, 2.5]
    plain = nn.BatchNorm2d(1, affine=False, eps=0).eval()
    plain.running_mean.fill_(3.0)
    plain.running_var.fill_(0.25)
    assert [t.tolist() for t in affine(plain)] == [[2.0], [-6.0]]
