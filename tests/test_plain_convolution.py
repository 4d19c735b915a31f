"""Convolution in plain Python: by hand, and against torch in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from plain_made import as_map, as_tensor, give

from concord.plain.convolution import Convolution, by_column, by_row, products
from concord.plain.maps import cropped, flat, output_size, padded, rows

X = [[1.0, 2, 0, 1, 3], [0, 1, 4, 2, 1], [2, 3, 1, 0, 2], [1, 0, 2, 3, 1], [3, 1, 0, 2, 4]]
W = [[1.0, 0, -1], [2, 1, 0], [0, -1, 1]]


def test_y11_and_y12_of_source_003_are_its_sums():
    conv = Convolution((5, 5, 1), 1, 3, padding=1)
    conv.put(0, W, 0.5)
    y = conv.forward(X)
    (x11, x12, x13, *_), (x21, x22, x23, *_) = X[0], X[1]
    (_, _, _), (w21, w22, w23), (w31, w32, w33) = W
    assert y[0][0] == pytest.approx(0.5 + x11 * w22 + x12 * w23 + x21 * w32 + x22 * w33, abs=1e-14)
    y12 = x11 * w21 + x12 * w22 + x13 * w23 + x21 * w31 + x22 * w32 + x23 * w33
    assert y[0][1] == pytest.approx(0.5 + y12, abs=1e-14) == 7.5
    assert (len(y), len(y[0])) == (5, 5)


def test_the_corner_of_the_picture_is_in_four_windows_as_the_source_counts():
    conv = Convolution((5, 5, 1), 1, 3, padding=1)
    conv.put(0, W, 0.0)
    conv.forward(X)
    dy = [[10.0 * i + j + 1 for j in range(5)] for i in range(5)]
    dx = conv.backward(dy)
    (w11, w12, _), (w21, w22, _), _ = W
    assert dx[0][0] == dy[0][0] * w22 + dy[0][1] * w21 + dy[1][0] * w12 + dy[1][1] * w11
    dw11 = sum(dy[i][j] * X[i - 1][j - 1] for i in range(1, 5) for j in range(1, 5))
    assert by_row(conv.weights_slope[0], 3, 1)[0][0] == dw11


def test_output_size_is_the_formula_of_the_source():
    assert output_size(5, 3, 1, 1) == 5
    assert output_size(7, 3, 2) == 3  # Yao's picture of stride 2
    assert output_size(120, 3, 1) == 118
    assert output_size(6, 3, 2) == 2  # the floor


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(
    ("shape", "filters", "size"), [((7, 6, 3), 2, 3), ((5, 8, 2), 3, 2), ((4, 4, 1), 1, 4)]
)
def test_forward_and_every_gradient_equal_torch(shape, filters, size, stride, padding):
    torch.manual_seed(stride * 10 + padding)
    height, width, channels = shape
    x = torch.randn(channels, height, width, dtype=torch.float64, requires_grad=True)
    w = torch.randn(filters, channels, size, size, dtype=torch.float64, requires_grad=True)
    b = torch.randn(filters, dtype=torch.float64, requires_grad=True)
    y = F.conv2d(x[None], w, b, stride=stride, padding=padding)[0]
    dy = torch.randn_like(y) * (torch.rand_like(y) < 0.5)  # zeros too: these are left out
    y.backward(dy)
    conv = Convolution(shape, filters, size, stride=stride, padding=padding)
    give(conv, w.detach(), b.detach())
    ours = conv.forward(as_map(x.detach()))
    assert conv.output_shape == (y.shape[1], y.shape[2], filters)
    torch.testing.assert_close(as_tensor(ours, filters), y.detach(), rtol=0, atol=1e-10)
    dx = conv.backward(as_map(dy))
    torch.testing.assert_close(as_tensor(dx, channels), x.grad, rtol=0, atol=1e-10)
    for f in range(filters):
        slope = as_tensor(by_row(conv.weights_slope[f], size, channels), channels)
        torch.testing.assert_close(slope, w.grad[f], rtol=0, atol=1e-10)
    assert conv.biases_slope == pytest.approx(b.grad.tolist(), abs=1e-10)


def test_without_any_slope_the_gradients_are_zeros_of_the_right_length():
    conv = Convolution((4, 4, 2), 2, 3)
    conv.forward([[1.0] * 8] * 4)
    conv.weight_gradient([[0.0] * 4] * 2)
    assert conv.weights_slope == [[0.0] * 18] * 2
    assert conv.biases_slope == [0, 0]


numbers = st.floats(-100, 100)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30), numbers)
def test_the_law_of_cosines_is_the_sum_of_products(pairs, bias):
    p, w = zip(*pairs, strict=True)
    direct = sum(a * b for a, b in pairs) + bias
    room = 1e-15 * sum(a * a + b * b for a, b in pairs)
    assert products([p], [w], [bias])[0] == pytest.approx(direct, abs=4 * room + 1e-13)


def test_pixels_of_0_to_255_are_summed_as_they_stand():
    torch.manual_seed(0)
    x = torch.randint(0, 256, (3, 9, 9)).double()
    w, b = torch.randn(2, 3, 7, 7, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    conv = Convolution((9, 9, 3), 2, 7)
    give(conv, w, b)
    expected = F.conv2d(x[None], w, b)[0]
    torch.testing.assert_close(as_tensor(conv.forward(as_map(x)), 2), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1e20, 1e200])
def test_large_weights_are_not_lost_in_the_law_of_cosines(size):
    assert products([(1.0, -2.0)], [(3 * size, size)], [0.5]) == [size]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_padding_and_flattening_are_undone_by_their_inverses(height, width, padding, channels):
    image = [[float(10 * r + i) for i in range(width * channels)] for r in range(height)]
    assert cropped(padded(image, padding, channels), padding, channels) == image
    assert rows(flat(image), width * channels) == image
    square = [row[:channels] * height for row in image]
    assert by_row(by_column(square, channels), height, channels) == square


def test_descent_takes_the_rate_times_the_gradient_off():
    conv = Convolution((1, 2, 1), 1, 1)
    conv.put(0, [[3.0]], 1.0)
    conv.forward([[2.0, 5.0]])
    conv.backward([[1.0, -3.0]])
    conv.descend(0.1)
    assert conv.weights[0] == pytest.approx([3 - 0.1 * (2 - 15)])
    assert conv.biases == pytest.approx([1 - 0.1 * (1 - 3)])


def test_wrong_sizes_are_refused_with_what_was_expected():
    with pytest.raises(ValueError, match="a window of 6 does not fit into 5; a larger input"):
        Convolution((5, 5, 1), 1, 6)
    with pytest.raises(ValueError, match="window of 8 does not fit into 5 with 1 zeros on both sides"):
        Convolution((5, 5, 1), 1, 8, padding=1)
    with pytest.raises(
        ValueError, match=r"expected 5 rows of 5 \* 1 = 5 numbers, got 5 rows of 4 or 5 numbers"
    ):
        Convolution((5, 5, 1), 1, 3).forward([*X[:4], X[4][:4]])
