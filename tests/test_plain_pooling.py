"""Pooling in plain Python: the examples of the sources, and torch in float64."""

import pytest
import torch
import torch.nn.functional as F
from plain_made import as_map, as_tensor

from concord.plain.pooling import AveragePooling, MaxPooling


def test_the_example_of_source_002():
    given = [[12.0, 20, 30, 0], [8, 12, 2, 0], [34, 70, 37, 4], [112, 100, 25, 12]]
    assert MaxPooling((4, 4, 1), 2).forward(given) == [[20, 30], [112, 37]]


def test_the_slopes_of_source_003_go_to_x12_x23_x31_and_x34():
    pool = MaxPooling((4, 4, 1), 2)
    assert pool.forward([[0.0, 9, 1, 2], [3, 4, 8, 5], [7, 1, 2, 6], [3, 2, 1, 0]]) == [[9, 8], [7, 6]]
    dx = pool.backward([[0.1, 0.2], [0.3, 0.4]])
    assert dx == [[0, 0.1, 0, 0], [0, 0, 0.2, 0], [0.3, 0, 0, 0.4], [0, 0, 0, 0]]


def test_of_equal_numbers_the_first_wins():
    pool = MaxPooling((2, 2, 1), 2)
    pool.forward([[1.0, 3.0], [3.0, 3.0]])
    assert pool.backward([[5.0]]) == [[0, 5], [0, 0]]


def test_an_average_shares_its_slope():
    pool = AveragePooling((2, 2, 1), 2)
    assert pool.forward([[1.0, 2.0], [3.0, 8.0]]) == [[3.5]]
    assert pool.backward([[6.0]]) == [[1.5, 1.5], [1.5, 1.5]]


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 1), (2, 3), (3, 3)])  # (3, 2) overlaps
@pytest.mark.parametrize(
    ("ours", "torchs"), [(MaxPooling, F.max_pool2d), (AveragePooling, F.avg_pool2d)], ids=["max", "average"]
)
def test_both_equal_torch_forward_and_backward(ours, torchs, size, stride):
    torch.manual_seed(size * 10 + stride)
    x = torch.randn(2, 7, 8, dtype=torch.float64, requires_grad=True)
    y = torchs(x[None], size, stride)[0]
    dy = torch.randn_like(y)
    y.backward(dy)
    pool = ours((7, 8, 2), size, stride)
    torch.testing.assert_close(as_tensor(pool.forward(as_map(x.detach())), 2), y.detach(), rtol=0, atol=1e-14)
    assert pool.output_shape == (y.shape[1], y.shape[2], 2)
    torch.testing.assert_close(as_tensor(pool.backward(as_map(dy)), 2), x.grad, rtol=0, atol=1e-14)


def test_a_window_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a window of 5 does not fit into 4"):
        MaxPooling((4, 6, 1), 5)
