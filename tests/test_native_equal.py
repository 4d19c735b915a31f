"""Every path of the kernel gives the numbers of the float layers, bit for bit."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from native_made import (
    COMPILED,
    LAYOUTS,
    PATHS,
    emulated,
    forced,
    images,
    laid,
    layer,
    module_of,
    needs_kernel,
)

from concord.native import ops, words
from concord.native.sizes import Sizes

SIZE = st.integers(1, 5)
WIDE = {"max_examples": 150, "deadline": None, "derandomize": True}


@st.composite
def drawn_sizes(draw):
    """Kernels of 1 to 5, also 3x1, with up to 130 channels and 65 filters."""
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    channels = groups * draw(st.integers(1, 130 // groups))
    filters = groups * draw(st.integers(1, 65 // groups))
    pair = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))  # noqa: E731
    return Sizes(
        channels, filters, pair(1, 5), pair(1, 3), pair(0, 3), pair(1, 2), groups, draw(st.booleans())
    )


@st.composite
def cases(draw):
    """A layer, and images that are at least as large as its kernel."""
    sizes = draw(drawn_sizes())
    height, width = (
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 20))
        for k, d, p in zip(sizes.kernel, sizes.dilation, sizes.padding, strict=True)
    )
    seed = draw(st.integers(0, 2**16))
    x = images(draw(st.integers(1, 3)), sizes.channels, height, width, seed)
    return layer(sizes, seed + 1), laid(x, draw(st.sampled_from(LAYOUTS)))


def vectors(count, seed):
    """Factor, shift and bias, a cut, and a side of -1 or +1."""
    drawn = torch.Generator().manual_seed(seed)
    factor, shift, bias, cut = torch.randn(4, count, generator=drawn)
    side = torch.randint(0, 2, (count,), generator=drawn) * 2.0 - 1
    return factor, shift, bias, cut, side


@pytest.mark.parametrize("path", PATHS)
@given(case=cases())
@settings(**WIDE)
def test_floats_and_bits_in_give_the_numbers_of_the_float_layer(path, case):
    made, x = case
    expected = emulated(made, x)
    flat = made.sizes.flat()
    with forced(path):
        own = ops.binary_conv(x, made.bits, made.arranged(), flat, made.alpha)
        bits = ops.binary_pack(x, made.sizes.padding[1], None, None, made.sizes.groups)
        again = ops.binary_conv(bits, made.bits, made.arranged(), flat, made.alpha)
    assert torch.equal(own, expected)
    assert torch.equal(again, expected)
    last = x.is_contiguous(memory_format=torch.channels_last)
    assert own.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


@pytest.mark.parametrize("path", PATHS)
@given(case=cases(), columns=st.integers(0, 3), seed=st.integers(0, 99))
@settings(**WIDE)
def test_bits_out_are_those_of_normalised_sums_with_their_shortcut(path, case, columns, seed):
    """Batch normalisation rounds once, as torch's does; a side of -1 turns a comparison round."""
    made, x = case
    factor, shift, bias, cut, side = vectors(made.sizes.filters, seed)
    sums = emulated(made, x) + bias[:, None, None]
    zero, one = torch.zeros_like(factor), torch.ones_like(factor)
    kept = F.batch_norm(sums, zero, one, factor, shift, eps=0.0)
    shortcut = images(*kept.shape, seed)
    scales = (made.alpha, bias, factor, shift)
    flat = made.sizes.flat()
    with forced(path):
        given_ = (x, made.bits, made.arranged(), flat)
        maps, both = ops.binary_conv_both(*given_, columns, *scales, shortcut, out_cut=cut, out_side=side)
        alone = ops.binary_conv_bits(*given_, columns, *scales, out_cut=cut, out_side=side)
    turned, limit = side[:, None, None], cut[:, None, None]
    assert torch.equal(maps, kept + shortcut)
    assert torch.equal(both, words.from_maps((kept + shortcut) * turned < limit, columns))
    assert torch.equal(alone, words.from_maps(kept * turned < limit, columns))


