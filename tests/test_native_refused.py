"""What the operators refuse: numbers without a sign, tensors of other layers, gradients."""

import pytest
import torch
from native_made import LAYOUTS, PATHS, emulated, forced, images, laid, layer

from concord.errors import DataError, ShapeError, UsageError
from concord.native import calls, ops, words
from concord.native.sizes import Sizes

EMPTY = torch.empty(0, dtype=torch.uint8)
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
FITTING = Sizes(70, 20, (3, 3), padding=(1, 1))


def call(made, x, arranged=EMPTY, **scales):
    return ops.binary_conv(x, made.bits, arranged, made.sizes.flat(), **scales)


def spoilt(channels, place, value, layout):
    """Images with this value as the first number, the last, or the last channel of the first pixel."""
    x = images(2, channels, 3, 17)
    x[{"first": (0, 0, 0, 0), "last": (-1, -1, -1, -1), "tail": (0, -1, 0, 0)}[place]] = value
    return laid(x, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("path", PATHS)
def test_a_number_without_a_sign_is_refused_wherever_it_lies(path, layout):
    with forced(path):
        for channels in (1, 7, 64, 70, 128):
            made = layer(Sizes(channels, 3, (1, 1)))
            for value in NOT_FINITE:
                for place in ("first", "last", "tail"):
                    x = spoilt(channels, place, value, layout)
                    with pytest.raises(DataError, match="infinite or no number"):
                        call(made, x)
                    with pytest.raises(DataError, match="infinite or no number"):
                        ops.binary_pack(x, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("path", PATHS)
def test_the_largest_and_the_smallest_numbers_have_signs(path, layout):
    """The smallest are denormal: -1e-45 is negative, though its half is not."""
    most = torch.finfo(torch.float32).max
    x = laid(
        torch.tensor([most, -most, 1e-45, -1e-45, 0.0, -0.0, 1.2e-38, -1.2e-38]).repeat(2, 8, 3, 1), layout
    )
    made = layer(Sizes(8, 3, (2, 3)))
    expected = words.from_maps(torch.arange(8).eq(torch.tensor([[1], [3], [7]])).any(0).expand(2, 8, 3, 8), 0)
    with forced(path):
        assert torch.equal(ops.binary_pack(x, 0), expected)
        assert torch.equal(call(made, x, alpha=made.alpha), emulated(made, x))


@pytest.mark.parametrize("path", PATHS)
def test_tensors_that_do_not_fit_the_layer_are_named(path):
    made, x = layer(FITTING), images(1, 70, 5, 5)
    short = {
        "alpha": torch.ones(19), "bias": torch.ones(21), "cut": torch.ones(20), "side": torch.ones(1, 70),
        "kmap": torch.ones(1, 1, 5, 4), "shortcut": torch.ones(1, 20, 5, 1),
    }  # fmt: skip
    with forced(path):
        for name, tensor in short.items():
            with pytest.raises(ShapeError, match=f"{name} of a binary layer must be torch.float32"):
                call(made, x, **{name: tensor})
        with pytest.raises(ShapeError, match=r"alpha .* got torch.float64 \(20,\) on cpu"):
            call(made, x, alpha=torch.ones(20, dtype=torch.float64))
        with pytest.raises(ShapeError, match=r"weight .* must be torch.int64 \(20, 9, 2\)"):
            ops.binary_conv(x, made.bits[:, :8], EMPTY, FITTING.flat())
        with pytest.raises(ShapeError, match=r"weight .* got torch.float32 \(20, 70, 3, 3\)"):
            ops.binary_conv(x, made.weight, EMPTY, FITTING.flat())
        with pytest.raises(ShapeError, match="weight"):
            calls.arrange(made.bits[:19], FITTING)
        with pytest.raises(UsageError, match="both or neither"):
            call(made, x, factor=torch.ones(20))
        with pytest.raises(ShapeError, match="cut"):
            ops.binary_pack(x, 0, torch.ones(69))


@pytest.mark.parametrize("path", PATHS)
def test_inputs_that_are_neither_maps_nor_bits_of_the_layer_are_refused(path):
    made = layer(FITTING)
    with forced(path):
        for x in (
            images(1, 69, 5, 5),
            images(1, 70, 5, 5).double(),
            images(1, 70, 5, 5)[0],
            torch.zeros(1, 5, 7, 1, dtype=torch.int64),
            torch.zeros(1, 5, 2, 2, dtype=torch.int64),
        ):
            with pytest.raises(ShapeError, match=r"expects float32 \(N, 70, H, W\), or bits"):
                call(made, x)
        with pytest.raises(ShapeError, match="at least one pixel"):
            call(made, images(1, 70, 0, 5))
        with pytest.raises(ShapeError, match="smaller than a kernel"):
            call(layer(Sizes(70, 2, (4, 1))), images(1, 70, 3, 9))
        with pytest.raises(ShapeError, match="columns"):
            ops.binary_conv_bits(images(1, 70, 5, 5), made.bits, EMPTY, FITTING.flat(), -1)
        with pytest.raises(ShapeError, match="maps to pack"):
            ops.binary_pack(images(1, 70, 5, 5), -1)


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ([4, 4, 3, 3, 0, 1, 0, 0, 1, 1, 1, 0], "at least 1"),
        ([4, 4, 3, 3, 1, 1, -1, 0, 1, 1, 1, 0], "its padding 0"),
        ([4, 4, 3, 3, 1, 1, 0, 0, 1, 1, 3, 0], "multiples of the groups"),
        ([4, 4, 3, 3], "are 12 integers"),
        ([4, 4, 33, 33, 1, 1, 0, 0, 1, 1, 1, 0], "at most 1,024 places"),
    ],
)
def test_sizes_that_no_layer_has_are_refused(flat, message):
    with pytest.raises(ShapeError, match=message):
        ops.binary_conv(images(1, 4, 40, 40), torch.zeros(4, 9, 1, dtype=torch.int64), EMPTY, flat)


