"""The separable convolution against its own sums and against the dense convolution that it factors."""

import pytest
import torch
import torch.nn.functional as F

from concord.cost.count import count
from concord.layers.separable import SeparableConv2d


def test_one_output_by_hand():
    layer = SeparableConv2d(2, 1, 2)
    with torch.no_grad():
        layer.depthwise.weight.copy_(torch.tensor([[[[1.0, 2], [3, 4]]], [[[5, 0], [0, -1]]]]))
        layer.depthwise.bias.copy_(torch.tensor([1.0, -2]))
        layer.pointwise.weight.copy_(torch.tensor([10.0, 100]).view(1, 2, 1, 1))
        layer.pointwise.bias.fill_(7)
    x = torch.tensor([[[[1.0, 2], [0, 1]], [[3.0, 1], [1, 2]]]])
    # u = (1 + 4 + 0 + 4 + 1, 15 - 2 - 2) = (10, 11), y = 100 + 1100 + 7
    assert layer(x).flatten().tolist() == [1207]


@pytest.mark.parametrize(("kernel_size", "stride", "padding"), [(3, 1, 1), (5, 2, 2), (2, 3, 0), (1, 1, 0)])
def test_it_is_the_dense_convolution_with_the_kernel_of_products(kernel_size, stride, padding):
    layer = SeparableConv2d(3, 4, kernel_size, stride=stride, padding=padding, bias=False).double()
    kernel = layer.pointwise.weight * layer.depthwise.weight[:, 0]  # v[n, m] w[m], (N, M, K, K)
    x = torch.randn(2, 3, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.conv2d(x, kernel, stride=stride, padding=padding))


def test_biases_enter_at_both_steps():
    layer, plain = SeparableConv2d(3, 4, 3).double(), SeparableConv2d(3, 4, 3, bias=False).double()
    plain.load_state_dict({key: value for key, value in layer.state_dict().items() if "weight" in key})
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    constant = layer.pointwise.weight[:, :, 0, 0] @ layer.depthwise.bias + layer.pointwise.bias
    torch.testing.assert_close(layer(x), plain(x) + constant[:, None, None])


@pytest.mark.parametrize("bias", [True, False])
def test_cost_is_that_of_the_formula(bias):
    cost = count(SeparableConv2d(6, 10, 3, stride=2, padding=1, bias=bias), (6, 9, 8))
    assert cost.parameters == 9 * 6 + 6 * 10 + bias * (6 + 10)
    assert cost.macs == 5 * 4 * 6 * (9 + 10)


def test_layers_two_and_three_of_source_001_cost_what_the_text_says():
    two, three = (SeparableConv2d(m, n, 5, stride=2, padding=2) for m, n in ((64, 128), (128, 256)))
    costs = [count(two, (64, 64, 64)), count(three, (128, 32, 32))]
    assert [(cost.parameters, cost.macs) for cost in costs] == [(9_984, 10_027_008), (36_352, 9_207_808)]


def test_gradients_match_finite_differences():
    layer = SeparableConv2d(2, 3, 2, stride=2, padding=1).double()
    assert torch.autograd.gradcheck(layer, torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True))


def test_another_number_of_channels_is_refused():
    with pytest.raises(RuntimeError, match="3 channels"):
        SeparableConv2d(2, 3, 1)(torch.zeros(1, 3, 4, 4))
