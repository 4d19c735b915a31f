"""Darknet's layers against literal loops over its formulas, and against torch where both agree."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from concord.layers.darknet import MaxPool, Reorg, convolution


def pooled(x, size, stride, padding):
    """Darknet's window starts at i stride - floor(padding / 2) and ignores what lies outside."""
    h, w = x.shape
    rows, columns = (h + padding - size) // stride + 1, (w + padding - size) // stride + 1
    out = np.full((rows, columns), -np.inf)
    for i, j in np.ndindex(rows, columns):
        for k, m in np.ndindex(size, size):
            a, b = i * stride - padding // 2 + k, j * stride - padding // 2 + m
            if 0 <= a < h and 0 <= b < w:
                out[i, j] = max(out[i, j], x[a, b])
    return out


def reorganised(x, stride):
    """For every number of the map read again in memory order: where it goes, as darknet counts it."""
    c, h, w = x.shape
    out, flat, few = np.zeros(x.size), x.reshape(-1), c // stride**2
    for k, j, i in np.ndindex(c, h, w):
        row, column = j * stride + k // few // stride, i * stride + k // few % stride
        out[i + w * (j + h * k)] = flat[column + w * stride * (row + h * stride * (k % few))]
    return out.reshape(c * stride**2, h // stride, w // stride)


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(2, 1, 1), (2, 2, 1), (2, 2, 0), (5, 1, 4), (3, 2, 2), (4, 3, 3), (3, 1, 0)],
)
def test_pooling_is_the_literal_loop(size, stride, padding):
    x = torch.randn(2, 3, 7, 6, generator=torch.Generator().manual_seed(0))
    made = MaxPool(size, stride, padding)(x)
    for b, c in np.ndindex(2, 3):
        np.testing.assert_array_equal(made[b, c], pooled(x[b, c].numpy(), size, stride, padding))


def test_pooling_of_stride_one_keeps_the_size_and_looks_ahead():
    x = torch.tensor([[[[1.0, 5, 2], [7, 3, 4]]]])
    assert MaxPool(2, 1)(x).tolist() == [[[[7, 5, 4], [7, 4, 4]]]]


def test_pooling_of_negative_numbers_takes_nothing_from_outside():
    assert MaxPool(2, 1)(torch.full((1, 1, 2, 2), -3.0)).eq(-3).all()


@given(few=st.integers(1, 3), stride=st.integers(1, 3), rows=st.integers(1, 3), columns=st.integers(1, 3))
def test_reorg_is_the_literal_loop(few, stride, rows, columns):
    x = np.arange(few * stride**4 * rows * columns, dtype=np.float32)
    x = x.reshape(few * stride**2, rows * stride, columns * stride)
    made = Reorg(stride)(torch.from_numpy(np.stack([x, -x])))
    np.testing.assert_array_equal(made[0], reorganised(x, stride))
    np.testing.assert_array_equal(made[1], -made[0])


def test_reorg_is_not_the_usual_exchange_of_space_for_channels():
    x = torch.arange(16.0).reshape(1, 4, 2, 2)
    assert Reorg(2)(x).flatten().tolist() == [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15]
    assert nn.PixelUnshuffle(2)(x).flatten().tolist() == list(range(16))


def test_reorg_passes_its_gradient_back_to_where_the_numbers_were():
    x = torch.randn(1, 8, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Reorg(2), x)


def test_a_convolution_is_normalised_and_leaks_a_tenth():
    layer = convolution(1, 1, 1).eval()
    with torch.no_grad():
        layer[0].weight.fill_(2)
        for name, value in {"running_mean": 1, "running_var": 4 - 1e-5, "weight": 3, "bias": 0.5}.items():
            getattr(layer[1], name).fill_(value)
    made = layer(torch.tensor([[[[5.0, -1.0]]]]))  # 2 x - 1 over 2, times 3, plus 0.5
    torch.testing.assert_close(made, torch.tensor([[[[14.0, -0.4]]]]))


def test_running_statistics_move_by_a_hundredth():
    norm = convolution(1, 1, 1).train()[1]
    norm(torch.tensor([[[[2.0, 4.0]]]]))
    assert norm.running_mean.item() == pytest.approx(0.03)