@pytest.mark.parametrize("path", PATHS)
def test_pooling_of_other_channels_or_with_too_much_padding_is_refused(path):
    bits, falling = torch.zeros(1, 5, 5, 2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    with forced(path):
        with pytest.raises(ShapeError, match="bits of 129 channels"):
            ops.binary_max_pool(bits, falling, 129, [2, 2, 2, 2, 0, 0, 1, 1], 0)
        with pytest.raises(ShapeError, match="falling"):
            ops.binary_max_pool(bits, falling[:1], 70, [2, 2, 2, 2, 0, 0, 1, 1], 0)
        with pytest.raises(ShapeError, match="has 8 integers"):
            ops.binary_max_pool(bits, falling, 70, [2, 2], 0)
        with pytest.raises(ShapeError, match="at most half its window"):
            ops.binary_max_pool(bits, falling, 70, [2, 3, 2, 2, 1, 2, 1, 1], 0)


@pytest.mark.parametrize("path", [path for path in PATHS if path != "torch"])
def test_arranged_weights_of_another_layer_are_refused(path):
    """Also where they take as many bytes: 1x3 and 3x1 places, or 19 filters in tiles for 20."""
    x = images(1, 70, 5, 5)
    own = layer(Sizes(70, 20, (3, 1)))
    with forced(path):
        for sizes in (Sizes(70, 20, (1, 3)), Sizes(70, 19, (3, 1)), Sizes(71, 20, (3, 1)), FITTING):
            with pytest.raises(ShapeError, match="another layer: pack the network again"):
                call(own, x, layer(sizes).arranged())


@pytest.mark.parametrize("path", PATHS)
def test_a_gradient_is_refused_and_its_absence_is_not(path):
    made, x = layer(FITTING), images(1, 70, 5, 5).requires_grad_()
    with forced(path):
        for operator in (lambda: call(made, x), lambda: ops.binary_pack(x, 0)):
            with pytest.raises(UsageError, match="no gradient"):
                operator()
        with torch.no_grad():
            assert torch.equal(call(made, x, alpha=made.alpha), emulated(made, x))
