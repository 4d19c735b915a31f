"""AlexNet of 2012 against the paper's figures and against two towers written apart."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from concord.errors import ShapeError, UsageError
from concord.zoo.alexnet import AlexNet, alexnet_paper, response_norm


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return alexnet_paper().eval()


def layers(network):
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def test_parameters_of_each_layer(network):
    # kernels of the paper: 11x11x3, 5x5x48, 3x3x256, 3x3x192, 3x3x192
    kernels = 96 * 11 * 11 * 3, 256 * 25 * 48, 384 * 9 * 256, 384 * 9 * 192, 256 * 9 * 192
    dense = 9216 * 4096, 4096 * 4096, 4096 * 1000
    widths = 96, 256, 384, 384, 256, 4096, 4096, 1000
    expected = [weights + width for weights, width in zip((*kernels, *dense), widths, strict=True)]
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers(network)] == expected


def test_neurons_of_each_layer_are_those_of_the_paper(network):
    seen = []
    hooks = [
        layer.register_forward_hook(lambda _, __, y: seen.append(y.numel())) for layer in layers(network)
    ]
    with torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    # 253,440 is printed for the first, but 55 x 55 x 96 = 290,400
    assert seen == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]


def test_response_norm_is_the_formula_of_the_paper():
    x = 30 * torch.randn(2, 7, 3, 2, dtype=torch.float64)  # so large that the sum counts
    expected = torch.empty_like(x)
    for i in range(7):
        neighbours = x[:, max(0, i - 2) : min(6, i + 2) + 1]
        expected[:, i] = x[:, i] / (2 + 1e-4 * neighbours.square().sum(1)) ** 0.75
    torch.testing.assert_close(response_norm()(x), expected)


def test_response_norm_by_hand():
    x = torch.tensor([300.0, -400, 0, 1000]).view(1, 4, 1, 1)
    # 2 + 1e-4 (90,000 + 160,000) = 27 for the first; all four enter the second: 2 + 125 = 127
    y = response_norm()(x).flatten().tolist()
    assert y[:2] == pytest.approx([300 / 27**0.75, -400 / 127**0.75], rel=1e-5)


def two_towers(state, x):
    """The network as figure 2 draws it: halves of 48, 128, 192, 192, 128 maps that meet at convolution 3."""
    weights = [state[f"features.{at}.weight"] for at in (0, 4, 8, 10, 12)]
    biases = [state[f"features.{at}.bias"] for at in (0, 4, 8, 10, 12)]

    def conv(halves, layer, **options):
        kernels, shifts = weights[layer].chunk(2), biases[layer].chunk(2)
        return [F.conv2d(h, k, b, **options).relu() for h, k, b in zip(halves, kernels, shifts, strict=True)]

    def norm(halves):
        a = torch.cat(halves, 1)
        squares = F.pad(a.square(), (0, 0, 0, 0, 2, 2))
        total = sum(squares[:, d : d + a.shape[1]] for d in range(5))
        return (a / (2 + 1e-4 * total) ** 0.75).chunk(2, 1)

    def pool(halves):
        return [F.max_pool2d(h, 3, 2) for h in halves]

    halves = pool(norm(conv([F.pad(x, (2, 2, 2, 2))] * 2, 0, stride=4)))
    halves = pool(norm(conv(halves, 1, padding=2)))
    halves = conv([torch.cat(list(halves), 1)] * 2, 2, padding=1)
    halves = pool(conv(conv(halves, 3, padding=1), 4, padding=1))
    x = torch.cat(halves, 1).flatten(1)
    for at in (0, 3):
        x = (x @ state[f"classifier.{at}.weight"].T + state[f"classifier.{at}.bias"]).relu()
    return x @ state["classifier.6.weight"].T + state["classifier.6.bias"]


def test_forward_pass_equals_two_towers(network):
    x = 100 * torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(network(x), two_towers(network.state_dict(), x), rtol=1e-4, atol=1e-4)


def test_weights_start_small_and_some_biases_at_one(network):
    assert [layer.bias.unique().tolist() for layer in layers(network)] == [
        [b] for b in (0, 1, 0, 1, 1, 1, 1, 0)
    ]
    for layer in layers(network):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert layer.weight.mean().item() == pytest.approx(0, abs=2e-4)


def test_dropout_follows_the_two_hidden_dense_layers(network):
    names = [type(m).__name__ for m in network.classifier]
    assert names == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert {m.p for m in network.classifier if isinstance(m, nn.Dropout)} == {0.5}


@pytest.mark.parametrize("sides", [(223, 230), (227, 227)])
def test_sides_near_224_are_taken(sides):
    with torch.device("meta"):
        assert AlexNet(3, 7)(torch.empty(1, 3, *sides)).shape == (1, 7)


@pytest.mark.parametrize("sides", [(222, 224), (224, 231), (32, 32)])
def test_other_sides_are_refused(sides):
    with torch.device("meta"), pytest.raises(ShapeError, match=f"223 to 230 .*got {sides[0]}x{sides[1]}"):
        AlexNet(3, 7)(torch.empty(1, 3, *sides))


def test_no_channels_are_refused():
    with pytest.raises(UsageError, match="at least 1"):
        AlexNet(0, 10)
