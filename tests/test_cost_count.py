"""Counts against hand-worked numbers, published figures and what must never change."""

import pytest
import torch
import torchvision
from torch import nn

from concord.cost.count import Cost, count
from concord.errors import ShapeError
from concord.zoo.noel2017_code import noel2017_st


def test_convolution_by_hand():
    # Layer 1 of source 001: 5^2 3 64 + 64 parameters, 64^2 5^2 3 64 products.
    assert count(nn.Conv2d(3, 64, 5, stride=2, padding=2), (3, 128, 128)) == Cost(4_864, 0, 19_660_800)


def test_depthwise_separable_convolution_by_hand():
    # Layer 2 of source 001: (5^2 64 + 64) + (64 128 + 128) parameters, 32^2 64 (5^2 + 128) products.
    pair = nn.Sequential(nn.Conv2d(64, 64, 5, stride=2, padding=2, groups=64), nn.Conv2d(64, 128, 1))
    assert count(pair, (64, 64, 64)) == Cost(9_984, 0, 10_027_008)


def test_transposed_convolution_counts_its_input_positions():
    assert count(nn.ConvTranspose2d(2, 5, 3, stride=2), (2, 4, 7)).macs == 4 * 7 * 9 * 2 * 5


def test_normalisation_activation_and_pooling_are_no_products():
    network = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
    assert count(network, (6, 8, 8)) == Cost(12, 13, 0)  # two means and variances of 6, one counter


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("alexnet", 61_100_840, 714_188_480),
        ("vgg16", 138_357_544, 15_470_264_320),
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet50", 25_557_032, 4_089_184_256),
    ],
)
def test_figures_of_the_specification(name, parameters, macs):
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    cost = count(network, (3, 224, 224))
    assert (cost.parameters, cost.macs) == (parameters, macs)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(5, 5)
        self.other = self.one

    def forward(self, x):
        return self.other(self.one(x))


def test_a_layer_used_twice_counts_its_parameters_once():
    assert count(Twice(), (1, 1, 5)) == Cost(30, 0, 50)


def test_neither_the_picture_nor_the_weights_are_allocated():
    # 12 terabytes of picture and 400 gigabytes of weights.
    side = 1_000_000
    assert count(nn.Conv2d(3, 4, 1), (3, side, side)).macs == 12 * side**2
    with torch.device("meta"):
        network = nn.Linear(320_000, 320_000, bias=False)
    assert count(network, (1, 1, 320_000)) == Cost(320_000**2, 0, 320_000**2)


def test_the_network_is_left_as_it_was():
    network = noel2017_st().train()
    network.stem.eval()
    network.stem.weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    identities = [id(p) for p in network.parameters()]
    random = torch.get_rng_state()
    count(network, (3, 32, 32))
    assert network.training
    assert not network.stem.training
    assert [id(p) for p in network.parameters()] == identities
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


class LooksAtItsInput(nn.Module):
    """Cannot run on the meta device."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x) if x.sum().item() == 0 else x


def test_a_network_that_needs_real_numbers_runs_for_real_and_stays_untouched():
    network = LooksAtItsInput(noel2017_st())
    assert count(network, (3, 32, 32)) == count(network.network, (3, 32, 32))
    assert network.training
    assert network.network.norm.num_batches_tracked == 0


class OneMoreHeadInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.extra = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x) + self.extra(x) if self.training else self.head(x)


def test_the_pass_is_one_of_evaluation():
    assert count(OneMoreHeadInTraining(), (1, 1, 4)) == Cost(30, 0, 12)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.layers(x[0])  # (1, C, T, D) -> (C, T, D)


def test_attention_costs_the_same_on_both_devices():
    # Per layer and 8 steps: projections 4 x 16^2, two products with 8 steps of 16, linear 2 x 16 x 32.
    by_hand = 2 * 8 * (4 * 16**2 + 2 * 8 * 16 + 2 * 16 * 32)
    assert count(Encoder(), (1, 8, 16)).macs == by_hand
    assert count(LooksAtItsInput(Encoder()), (1, 8, 16)).macs == by_hand
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_recurrent_layer_counts_every_step():
    class Characters(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = nn.LSTM(3, 5, batch_first=True)

        def forward(self, x):
            return self.cells(x[0])[0]

    assert count(Characters(), (1, 7, 3)).macs == 7 * 4 * 5 * (3 + 5)


def test_half_precision_networks_count_the_same():
    assert count(noel2017_st().bfloat16(), (3, 32, 32)) == count(noel2017_st(), (3, 32, 32))


def test_the_network_s_own_refusal_comes_through():
    with pytest.raises(ShapeError, match="multiples of 4, got 30x30"):
        count(noel2017_st(), (3, 30, 30))
    with pytest.raises(RuntimeError, match="channels"):
        count(nn.Conv2d(3, 4, 1), (2, 8, 8))
