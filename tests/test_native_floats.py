"""Float layers at the edges of a packed network: they equal PyTorch's up to rounding."""

import pytest
import torch
import torch.nn.functional as F
from native_made import PATHS, forced
from torch import nn

from concord import zoo
from concord.errors import ShapeError, UsageError
from concord.layers import pack
from concord.layers.packed.floats import FloatFirst, FloatHalving
from concord.native import float_ops, floats

LAST = torch.channels_last
EMPTY = torch.empty(0)


def layer(filters: int, channels: int, *kernel: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(filters)
    weight = torch.randn(filters, channels, *kernel)
    return {"weight": weight, "factor": torch.randn(filters), "shift": torch.randn(filters)}


def expected_first(x, own, relu, stride, padding, pool):
    """In float64."""
    y = F.conv2d(x.double(), own["weight"].double(), None, stride, padding)
    y = y * own["factor"].double()[:, None, None] + own["shift"].double()[:, None, None]
    y = y.relu() if relu else y
    return F.max_pool2d(y, *pool) if pool[0] else y


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding", "pool", "size"),
    [
        (3, (7, 7), [2, 2], [3, 3], [3, 2, 1], (37, 45)),  # transformed, tiles that end beyond the row
        (3, (7, 7), [2, 2], [3, 3], [3, 2, 1], (32, 224)),  # whole tiles, pooled as they are made
        (2, (6, 5), [2, 2], [2, 3], [2, 2, 0], (70, 448)),  # four vectors of tiles
        (1, (5, 6), [1, 2], [0, 2], [0, 1, 0], (11, 20)),
        (2, (3, 8), [2, 2], [1, 0], [2, 2, 0], (16, 18)),
        (4, (3, 3), [1, 1], [1, 1], [2, 2, 0], (9, 8)),
        (3, (7, 7), [2, 2], [3, 3], [3, 2, 1], (8, 450)),  # too wide to be transformed
        (1, (2, 1), [3, 2], [0, 0], [0, 1, 0], (5, 3)),  # narrower than a tile
    ],
)
@pytest.mark.parametrize("relu", [False, True])
def test_a_first_layer_equals_convolution_normalisation_and_pooling(
    path, channels, kernel, stride, padding, pool, size, relu
):
    own = layer(64, channels, *kernel)
    x = torch.randn(2, channels, *size)
    with forced(path):
        made = floats.arranged(own["weight"]), floats.transformed(own["weight"], (stride[0], stride[1]))
        for each in (x, x.to(memory_format=LAST)):
            y = float_ops.float_first(
                each, own["weight"], *made, own["factor"], own["shift"], relu, stride, padding, pool
            )
            whole = expected_first(x, own, relu, stride, padding, pool)
            # sums have up to 200 products; those of transformed images are rounded more, see the test below
            atol = 2e-4 if made[1].numel() else 3e-5
            torch.testing.assert_close(y.double(), whole, rtol=1e-5, atol=atol)
            assert y.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("path", PATHS)
def test_rounding_errors_of_transformed_sums_are_at_most_five_times_those_of_direct_ones(path):
    """And at most 1.2e-6 of what the sums amount to; the largest of 1.6 million is 2e-5 of it."""
    own, x = (
        layer(64, 3, 7, 7) | {"factor": torch.ones(64), "shift": torch.zeros(64)},
        torch.randn(2, 3, 224, 224),
    )
    whole = expected_first(x, own, False, 2, 3, (0, 1, 0))
    with forced(path):
        fast = first_of(own, x, pool=(0, 1, 0)) - whole
        slow = first_of(own, x, pool=(0, 1, 0), transformed=EMPTY) - whole
    size = whole.square().mean().sqrt()
    assert fast.square().mean().sqrt() < min(1.2e-6 * size, 5 * slow.square().mean().sqrt())
    assert fast.abs().max() < 4e-5 * size


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("side", "ceil_mode", "size"), [(2, False, (9, 6)), (2, True, (9, 7)), (3, True, (3, 8))]
)
def test_a_halving_shortcut_equals_average_convolution_and_normalisation(path, side, ceil_mode, size):
    own = layer(96, 20, 1, 1)
    x = torch.randn(3, 20, *size)
    mean = F.avg_pool2d(x.double(), side, ceil_mode=ceil_mode)
    whole = F.conv2d(mean, own["weight"].double()) * own["factor"].double()[:, None, None]
    whole = whole + own["shift"].double()[:, None, None]
    with forced(path):
        made = floats.arranged(own["weight"])
        y = float_ops.float_halving(
            x, own["weight"], made, own["factor"], own["shift"], False, side, ceil_mode
        )
    torch.testing.assert_close(y.double(), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [(32, 224), (37, 45), (16, 450)])
@pytest.mark.parametrize("pool", [(3, 2, 1), (2, 1, 1), (0, 1, 0)])
def test_any_number_of_threads_makes_the_same_rows(path, size, pool):
    own, x = layer(32, 3, 7, 7), torch.randn(1, 3, *size)
    x[0, 1, -1, 7] = torch.nan
    x[0, 0, 8, -1] = torch.inf
    with forced(path):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        expected = first_of(own, x, pool=pool)
        try:
            for number in (2, 3, 5):
                torch.set_num_threads(number)
                assert torch.equal(first_of(own, x, pool=pool).nan_to_num(7), expected.nan_to_num(7))
        finally:
            torch.set_num_threads(threads)


