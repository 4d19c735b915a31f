"""The network of gated depthwise blocks: its stated counts, the gate, and its parts one by one."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradcheck

from concord.errors import ShapeError, UsageError
from concord.zoo.gated_depthwise import Block, ChannelNorm, GatedDepthwise, gate, gated_depthwise


def size(module):
    return sum(p.numel() for p in module.parameters())


def test_parts_are_those_of_the_docstring():
    network = gated_depthwise()
    assert [size(network.stem[0]), size(network.stem[1])] == [1_344, 96]
    assert [size(block) for block in network.fine] == 3 * [8_520]
    assert [size(block) for block in network.coarse] == 3 * [21_880]
    assert [size(network.reduction[0]), size(network.reduction[1])] == [3_920, 160]
    assert (size(network.head), size(network)) == (810, 97_530)


def test_other_widths_keep_the_proportions_of_the_original():
    network = GatedDepthwise(1, 4, width=24, depth=2)
    halved = network.reduction[0]
    assert (halved.in_channels, halved.out_channels, halved.groups) == (24, 40, 8)
    assert len(network.fine) == len(network.coarse) == 2


def test_the_gate_by_hand():
    x = torch.tensor([0.0, 0.5, -1.0, -20.0], dtype=torch.float64)
    expected = [0.0, 0.5 * math.tanh(math.exp(0.5)), -math.tanh(math.exp(-1)), -20 * math.tanh(math.exp(-20))]
    torch.testing.assert_close(gate(x), torch.tensor(expected, dtype=torch.float64))


def test_the_gate_is_the_identity_far_above_0_and_its_gradient_is_a_number():
    x = torch.tensor([3.0, 100.0, 1000.0], requires_grad=True)
    y = gate(x)
    y.sum().backward()
    assert torch.equal(y, x)
    torch.testing.assert_close(x.grad, torch.ones(3))


def test_gradients_of_a_block():
    torch.manual_seed(0)
    block = Block(4).double()
    x = torch.randn(1, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(block, x)


def test_channel_normalisation_sees_one_pixel_at_a_time():
    x = torch.randn(2, 6, 3, 4)
    found = ChannelNorm(6)(x)
    torch.testing.assert_close(found[1, :, 2, 3], F.layer_norm(x[1, :, 2, 3], (6,)))


def test_a_block_is_the_equation_of_its_docstring():
    torch.manual_seed(1)
    block = Block(8).eval()
    nn.init.normal_(block.scale)
    x = torch.randn(2, 8, 11, 9)
    mean = nn.AvgPool2d(3, 1, 1)(x[:, 6:])
    parts = [x[:, :2]]
    for layer, given, dilation in (
        (block.near, x[:, 2:4], 1),
        (block.wide, x[:, 4:6], 1),
        (block.far, mean, 3),
    ):
        both = [
            F.conv2d(
                given[:, c : c + 1],
                layer.weight[c : c + 1],
                layer.bias[c : c + 1],
                padding="same",
                dilation=dilation,
            )
            for c in range(2)
        ]
        parts.append(torch.cat(both, 1))
    y = F.layer_norm(torch.cat(parts, 1).permute(0, 2, 3, 1), (8,)) @ block.expand.weight[:, :, 0, 0].T
    y = y + block.expand.bias
    u, v = y[..., :8], y[..., 8:]
    z = (torch.tanh(torch.exp(u)) * u * v) @ block.reduce.weight[:, :, 0, 0].T + block.reduce.bias
    torch.testing.assert_close(block(x), z.permute(0, 3, 1, 2) + block.scale * x, rtol=1e-4, atol=1e-5)


def test_the_second_stage_works_at_half_the_sides():
    network, seen = gated_depthwise(), []
    network.coarse[0].register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape)))
    network(torch.randn(2, 3, 28, 20))
    assert seen == [(2, 80, 14, 10)]


@pytest.mark.parametrize("width", [0, 10, 40])
def test_a_width_without_thirds_and_quarters_is_refused(width):
    with pytest.raises(UsageError, match=f"multiple of 12.*got {width}"):
        GatedDepthwise(3, 10, width=width)


def test_a_picture_of_one_pixel_is_refused():
    with pytest.raises(ShapeError, match="at least 2"):
        gated_depthwise()(torch.zeros(1, 3, 1, 1))
