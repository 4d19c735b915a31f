"""Causal convolutions and the temporal block beside torch's convolution and sums by hand."""

import pytest
import torch
from torch import nn

from concord.errors import UsageError
from concord.layers.temporal import CausalConv1d, TemporalBlock


def test_values_by_hand():
    layer = CausalConv1d(1, 1, kernel=2, dilation=2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[10.0, 1.0]]]))
        layer.bias.fill_(0.5)
    y = layer(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    assert y.flatten().tolist() == [1.5, 2.5, 13.5, 24.5]  # x_t + 10 x_{t-2} + 0.5


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 4), (7, 2)])
def test_a_step_sees_the_past_alone_and_as_far_as_is_said(kernel, dilation):
    block = TemporalBlock(2, 3, kernel, dilation).double()
    for parameter in block.parameters():
        parameter.data.abs_()  # so that no ReLU stands in the way
    x = torch.rand(1, 2, 60, dtype=torch.float64, requires_grad=True)
    for t in (59, 40):
        seen = torch.autograd.grad(block(x)[0, :, t].sum(), x)[0][0].abs().sum(0).nonzero().flatten()
        assert seen.max() == t
        assert seen.min() >= t - 2 * (kernel - 1) * dilation


def test_a_convolution_is_torchs_behind_zeros():
    layer = CausalConv1d(3, 4, 5, 2)
    x = torch.randn(2, 3, 11)
    padded = torch.cat([torch.zeros(2, 3, 8), x], 2)
    expected = nn.functional.conv1d(padded, layer.weight, layer.bias, dilation=2)
    torch.testing.assert_close(layer(x), expected)


def test_weights_are_g_v_over_the_norm_of_v_for_each_output():
    block = TemporalBlock(2, 3, 2, 1)
    conv = block.path[0]
    g, v = conv.parametrizations.weight.original0, conv.parametrizations.weight.original1
    with torch.no_grad():
        g.copy_(torch.tensor([2.0, 3.0, 5.0])[:, None, None])
    torch.testing.assert_close(conv.weight, g * v / v.flatten(1).norm(dim=1)[:, None, None])
    torch.testing.assert_close(conv.weight.flatten(1).norm(dim=1), torch.tensor([2.0, 3.0, 5.0]))


def test_parameters_and_the_shortcut():
    for c, n, k in ((2, 3, 5), (4, 4, 2)):
        block = TemporalBlock(c, n, k, 1)
        expected = n * (c * k + 2) + n * (n * k + 2) + (n * (c + 1) if c != n else 0)
        assert sum(p.numel() for p in block.parameters()) == expected
    with torch.no_grad():
        for conv in (block.path[0], block.path[3]):
            conv.parametrizations.weight.original0.zero_()
            conv.bias.zero_()
    x = torch.randn(1, 4, 6)
    torch.testing.assert_close(block(x), x.relu())  # the path gives 0, what is left is the shortcut


@pytest.mark.parametrize("spatial", [True, False])
def test_spatial_dropout_drops_whole_channels(spatial):
    torch.manual_seed(0)
    x = torch.ones(1, 50, 30)
    kept = TemporalBlock(50, 50, 1, 1, 0.5, spatial=spatial).path[2](x)[0] > 0  # (C, T)
    whole = [bool(row.all() or not row.any()) for row in kept]
    assert all(whole) == spatial


def test_wrong_sizes_are_refused():
    with pytest.raises(UsageError, match="at least 1, got 0 and 1"):
        CausalConv1d(1, 1, 0)
