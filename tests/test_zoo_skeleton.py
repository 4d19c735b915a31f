"""Networks without weights: the same shapes, nothing allocated, nothing left changed."""

import sys
from contextlib import nullcontext
from inspect import signature
from textwrap import dedent

import pytest
import torch
from torch import nn

from concord.errors import UsageError
from concord.zoo import registry
from concord.zoo.build import build
from concord.zoo.skeleton import skeleton


def shapes(network):
    return {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}


def on_meta(network):
    return all(x.is_meta for x in (*network.parameters(), *network.buffers()))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that puts code into a module of the user's and gives the name of its factory."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, body):
        head = "import torch\nfrom torch import nn\n\ndef factory(channels=3, classes=10):\n"
        (tmp_path / f"{name}.py").write_text(head + dedent(body).replace("\n", "\n    "))
        return f"{name}:factory"

    yield write
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(module)]:
        del sys.modules[name]


def made(name, **options):
    return skeleton(name, channels=3, classes=10, allow_code=[name], **options)


SMALL = [row["name"] for row in registry.listing() if row["parameters"] < 2_000_000]


@pytest.mark.parametrize("name", [*SMALL, "torchvision/mnasnet0_5", "torchvision/regnet_y_400mf"])
def test_a_skeleton_has_the_shapes_of_the_network(name):
    bare, real = (make(name, channels=3, classes=7) for make in (skeleton, build))
    assert shapes(bare) == shapes(real)
    assert on_meta(bare)
    assert not any(p.is_meta for p in real.parameters())


@pytest.mark.parametrize("row", registry.listing(), ids=lambda row: row["name"])
def test_the_skeleton_of_every_network_of_the_zoo_has_the_parameters_in_print(row):
    entry = registry.find(row["name"])
    channels, classes = (signature(entry.build).parameters[name].default for name in ("channels", "classes"))
    network = skeleton(row["name"], channels=channels, classes=classes)
    assert sum(p.numel() for p in network.parameters()) == row["parameters"]
    assert on_meta(network)


def test_networks_that_calculate_while_they_are_built_hold_no_weights_either():
    network = skeleton("torchvision/regnet_y_128gf", channels=3, classes=1000)  # 2.6 gigabytes with weights
    assert sum(p.numel() for p in network.parameters()) == 644_812_894
    assert on_meta(network)


def test_a_hundred_billion_parameters(own):
    name = own("large", "\nrates = torch.linspace(0, 1, 3).tolist()\nreturn nn.Linear(320_000, 320_000)")
    assert made(name).weight.numel() == 320_000**2


def test_what_modules_share_they_still_share(own):
    name = own(
        "tied",
        """
        depth = int(torch.ones(2).sum().item())
        first, last = nn.Embedding(5, depth), nn.Linear(depth, 5)
        last.weight, first.scale = first.weight, nn.Parameter(torch.ones(3))
        last.scale = first.scale
        first.register_buffer("place", torch.arange(4))
        last.register_buffer("place", first.place)
        return nn.Sequential(first, last)""",
    )
    first, last = made(name)
    assert on_meta(made(name))
    assert (first.weight is last.weight, first.scale is last.scale, first.place is last.place) == (True,) * 3
    assert (first.place.dtype, first.scale.requires_grad) == (torch.int64, True)


def test_frozen_parameters_stay_frozen(own):
    name = own(
        "frozen",
        """
        torch.zeros(1).item()
        layer = nn.Linear(2, 2)
        layer.bias.requires_grad_(False)
        layer.weight = nn.Parameter(torch.ones(2, 2), requires_grad=False)
        return layer""",
    )
    layer = made(name)
    assert (layer.bias.requires_grad, layer.weight.requires_grad, on_meta(layer)) == (False, False, True)


def test_what_needs_the_numbers_of_its_weights_is_built_for_real(own):
    name = own(
        "own_numbers", "\nlayer = nn.Linear(2, 2)\nlayer.largest = layer.weight.max().item()\nreturn layer"
    )
    layer = made(name)
    assert not on_meta(layer)
    assert layer.largest == layer.weight.max().item()


@pytest.mark.parametrize(
    "body",
    [
        "\nreturn nn.Linear(channels, classes)",
        "\ntorch.rand(3).tolist()\nreturn nn.Linear(channels, classes)",
        "\nlayer = nn.Linear(channels, classes)\nlayer.weight.max().item()\nreturn layer",
        "\nraise ValueError('no')",
    ],
)
def test_initialisers_and_random_numbers_are_left_as_they_were(own, body):
    name = own(f"left{abs(hash(body))}", body)
    before = {key: value for key, value in vars(nn.init).items() if callable(value)}
    random, device = torch.get_rng_state(), torch.get_default_device()
    with pytest.raises(UsageError, match="ValueError: no") if "raise" in body else nullcontext():
        made(name)
    assert {key: value for key, value in vars(nn.init).items() if callable(value)} == before
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_default_device() == device
    assert torch.empty(1).device == device
    torch.manual_seed(3)
    assert nn.Linear(2, 2).weight.abs().max() > 0


def test_errors_are_those_of_build():
    with pytest.raises(UsageError, match="no network is named 'resnet81'"):
        skeleton("resnet81", channels=3, classes=10)
    with pytest.raises(UsageError, match="channels and classes must be at least 1"):
        skeleton("resnet18", channels=0, classes=10)
    with pytest.raises(UsageError, match="is code outside concord"):
        skeleton("some.module:factory", channels=3, classes=10)