@torch.no_grad()
def test_a_network_with_joined_floats_gives_what_the_exact_one_gives_but_for_rounding():
    torch.manual_seed(0)
    network = zoo.build("xnor_resnet18", channels=3, classes=5).train()
    for _ in range(3):  # statistics of the maps that there are
        network(torch.randn(8, 3, 48, 48))
    network.eval()
    joined, exact = pack(network, joined="floats"), pack(network)
    kinds = [type(module) for module in joined.modules()]
    assert (kinds.count(FloatFirst), kinds.count(FloatHalving)) == (1, 3)
    assert FloatFirst not in map(type, exact.modules())
    x = torch.randn(4, 3, 48, 48)
    one, other = joined(x), exact(x)
    # a value next to 0 may get the other sign, and is worth little
    assert (one - other).norm() < 0.1 * other.norm()
    assert (one.argmax(1) == other.argmax(1)).all()


def first_of(own, x, relu=False, pool=(3, 2, 1), **other):
    """A first layer 7x7 of stride 2, whose tensors ``other`` replaces."""
    given = {
        **own,
        "arranged": floats.arranged(own["weight"]),
        "transformed": floats.transformed(own["weight"], (2, 2)),
        **other,
    }
    return float_ops.float_first(x, relu=relu, stride=[2, 2], padding=[3, 3], pool=[*pool], **given)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("width", [40, 450])  # transformed, and not
def test_what_is_not_a_number_stays_so_through_relu_and_pooling(path, relu, width):
    """A binary layer behind it then refuses the image, as it does where float layers are PyTorch's."""
    own, x = layer(32, 3, 7, 7), torch.randn(2, 3, 24, width)
    x[1, 2, 11, 20] = torch.nan
    with forced(path):
        made = first_of(own, x, relu)
        assert made[0].isfinite().all()
        assert (made.isnan() | ~expected_first(x, own, relu, 2, 3, (3, 2, 1)).isnan()).all()
        deep = layer(32, 4, 1, 1)
        mean = torch.randn(1, 4, 6, 6)
        mean[0, 2, 5, 1] = torch.nan
        arranged = floats.arranged(deep["weight"])
        halved = float_ops.float_halving(mean, **deep, arranged=arranged, relu=relu, side=2, ceil_mode=False)
        assert torch.equal(halved.isnan().nonzero()[:, 2:], torch.tensor([[2, 0]] * 32))


@pytest.mark.parametrize("path", PATHS)
def test_tensors_that_do_not_fit_a_float_layer_are_refused(path):
    own, x = layer(32, 3, 7, 7), torch.randn(2, 3, 24, 24)
    with forced(path):
        for wrong in (x.double(), x.bfloat16(), x[:, :1], torch.cat([x, x], 1), x[0], x.int()):
            with pytest.raises(ShapeError, match=r"expects float32 \(N, 3, H, W\), got"):
                first_of(own, wrong)
            with pytest.raises(ShapeError, match=r"expects float32 \(N, 3, H, W\), got"):
                float_ops.float_halving(
                    wrong, **layer(32, 3, 1, 1), arranged=EMPTY, relu=False, side=2, ceil_mode=False
                )
        for name in ("factor", "shift"):
            with pytest.raises(ShapeError, match=rf"{name} of a float layer must be float32 \(32,\)"):
                first_of(own, x, **{name: torch.ones(31)})
        with pytest.raises(ShapeError, match="image of 0x24 is too small"):
            first_of(own, x[:, :, :0])
        with pytest.raises(ShapeError, match="pooling of 5x5 with padding 0"):
            first_of(own, x[:, :, :5, :5], pool=(5, 1, 0))
        with pytest.raises(ShapeError, match="map of 1x24 is smaller than a window of 2x2"):
            float_ops.float_halving(
                x[:, :, :1], **layer(32, 3, 1, 1), arranged=EMPTY, relu=False, side=2, ceil_mode=False
            )
        with pytest.raises(ShapeError, match="two strides"):
            float_ops.float_first(
                x, own["weight"], EMPTY, EMPTY, own["factor"], own["shift"], True, [2], [3, 3], [0, 1, 0]
            )
        with pytest.raises(UsageError, match="no gradient"):
            first_of(own, x.clone().requires_grad_())


@pytest.mark.parametrize("path", PATHS)
def test_arranged_weights_of_another_layer_are_made_again(path):
    own, x = layer(32, 3, 7, 7), torch.randn(1, 3, 24, 24)
    other = layer(32, 2, 7, 7)["weight"]
    with forced(path):
        wrong = floats.arranged(other), floats.transformed(other, (2, 2))
        made = first_of(own, x, arranged=wrong[0], transformed=wrong[1])
        torch.testing.assert_close(
            made.double(), expected_first(x, own, False, 2, 3, (3, 2, 1)), rtol=1e-5, atol=3e-5
        )


def test_float_layers_are_float32_whatever_the_default_type():
    own, x = layer(32, 3, 7, 7), torch.randn(1, 3, 24, 24)
    expected = first_of(own, x)
    torch.set_default_dtype(torch.float64)
    try:
        made = first_of(own, x)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(made, expected)


def test_layers_that_do_not_fit_stay_what_they_are():
    torch.manual_seed(0)
    from concord.layers.binary.convolution import XNORConv2d

    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, dilation=2),
        nn.BatchNorm2d(8),
        XNORConv2d(8, 8, 3),
        nn.MaxPool2d(2, ceil_mode=True),
    ).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(pack(network, joined="floats")(x), pack(network)(x))
