"""Pre-activation ResNets: counts, timm's bottlenecks with the same weights, the basic form written again."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from cifar_made import copy_in_order, macs, on_meta, shaken, size, without_gradient
from torch import nn

from concord.errors import ShapeError, UsageError
from concord.zoo import cifar_resnet
from concord.zoo.preact_resnet import (
    Basic,
    Bottleneck,
    PreactResNet,
    preact_resnet20,
    preact_resnet32,
    preact_resnet44,
    preact_resnet56,
    preact_resnet110,
    preact_resnet164,
)

BASIC = [
    (preact_resnet20, cifar_resnet.resnet20, 269_722),
    (preact_resnet32, cifar_resnet.resnet32, 464_154),
    (preact_resnet44, cifar_resnet.resnet44, 658_586),
    (preact_resnet56, cifar_resnet.resnet56, 853_018),
    (preact_resnet110, cifar_resnet.resnet110, 1_727_962),
]


# --- counts -------------------------------------------------------------------


@pytest.mark.parametrize(("build", "postactivation", "parameters"), BASIC)
def test_the_order_of_the_layers_changes_no_cost(build, postactivation, parameters):
    network, other = on_meta(build), on_meta(postactivation)
    assert size(network) == size(other) == parameters
    assert macs(network, (3, 32, 32)) == macs(other, (3, 32, 32))


def test_parts_of_the_basic_form():
    network = on_meta(preact_resnet20)
    assert (size(network.stem), size(network.last), size(network.head)) == (464, 128, 650)
    assert [[size(unit) for unit in stage] for stage in network.stages] == [
        [4_640, 4_672, 4_672],
        [13_920, 18_560, 18_560],
        [55_488, 73_984, 73_984],
    ]


def test_parts_of_the_bottleneck_form():
    network = on_meta(preact_resnet164)
    assert (size(network), size(network.stem), size(network.last)) == (1_703_258, 464, 512)
    assert [[size(unit) for unit in stage] for stage in network.stages] == [
        [4_672] + 17 * [4_544],
        [23_808] + 17 * [17_792],
        [94_720] + 17 * [70_400],
    ]
    layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules())
    assert layers - 3 == 164  # the three projections are not layers of the depth


def test_multiply_accumulates_of_the_bottleneck_form():
    """Of a unit at 32x32: 1x1 to 16 maps, 3x3, 1x1 to 64; the next stages have 4 times as much on 1/4."""
    inner = 1024 * (9 * 16**2 + 16 * 64)
    by_hand = 1024 * 432 + 1024 * (16 * 16 + 16 * 64) + 17 * 1024 * 64 * 16 + 18 * inner
    for maps, side in ((64, 16), (128, 8)):  # maps that the stage before gives
        by_hand += side**2 * (maps * maps // 2 + maps * 2 * maps) + 17 * side**2 * maps**2 + 18 * inner
    assert macs(on_meta(preact_resnet164), (3, 32, 32)) == by_hand + 2_560 == 244_500_992


# --- the forward pass ---------------------------------------------------------


def forward_again(network, x):
    """The basic form from its state alone, without torch.nn: h + f(h), with h padded with zeros."""
    state = network.state_dict()

    def activate(x, at):
        mean, var = state[f"{at}.0.running_mean"], state[f"{at}.0.running_var"]
        scale = state[f"{at}.0.weight"] / (var + 1e-5).sqrt()
        return (
            (x - mean[:, None, None]) * scale[:, None, None] + state[f"{at}.0.bias"][:, None, None]
        ).relu()

    h = activate(F.conv2d(x, state["stem.0.weight"], padding=1), "stem.1")
    for stage in range(3):
        for unit in range(len(network.stages[stage])):
            at, first = f"stages.{stage}.{unit}", stage == unit == 0
            y = h if first else activate(h, f"{at}.first")
            y = F.conv2d(y, state[f"{at}.conv1.weight"], padding=1)
            if stage and not unit:
                y, h = y[:, :, ::2, ::2], h[:, :, ::2, ::2]
                h = torch.cat([h, torch.zeros_like(h)], 1)
            h = h + F.conv2d(activate(y, f"{at}.second"), state[f"{at}.conv2.weight"], padding=1)
    return activate(h, "last").flatten(2).mean(2) @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize(("n", "channels", "side"), [(3, 3, 16), (2, 1, 28), (5, 2, 13)])
def test_basic_form_equals_the_one_written_again(n, channels, side):
    network = shaken(PreactResNet(channels, 7, repetitions=n)).eval()
    x = torch.randn(3, channels, side, side, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), forward_again(network, x), rtol=1e-9, atol=1e-9)


def timms(n, channels, classes):
    """Timm's pre-activation bottlenecks in this form: a 3x3 stem and the stride on the first 1x1."""
    resnetv2 = pytest.importorskip("timm.models.resnetv2")
    layers = pytest.importorskip("timm.layers")
    network = resnetv2.ResNetV2(
        [n, n, n],
        (64, 128, 256),
        num_classes=classes,
        in_chans=channels,
        stem_chs=16,
        norm_layer=partial(layers.BatchNormAct2d, eps=1e-5),
        conv_layer=partial(layers.create_conv2d, bias=False),
    )
    network.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
    for stage in network.stages[1:]:
        stage.blocks[0].conv1.stride, stage.blocks[0].conv2.stride = (2, 2), (1, 1)
    return network


