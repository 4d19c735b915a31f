"""The network of Merrikhi 2024, question 1: figures, receptive field, what each reduction computes."""

import pytest
import torch
import torch.nn.functional as F
from cifar_made import macs, on_meta, size, without_gradient
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from concord.errors import ShapeError, UsageError
from concord.zoo.three_layer import (
    SparseHead,
    three_layer,
    three_layer_pooled,
    three_layer_separable,
    three_layer_separable_pooled,
    three_layer_shared,
    three_layer_sparse,
)

# (builder, parameters of the convolutions, of the head, share of the head in percent, MACs of both)
TABLE = [
    (three_layer, 1_029_248, 13_107_400, 92.72, 439_091_200, 13_107_200),
    (three_layer_separable, 51_200, 13_107_400, 99.61, 38_895_616, 13_107_200),
    (three_layer_shared, 209_792, 13_107_400, 98.42, 334_233_600, 13_107_200),
    (three_layer_sparse, 1_029_248, 1_638_600, 61.42, 439_091_200, 1_638_400),
    (three_layer_pooled, 1_029_248, 51_400, 4.76, 439_091_200, 51_200),
    (three_layer_separable_pooled, 51_200, 51_400, 50.10, 38_895_616, 51_200),
]
FLAT = [three_layer, three_layer_separable, three_layer_shared, three_layer_sparse]
POOLED = [three_layer_pooled, three_layer_separable_pooled]


