"""Operations worked out step by step in plain Python: by hand, and against torch in float64."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from concord.plain.convolution import Convolution
from concord.plain.grids import LARGEST
from concord.plain.worked_convolution import convolved
from concord.plain.worked_pooling import mean, pooled
from concord.plain.worked_separable import separable
from concord.plain.worked_transposed import transposed

X = [[1, 2], [3, 4]]
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))
ZEROS = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def rows(draw, most=5):
    numbers = st.floats(-9, 9, allow_nan=False) | st.integers(-9, 9)
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    return [[draw(numbers) for _ in range(width)] for _ in range(height)]


def tensor(numbers):
    """(H, W) -> (1, 1, H, W)"""
    return torch.tensor([[float(x) for x in row] for row in numbers], dtype=torch.float64)[None, None]


def equal(output, expected):
    torch.testing.assert_close(tensor(output), expected[:, :1], rtol=1e-12, atol=1e-12)


# --- transposed convolution ---------------------------------------------------------


def test_transposed_convolution_by_hand_is_not_what_merrikhi_prints():
    t = transposed(X, X)
    assert t.output == ((1, 4, 4), (6, 20, 16), (9, 24, 16))  # errata, row 1
    assert (t.sums.input, t.sums.kernel, t.sums.output) == (10, 10, 100)
    assert t.spread == ((1, 2), (3, 4))
    assert t.flipped == ((4, 3), (2, 1))
    assert t.positions[5].under == ((2, 0), (4, 0))
    assert t.positions[5].value == 2 * 4 + 0 * 3 + 4 * 2 + 0 * 1 == 16


def test_stride_2_inserts_zeros_and_gives_the_kronecker_product():
    t = transposed(X, X, stride=2)
    assert t.spread == ((1, 0, 2), (0, 0, 0), (3, 0, 4))
    assert t.output == ((1, 2, 2, 4), (3, 4, 6, 8), (3, 6, 4, 8), (9, 12, 12, 16))  # errata, row 1b


@given(rows(), rows(3), PAIRS, ZEROS, ZEROS, PAIRS)
def test_transposed_convolution_equals_torch(x, w, stride, padding, extra, dilation):
    assume(all(o < max(s, d) for o, s, d in zip(extra, stride, dilation, strict=True)))
    sizes = zip((len(x), len(x[0])), (len(w), len(w[0])), stride, padding, extra, dilation, strict=True)
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + o + 1 > 0 for n, k, s, p, o, d in sizes))
    t = transposed(x, w, stride=stride, padding=padding, output_padding=extra, dilation=dilation)
    equal(t.output, F.conv_transpose2d(tensor(x), tensor(w), None, stride, padding, extra, 1, dilation))
    assert (t.sums is None) == (padding != (0, 0))
    if t.sums:
        assert t.sums.output == pytest.approx(t.sums.input * t.sums.kernel, abs=1e-9)


@given(rows(), rows(3), PAIRS, ZEROS, PAIRS)
def test_transposed_convolution_is_the_transpose_of_the_matrix_of_convolution(
    x, w, stride, padding, dilation
):
    # <conv(x), y> = <x, transposed(y)>, with the output padding that restores the size of x
    size = len(x), len(x[0])
    room = zip(size, (len(w), len(w[0])), padding, dilation, stride, strict=True)
    left = [(n + 2 * p - d * (k - 1) - 1, s) for n, k, p, d, s in room]
    assume(min(rest for rest, _ in left) >= 0)
    c = convolved(x, w, stride=stride, padding=padding, dilation=dilation)
    y = [[i - 2 * j + 1 for j in range(len(c.output[0]))] for i in range(len(c.output))]
    extra = tuple(rest % s for rest, s in left)
    t = transposed(y, w, stride=stride, padding=padding, output_padding=extra, dilation=dilation)
    ahead = sum(a * b for r, q in zip(c.output, y, strict=True) for a, b in zip(r, q, strict=True))
    back = sum(a * b for r, q in zip(t.output, x, strict=True) for a, b in zip(r, q, strict=True))
    assert back == pytest.approx(ahead, abs=1e-6)


# --- convolution and pooling --------------------------------------------------------


def test_convolution_by_hand_does_not_flip_the_kernel():
    c = convolved([[1, 2, 0], [3, 4, 1], [5, 0, 2]], [[1, 2], [0, -1]])
    assert c.output == ((1 + 4 - 4, 2 + 0 - 1), (3 + 8 - 0, 4 + 2 - 2))
    assert [step.under for step in c.positions][1] == ((2, 0), (4, 1))


@given(rows(), rows(3), PAIRS, ZEROS, PAIRS)
def test_convolution_equals_torch(x, w, stride, padding, dilation):
    sizes = zip((len(x), len(x[0])), (len(w), len(w[0])), padding, dilation, strict=True)
    assume(all(n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in sizes))
    c = convolved(x, w, stride=stride, padding=padding, dilation=dilation)
    equal(c.output, F.conv2d(tensor(x), tensor(w), None, stride, padding, dilation))


def test_convolution_equals_the_layer_of_plain_python():
    x, w = [[1, 2, 0, 1], [0, 1, 4, 2], [2, 3, 1, 0], [5, 1, 2, 2]], [[1, 0, -1], [2, 1, 0], [0, -1, 1]]
    layer = Convolution((4, 4, 1), 1, 3, stride=2, padding=1)
    layer.put(0, w, 0.0)
    for row, expected in zip(convolved(x, w, stride=2, padding=1).output, layer.forward(x), strict=True):
        assert row == pytest.approx(expected, abs=1e-12)


@given(rows(), PAIRS, PAIRS, ZEROS, st.sampled_from(["max", "mean"]))
def test_pooling_equals_torch(x, window, stride, padding, kind):
    assume(all(2 * p <= k for p, k in zip(padding, window, strict=True)))
    assume(all(n + 2 * p >= k for n, p, k in zip((len(x), len(x[0])), padding, window, strict=True)))
    pool = {"max": F.max_pool2d, "mean": F.avg_pool2d}[kind]
    p = pooled(x, window, kind=kind, stride=stride, padding=padding)
    equal(p.output, pool(tensor(x), window, stride, padding))


def test_padding_of_max_pooling_never_wins_and_that_of_the_mean_counts_as_zero():
    x = [[-1, -3, -2], [-5, -4, -6]]
    assert pooled(x, 2, stride=2, padding=1).output == ((-1, -2), (-5, -4))
    assert pooled(x, 2, kind="mean", stride=2, padding=1).output == (
        (Fraction(-1, 4), Fraction(-5, 4)),
        (Fraction(-5, 4), Fraction(-5, 2)),
    )


def test_means_of_whole_numbers_are_exact():
    assert mean([1, 2, 4]) == Fraction(7, 3)
    assert type(mean([1, 2, 3])) is int
    assert mean([0.5, 1.0]) == 0.75


# --- separable ------------------------------------------------------------------------


def test_separable_convolution_equals_one_convolution_with_the_products_of_its_weights():
    torch.manual_seed(3)
    x, w, v = torch.randn(3, 5, 4).double(), torch.randn(3, 2, 2).double(), torch.randn(4, 3).double()
    s = separable(x.tolist(), w.tolist(), v.tolist(), stride=(2, 1), padding=1, dilation=(1, 2))
    whole = v[:, :, None, None] * w  # (N, M, K, K)
    expected = F.conv2d(x[None], whole, None, (2, 1), 1, (1, 2))[0]
    torch.testing.assert_close(torch.tensor(s.output, dtype=torch.float64), expected)


def test_separable_convolution_by_hand():
    s = separable([X, [[0, 1], [1, 0]]], [[[1, 0], [0, 1]], [[1, 2], [3, 4]]], [[1, 2], [-1, 1], [0, 3]])
    assert [step.output for step in s.depthwise] == [((5,),), ((2 + 3,),)]
    assert s.output == (((5 + 2 * 5,),), ((-5 + 5,),), ((3 * 5,),))


# --- exact ------------------------------------------------------------------------------


def test_whole_numbers_stay_whole_and_fractions_exact():
    assert all(type(value) is int for row in transposed(X, X, stride=2).output for value in row)
    tenth = [[Fraction(1, 10)] * 3] * 3
    assert convolved(tenth, tenth).output == ((Fraction(9, 100),),)


# --- refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: convolved([[1, 2], [3]], [[1]]), "row 2 of the input has length 1 and row 1 has length 2"),
        (lambda: convolved([], [[1]]), "the input is empty"),
        (lambda: convolved(X, [[]]), "the kernel is empty"),
        (lambda: convolved(X, [[1, 2, 3]]), "window of 3 does not fit into 2;"),
        (lambda: convolved(X, X, dilation=3, padding=(1, 0)), r"2 \(dilation 3: 4\) does not fit into 2;"),
        (lambda: convolved(X, X, stride=0), "stride must be at least 1, got 0"),
        (lambda: convolved(X, X, padding=-1), "padding must be at least 0, got -1"),
        (lambda: transposed(X, X, output_padding=1), "below the larger of stride and dilation, 1, got 1"),
        (lambda: transposed(X, X, padding=2), "padding 2 cuts off 4 of 3"),
        (lambda: transposed(X, X, stride=10**6), "1,000,002,000,001 numbers would have to be"),
        (lambda: convolved(X, X, padding=60), "14,884 numbers"),
        (lambda: pooled(X, 2, padding=(1, 2)), "at most half of the window of 2x2, got 1x2"),
        (lambda: pooled(X, 3), "window of 3 does not fit into 2"),
        (lambda: pooled(X, 2, kind="sum"), "max or mean, got 'sum'"),
        (lambda: separable([X], [X, X], [[1]]), "channels 1, kernels 2"),
        (lambda: separable([], [], [[1]]), "channels 0, kernels 0"),
        (lambda: separable([X, [[1]]], [X, X], [[1, 1]]), "channel 2 is 1x1 and channel 1 is 2x2"),
        (lambda: separable([X], [[[1, 2]]], [[1]]), "square, got 1x2"),
        (lambda: separable([X], [X], [[1, 2]]), "rows of pointwise weights have length 2, expected 1"),
    ],
)  # fmt: skip
def test_illegal_sizes_are_refused_with_what_is_legal(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_largest_padding_and_output_padding_that_messages_name_are_legal():
    assert transposed(X, X, padding=1).output == ((20,),)
    assert len(transposed(X, X, stride=3, output_padding=2).output) == 7
    assert LARGEST == 10_000