def in_timms_order(network):
    """The same tensors: timm registers a projection before, and the first normalisation inside, its unit."""
    parts = [network.stem[0]]
    for stage in network.stages:
        for unit in stage:
            first = unit is network.stages[0][0]
            parts += [part for part in (unit.projection, network.stem[1] if first else unit.first) if part]
            parts.append(unit.branch)
    return nn.ModuleList([*parts, network.last, network.head])


@pytest.mark.parametrize(("n", "channels", "side"), [(3, 3, 16), (1, 1, 28), (2, 2, 13)])
def test_bottlenecks_equal_timms(n, channels, side):
    network = shaken(PreactResNet(channels, 7, repetitions=n, unit=Bottleneck))
    other = timms(n, channels, 7)
    copy_in_order(in_timms_order(network), other)
    x = torch.randn(3, channels, side, side, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), other.eval()(x), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(network.train()(x), other.train()(x), rtol=1e-9, atol=1e-9)


# --- identity mappings --------------------------------------------------------


def test_with_all_branches_off_the_stages_only_thin_out_their_input():
    network = preact_resnet20()
    for stage in network.stages:
        for unit in stage:
            nn.init.zeros_(unit.conv2.weight)
    x = torch.randn(2, 16, 12, 12)  # no ReLU on the way: negative numbers pass
    passed = network.stages(x)
    assert torch.equal(passed[:, :16], x[:, :, ::4, ::4])
    assert passed.shape == (2, 64, 3, 3)
    assert not passed[:, 16:].any()


def test_a_bottleneck_of_equal_sizes_passes_its_raw_input():
    unit = Bottleneck(16, 4, 1, activated=False)
    nn.init.zeros_(unit.branch[-1].weight)
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(unit(x), x)


@pytest.mark.parametrize("unit", [Basic, Bottleneck])
def test_only_the_first_unit_takes_its_input_as_activated(unit):
    network = PreactResNet(3, 10, repetitions=2, unit=unit)
    units = [unit for stage in network.stages for unit in stage]
    assert [isinstance(unit.first, nn.Identity) for unit in units] == [True] + 5 * [False]


@pytest.mark.parametrize("build", [preact_resnet20, preact_resnet164])
def test_the_mean_is_taken_after_a_relu(build):
    network, seen = build(), []
    network.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.randn(4, 3, 8, 8))
    assert (seen[0] >= 0).all()


# --- start, gradients, refusals -----------------------------------------------


def test_convolutions_start_from_he_and_the_dense_layer_from_pytorch():
    torch.manual_seed(0)
    network = preact_resnet20(filters=32)
    kernel = network.stages[2][1].conv1.weight  # 128 maps
    assert kernel.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.01)
    assert 0.9 * 128**-0.5 < network.head.weight.abs().max() <= 128**-0.5


@pytest.mark.parametrize("build", [*(row[0] for row in BASIC), preact_resnet164])
def test_the_gradient_reaches_every_parameter(build):
    assert without_gradient(build(), torch.randn(3, 3, 8, 8)) == []


def test_other_tensors_are_refused():
    network = preact_resnet20()
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        network(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ShapeError, match="at least 1, got 8x0"):
        network(torch.zeros(2, 3, 8, 0))


def test_no_filters_are_refused():
    with pytest.raises(UsageError, match="filters must be at least 1"):
        preact_resnet164(filters=0)