def macs_by_layer(network, side=128):
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.empty(1, 3, side, side, device="meta"))
    counts = {name.partition(".")[2]: sum(ops.values()) // 2 for name, ops in counter.flop_counts.items()}
    return [counts[f"features.conv{i}"] for i in (1, 2, 3) if f"features.conv{i}" in counts]


# --- counts -------------------------------------------------------------------


@pytest.mark.parametrize(("build", "convolutions", "head", "share", "conv_macs", "head_macs"), TABLE)
def test_totals(build, convolutions, head, share, conv_macs, head_macs):
    network = on_meta(build)
    assert (size(network.features), size(network.head)) == (convolutions, head)
    assert round(100 * head / (convolutions + head), 2) == share
    assert macs(network, (3, 128, 128)) == conv_macs + head_macs


@pytest.mark.parametrize(
    ("build", "parameters", "multiplies"),
    [
        (three_layer, [4_864, 204_928, 819_456], [19_660_800, 209_715_200, 209_715_200]),
        (three_layer_separable, [4_864, 9_984, 36_352], [19_660_800, 10_027_008, 9_207_808]),
    ],
)
def test_layer_by_layer(build, parameters, multiplies):
    network = on_meta(build)
    assert [size(layer) for layer in network.features.children()] == parameters
    assert macs_by_layer(network) == multiplies


def test_the_shared_layer_counts_once_and_is_computed_three_times():
    network = on_meta(three_layer_shared)
    assert [size(layer) for layer in network.features.children()] == [4_864, 204_928]
    assert macs_by_layer(network) == [19_660_800, 209_715_200 + 2 * 52_428_800]


@pytest.mark.parametrize(
    ("build", "head"),
    [
        (three_layer, 256 * 16 * 10 + 10),
        (three_layer_separable, 256 * 16 * 10 + 10),
        (three_layer_shared, 256 * 16 * 10 + 10),
        (three_layer_sparse, 32 * 16 * 10 + 10),
        (three_layer_pooled, 256 * 10 + 10),
    ],
)
@pytest.mark.parametrize("side", [28, 32])  # both end in a map of 4x4
def test_small_pictures_make_a_small_head(build, head, side):
    sizes = {} if build in POOLED else {"side": side}
    network = build(1, 10, **sizes)
    assert size(network.head) == head
    assert network(torch.randn(2, 1, side, side)).shape == (2, 10)


# --- what the forward passes compute ------------------------------------------


def features_again(state, x, *, groups=(1, 1)):
    """Three convolutions by hand, the last two in so many groups, from a state of plain kernels."""
    x = F.conv2d(x, state["conv1.weight"], state["conv1.bias"], 2, 2).relu()
    x = F.conv2d(x, state["conv2.weight"], state["conv2.bias"], 2, 2, groups=groups[0]).relu()
    return F.conv2d(x, state["conv3.weight"], state["conv3.bias"], 2, 2, groups=groups[1]).relu()


def test_plain_network_written_again():
    network, x = three_layer(2, 7, side=20).double(), torch.randn(2, 2, 20, 20).double()
    maps = features_again(network.features.state_dict(), x)
    assert maps.shape == (2, 256, 3, 3)
    expected = maps.reshape(2, -1) @ network.head[1].weight.T + network.head[1].bias
    torch.testing.assert_close(network(x), expected)


def merged(separable):
    """The one kernel and bias that two steps make: v[n, m] w[m] and b[n] + sum_m v[n, m] a[m]."""
    pointwise, depthwise = separable.pointwise, separable.depthwise
    matrix = pointwise.weight[:, :, 0, 0]
    return matrix[:, :, None, None] * depthwise.weight[:, 0], pointwise.bias + matrix @ depthwise.bias


def test_separable_layers_are_grouped_convolutions_and_then_1x1_ones():
    network, x = three_layer_separable(2, 7, side=20).double(), torch.randn(2, 2, 20, 20).double()
    for part in network.features.parameters():
        nn.init.normal_(part, std=0.1)
    state = network.features.state_dict()
    y = F.conv2d(x, state["conv1.weight"], state["conv1.bias"], 2, 2).relu()
    for layer, maps in (("conv2", 64), ("conv3", 128)):
        depth, point = f"{layer}.depthwise", f"{layer}.pointwise"
        y = F.conv2d(y, state[f"{depth}.weight"], state[f"{depth}.bias"], 2, 2, groups=maps)
        y = F.conv2d(y, state[f"{point}.weight"], state[f"{point}.bias"]).relu()
    torch.testing.assert_close(network(x), network.head(y))
    plain = three_layer(2, 7, side=20).double()
    plain.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad():
        for name in ("conv2", "conv3"):
            kernel, bias = merged(getattr(network.features, name))
            getattr(plain.features, name).weight.copy_(kernel)
            getattr(plain.features, name).bias.copy_(bias)
    torch.testing.assert_close(network(x), plain(x))


def test_pooling_is_one_matrix_shared_by_all_positions():
    network, x = three_layer_pooled(2, 7).double(), torch.randn(2, 2, 40, 24).double()
    dense, maps = network.head.dense, network.features(x)
    per_position = F.conv2d(maps, dense.weight[:, :, None, None], dense.bias)  # (2, 7, 5, 3)
    torch.testing.assert_close(network(x), per_position.mean((2, 3)))


def test_the_shared_layer_is_two_equal_groups_and_gathers_all_their_gradients():
    network, x = three_layer_shared(2, 7, side=20).double(), torch.randn(2, 2, 20, 20).double()
    state = {name: p.detach().clone().requires_grad_() for name, p in network.features.named_parameters()}
    twice = {
        "conv3.weight": state["conv2.weight"].detach().repeat(2, 1, 1, 1).requires_grad_(),
        "conv3.bias": state["conv2.bias"].detach().repeat(2).requires_grad_(),
    }
    unshared = network.head(features_again(state | twice, x, groups=(1, 2)))
    shared = network(x)
    torch.testing.assert_close(shared, unshared)
    shared.square().sum().backward()
    unshared.square().sum().backward()
    in_both = state["conv2.weight"].grad + twice["conv3.weight"].grad.unflatten(0, (2, 128)).sum(0)
    torch.testing.assert_close(network.features.conv2.weight.grad, in_both)


def test_sparse_head_is_a_grouped_convolution_as_large_as_the_map():
    head, maps = SparseHead(200, 24, 8), torch.randn(2, 256, 3, 3)
    grouped = nn.Conv2d(256, 200, 3, groups=8)
    with torch.no_grad():
        grouped.weight.copy_(torch.cat([part.weight for part in head.parts]).reshape(200, 32, 3, 3))
        grouped.bias.copy_(torch.cat([part.bias for part in head.parts]))
    torch.testing.assert_close(head(maps), grouped(maps)[:, :, 0, 0], rtol=1e-4, atol=1e-5)


def test_sparse_head_is_a_dense_one_with_blocks_of_zeros_off_the_diagonal():
    head, maps = SparseHead(10, 16, 4), torch.randn(3, 256, 2, 2)
    matrix = torch.block_diag(*(part.weight for part in head.parts))
    assert [len(part.weight) for part in head.parts] == [3, 3, 2, 2]
    assert matrix.shape == (10, 1024)
    assert (matrix != 0).sum() == 10 * 1024 // 4
    bias = torch.cat([part.bias for part in head.parts])
    torch.testing.assert_close(head(maps), maps.flatten(1) @ matrix.T + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("classes", "groups"), [(1, 1), (2, 2), (3, 2), (7, 4), (8, 8), (100, 8)])
def test_there_are_never_more_groups_than_classes(classes, groups):
    head = SparseHead(classes, 8, 8)
    assert len(head.parts) == groups
    assert size(head) == classes * 256 // groups + classes


# --- the receptive field ------------------------------------------------------


def rows_seen(network, unit):
    """First and last row of the picture that a unit of the last convolution depends on."""
    for layer in network.features.children():
        nn.init.constant_(layer.weight, 0.01)
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    network.features(x)[0, 0, unit, unit].backward()
    rows = x.grad[0, 0].any(1).nonzero()
    return rows.min().item(), rows.max().item()


def test_a_unit_sees_29_rows_inside_and_fewer_at_the_border():
    network = three_layer_pooled()
    assert rows_seen(network, 8) == (50, 78)
    assert rows_seen(network, 0) == (0, 14)


# --- start, gradients, refusals -----------------------------------------------


def test_convolutions_start_from_he_with_zero_biases():
    torch.manual_seed(0)
    network = three_layer_pooled()
    assert network.features.conv3.weight.std().item() == pytest.approx((2 / 3_200) ** 0.5, rel=0.01)
    assert not network.features.conv3.bias.any()


@pytest.mark.parametrize("build", FLAT)
def test_the_gradient_reaches_every_parameter(build):
    assert without_gradient(build(side=16), torch.randn(4, 3, 16, 16)) == []


@pytest.mark.parametrize("build", POOLED)
def test_the_gradient_reaches_every_parameter_of_the_pooled_forms(build):
    assert without_gradient(build(), torch.randn(4, 3, 16, 16)) == []


@pytest.mark.parametrize("build", FLAT)
def test_a_flat_head_refuses_other_sides_and_names_its_own(build):
    network = on_meta(build)
    with pytest.raises(ShapeError, match=r"height and width must be 128, got 128x64; .* another side"):
        network(torch.zeros(2, 3, 128, 64, device="meta"))
    assert network(torch.zeros(2, 3, 128, 128, device="meta")).shape == (2, 200)


@pytest.mark.parametrize("build", POOLED)
def test_a_pooled_head_takes_any_side_down_to_one(build):
    network = build()
    assert network(torch.randn(2, 3, 1, 9)).shape == (2, 200)
    with pytest.raises(ShapeError, match="at least 1, got 0x9"):
        network(torch.zeros(2, 3, 0, 9))


def test_other_channels_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(2, 1, 16, 16\)"):
        three_layer(side=16)(torch.zeros(2, 1, 16, 16))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"side": 0}, "side must be at least 1, got 0"), ({"groups": 3}, "groups must divide 256 .* got 3")],
)
def test_sizes_that_do_not_exist_are_refused(sizes, message):
    with pytest.raises(UsageError, match=message):
        on_meta(three_layer_sparse, **sizes)