@pytest.mark.parametrize("path", PATHS)
@given(case=cases(), seed=st.integers(0, 99))
@settings(**WIDE)
def test_a_cut_before_the_signs_is_a_comparison_with_each_channel(path, case, seed):
    made, x = case
    *_, cut, side = vectors(made.sizes.channels, seed)
    cut[::3] = 0.0  # some values equal it
    negative = x * side[:, None, None] < cut[:, None, None]
    expected = emulated(made, 1 - 2 * negative.float())
    groups = made.sizes.groups
    with forced(path):
        own = ops.binary_conv(
            x, made.bits, made.arranged(), made.sizes.flat(), made.alpha, cut=cut, side=side
        )
        bits = ops.binary_pack(x, 2, cut, side, groups)
    assert torch.equal(own, expected)
    assert torch.equal(bits, words.from_maps(negative, 2, groups))


@pytest.mark.parametrize("path", PATHS)
@given(
    n=st.integers(1, 2), channels=st.integers(1, 130), side=st.integers(5, 11), kernel=st.integers(1, 4),
    stride=st.integers(1, 3), dilation=st.integers(1, 2), columns=st.integers(0, 2), data=st.data(),
)  # fmt: skip
@settings(**WIDE)
def test_pooling_of_bits_is_the_maximum_of_what_they_stand_for(
    path, n, channels, side, kernel, stride, dilation, columns, data
):
    """In channels that fall, a bit of 1 stands for a value above the cut."""
    padding = data.draw(st.integers(0, kernel // 2))
    x, falling = images(n, channels, side + 3, side), images(1, channels, 1, 1, side)[0, :, 0, 0] < 0
    rises = 1 - 2 * falling.float()[:, None, None]
    windows = {"kernel_size": (kernel, 1), "stride": stride, "padding": (padding, 0), "dilation": dilation}
    highest = F.max_pool2d(x, **windows)
    flat = [kernel, 1, stride, stride, padding, 0, dilation, dilation]
    with forced(path):
        bits = ops.binary_pack(x * rises, 0)
        own = ops.binary_max_pool(bits, words.to_words(falling), channels, flat, columns)
    assert torch.equal(own, words.from_maps(highest * rises < 0, columns))


@pytest.mark.parametrize("path", PATHS)
def test_a_window_without_a_place_in_the_image_holds_minus_infinity(path):
    """Rows -1 and 2 of an image of two rows: negative, in a channel that falls +1, and 0 behind the last."""
    bits, falling = torch.zeros(1, 2, 1, 2, dtype=torch.int64), torch.tensor([0b10, 0])
    with forced(path):
        own = ops.binary_max_pool(bits, falling, 66, [2, 1, 1, 1, 1, 0, 3, 1], 0)
    assert own.flatten().tolist() == [-1 - 0b10, 0b11]


@pytest.mark.parametrize("path", PATHS)
def test_a_worked_convolution(path):
    """Signs + - / - - of one channel, filter - + / + +, padding 0, alpha 3: at the corner 3 (+1 of +).

    The window at the middle holds all four: -1 - 1 - 1 - 1 = -4.
    """
    x = torch.tensor([[[[0.5, -2.0], [-0.25, -1.0]]]])
    filters = torch.tensor([[[[-1.0, 1.0], [1.0, 1.0]]]])
    sizes = Sizes(1, 1, (2, 2), padding=(1, 1))
    with forced(path):
        y = ops.binary_conv(
            x,
            words.weight_words(filters),
            torch.empty(0, dtype=torch.uint8),
            sizes.flat(),
            torch.tensor([3.0]),
        )
    assert y[0, 0].tolist() == [[3.0, 0.0, -3.0], [0.0, -12.0, 0.0], [-3.0, 0.0, 3.0]]


@needs_kernel
@pytest.mark.parametrize("path", COMPILED)
def test_sums_beyond_16_bits_are_exact(path):
    """Filters whose signs all differ from those of the input: the count of bits is the number of channels."""
    channels = 70_000
    x, filters = torch.ones(1, channels, 1, 5), -torch.ones(3, channels, 1, 1)
    filters[1, : channels // 2] = 1
    sizes = Sizes(channels, 3, (1, 1))
    bits = words.weight_words(filters)
    with forced(path):
        y = ops.binary_conv(x, bits, torch.empty(0, dtype=torch.uint8), sizes.flat())
    assert y[0, :, 0, 2].tolist() == [-70_000, 0, -70_000]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("filters", [1, 7, 33, 70])
def test_bits_behind_the_last_filter_are_0(path, filters):
    """Sums of signs alone: where no filter is, they are not multiplied by an alpha of 0."""
    made, x = layer(Sizes(9, filters, (2, 2))), images(2, 9, 5, 8)
    with forced(path):
        given_ = (x, made.bits, made.arranged(), made.sizes.flat())
        sums, bits = ops.binary_conv(*given_), ops.binary_conv_bits(*given_, 1)
    assert torch.equal(bits, words.from_maps(sums < 0, 1))


@pytest.mark.parametrize("path", PATHS)
def test_factors_of_pixels_multiply_before_alpha(path):
    """A K map of the float layer, each product rounded."""
    made = layer(Sizes(37, 21, (3, 2), padding=(1, 0)))
    x = images(2, 37, 6, 7)
    module = module_of(made)
    module.scale_inputs = True
    kmap = F.avg_pool2d(F.pad(x.abs().mean(1, keepdim=True), (0, 0, 1, 1)), (3, 2), 1)
    with forced(path):
        own = ops.binary_conv(x, made.bits, made.arranged(), made.sizes.flat(), made.alpha, kmap=kmap)
        plain = ops.binary_conv(x, made.bits, made.arranged(), made.sizes.flat())
    assert torch.equal(own, plain * kmap * made.alpha[:, None, None])
    torch.testing.assert_close(own, module(x))


@pytest.mark.parametrize("path", PATHS)
def test_numbers_are_float32_whatever_the_default_type_is(path):
    made, x = layer(Sizes(9, 5, (3, 3))), images(1, 9, 6, 6)
    expected = emulated(made, x)
    torch.set_default_dtype(torch.float64)
    try:
        with forced(path):
            own = ops.binary_conv(x, made.bits, made.arranged(), made.sizes.flat(), made.alpha)
    finally:
        torch.set_default_dtype(torch.float32)
    assert own.dtype == torch.float32
    assert torch.equal(own, expected)


@pytest.mark.parametrize("path", PATHS)
def test_no_images_give_no_maps(path):
    made = layer(Sizes(9, 5, (3, 3)))
    with forced(path):
        own = ops.binary_conv(images(0, 9, 6, 6), made.bits, made.arranged(), made.sizes.flat(), made.alpha)
    assert own.shape == (0, 5, 4, 4)


@needs_kernel
def test_weights_arranged_for_another_path_or_not_at_all_are_arranged_again():
    made, x = layer(Sizes(70, 33, (3, 3), padding=(1, 1))), images(1, 70, 9, 9)
    expected = emulated(made, x)
    arranged = []
    for path in PATHS:
        with forced(path):
            arranged.append(made.arranged())
    damaged = arranged[0].clone()
    damaged[:64] = 7
    odd = torch.cat([torch.zeros(1, dtype=torch.uint8), arranged[0]])[1:]  # at an odd address
    for given_ in (*arranged, damaged, odd, arranged[0][:-64], torch.empty(0, dtype=torch.uint8)):
        for path in PATHS:
            with forced(path):
                own = ops.binary_conv(x, made.bits, given_, made.sizes.flat(), made.alpha)
            assert torch.equal(own, expected)
