"""DenseNets for small pictures: the paper's table, torchvision's BC form, the plain one written again."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from cifar_made import assert_same, copy_in_order, macs, on_meta, shaken, size, without_gradient
from torch import nn
from torchvision.models.densenet import DenseNet

from concord.errors import ShapeError, UsageError
from concord.zoo.densenet_cifar import DenseLayer, densenet40_12, densenet_bc100_12

# --- counts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "layers", "blocks", "transitions", "last", "head", "total"),
    [
        (densenet40_12, 12, [108_240, 298_320, 488_400], [25_920, 93_024], 896, 4_490, 1_019_722),
        (densenet_bc100_12, 16, [175_680, 242_880, 276_480], [23_760, 45_600], 684, 3_430, 769_162),
    ],
)
def test_parts_and_totals(build, layers, blocks, transitions, last, head, total):
    network = on_meta(build)
    parts = [size(part) for part in network.blocks]
    n = layers + 1
    assert [sum(parts[b * n : b * n + layers]) for b in range(3)] == blocks
    assert [parts[layers], parts[n + layers]] == transitions
    assert (size(network.last), size(network.head), size(network)) == (last, head, total)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules()) == 40 + 60 * (layers == 16)


@pytest.mark.parametrize(
    ("build", "depth", "growth", "millions"),
    [
        (densenet40_12, 40, 12, 1.0),
        (densenet40_12, 100, 12, 7.0),
        (densenet40_12, 100, 24, 27.2),
        (densenet_bc100_12, 100, 12, 0.8),
        (densenet_bc100_12, 250, 24, 15.3),
        (densenet_bc100_12, 190, 40, 25.6),
    ],
)
def test_sizes_are_those_of_table_2(build, depth, growth, millions):
    assert round(size(on_meta(build, depth=depth, growth=growth)) / 1e6, 1) == millions


def macs_by_hand(depth, k, side, *, bottleneck):
    maps = 2 * k if bottleneck else 16
    total = 27 * maps * side**2
    for block in range(3):
        if block:
            kept = maps // 2 if bottleneck else maps
            total, maps, side = total + maps * kept * side**2, kept, side // 2
        for _ in range((depth - 4) // (6 if bottleneck else 3)):
            total += side**2 * (maps * 4 * k + 9 * 4 * k * k if bottleneck else 9 * maps * k)
            maps += k
    return total + maps * 10


@pytest.mark.parametrize(
    ("build", "depth", "growth", "bottleneck", "expected"),
    [
        (densenet40_12, 40, 12, False, 264_812_928),
        (densenet_bc100_12, 100, 12, True, 287_929_692),
        (densenet40_12, 7, 5, False, 2_121_398),
    ],
)
def test_multiply_accumulates(build, depth, growth, bottleneck, expected):
    network = on_meta(build, depth=depth, growth=growth)
    by_hand = macs_by_hand(depth, growth, 32, bottleneck=bottleneck)
    assert macs(network, (3, 32, 32)) == expected == by_hand


# --- the forward pass ---------------------------------------------------------


def torchvisions(layers, growth, channels):
    """Torchvision's DenseNet-BC with a 3x3 convolution as its whole stem."""
    network = DenseNet(growth, 3 * (layers,), 2 * growth, num_classes=10)
    network.features.conv0 = nn.Conv2d(channels, 2 * growth, 3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        setattr(network.features, name, nn.Identity())
    return network


@pytest.mark.parametrize(
    ("layers", "growth", "channels", "side"), [(16, 12, 3, 8), (3, 5, 1, 28), (2, 4, 2, 13)]
)
def test_bottleneck_form_equals_torchvisions(layers, growth, channels, side):
    network = shaken(densenet_bc100_12(channels, depth=6 * layers + 4, growth=growth))
    other = copy_in_order(network, torchvisions(layers, growth, channels))
    assert_same(network, other, torch.randn(3, channels, side, side, dtype=torch.float64))


def forward_again(network, x, layers):
    """The plain form from its tensors in order: x_l = H_l([x_0, ..., x_(l-1)]), the list kept as a list."""
    tensors = iter([t for name, t in network.state_dict().items() if "num_batches" not in name])

    def activate(x):
        weight, bias, mean, var = (next(tensors)[:, None, None] for _ in range(4))
        return (weight * (x - mean) / (var + 1e-5).sqrt() + bias).relu()

    x = F.conv2d(x, next(tensors), padding=1)
    for block in range(3):
        maps = [x]
        for _ in range(layers):
            maps.append(F.conv2d(activate(torch.cat(maps, 1)), next(tensors), padding=1))
        x = torch.cat(maps, 1)
        if block < 2:
            x = F.conv2d(activate(x), next(tensors))
            even = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
            x = sum(even[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    x = activate(x).flatten(2).mean(2)
    return F.linear(x, next(tensors), next(tensors))


@pytest.mark.parametrize(
    ("layers", "growth", "channels", "side"), [(12, 12, 3, 8), (3, 5, 1, 28), (2, 4, 2, 13)]
)
def test_plain_form_equals_the_one_written_again(layers, growth, channels, side):
    network = shaken(densenet40_12(channels, depth=3 * layers + 4, growth=growth)).eval()
    x = torch.randn(2, channels, side, side, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), forward_again(network, x, layers), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_layer_passes_all_earlier_maps_unchanged_and_in_front(bottleneck):
    layer, x = DenseLayer(5, 3, 0, bottleneck=bottleneck), torch.randn(2, 5, 4, 4)
    y = layer(x)
    assert torch.equal(y[:, :5], x)
    assert y.shape == (2, 8, 4, 4)
    torch.testing.assert_close(y[:, 5:], layer.new(x))


# --- dropout, start, gradients, refusals --------------------------------------


@pytest.mark.parametrize("build", [densenet40_12, densenet_bc100_12])
def test_there_is_no_dropout_unless_asked_for(build):
    network, x = build(depth=10), torch.randn(2, 3, 8, 8)
    assert torch.equal(network(x), network(x))
    network = build(depth=10, dropout=20)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(("build", "convolutions"), [(densenet40_12, 39), (densenet_bc100_12, 99)])
def test_dropout_follows_every_convolution_but_the_first(build, convolutions):
    modules = list(on_meta(build, dropout=20).modules())
    after = [b for a, b in pairwise(modules) if isinstance(a, nn.Conv2d)]
    assert sum(isinstance(m, nn.Conv2d) for m in modules) == convolutions
    assert [m.p for m in after if isinstance(m, nn.Dropout)] == (convolutions - 1) * [0.2]


def test_convolutions_start_from_he_and_the_dense_layer_from_pytorch():
    torch.manual_seed(0)
    network = densenet40_12(growth=48)
    kernel = network.blocks[-1].new[0][2].weight
    assert kernel.std().item() == pytest.approx((2 / kernel[0].numel()) ** 0.5, rel=0.01)
    bound = network.head.in_features**-0.5
    assert 0.9 * bound < network.head.weight.abs().max() <= bound


@pytest.mark.parametrize("build", [densenet40_12, densenet_bc100_12])
def test_the_gradient_reaches_every_parameter(build):
    assert without_gradient(build(), torch.randn(3, 3, 8, 8)) == []


def test_other_tensors_are_refused():
    network = densenet40_12(depth=7)
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        network(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ShapeError, match="height and width must be at least 4, got 8x3"):
        network(torch.zeros(2, 3, 8, 3))
    assert network.eval()(torch.zeros(1, 3, 4, 5)).shape == (1, 10)


@pytest.mark.parametrize(
    ("build", "sizes", "message"),
    [
        (densenet40_12, {"depth": 41}, r"3 n \+ 4 \(7, 10, 13, 16, \.\.\.\), got 41"),
        (densenet_bc100_12, {"depth": 97}, r"6 n \+ 4 \(10, 16, 22, 28, \.\.\.\), got 97"),
        (densenet40_12, {"depth": 4}, "got 4"),
        (densenet40_12, {"growth": 0}, "growth must be at least 1"),
        (densenet40_12, {"dropout": 100}, "percentage from 0 to 99, got 100"),
    ],
)
def test_sizes_that_do_not_exist_are_refused(build, sizes, message):
    with pytest.raises(UsageError, match=message):
        build(**sizes)
