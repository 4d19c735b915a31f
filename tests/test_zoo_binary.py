"""Binary networks of the zoo against the figures of their papers and networks written apart."""

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from concord import zoo
from concord.errors import ShapeError, UsageError
from concord.layers.binary.latent import LatentConv2d, LatentLinear
from concord.zoo.xnor_alexnet import bwn_alexnet, xnor_alexnet
from concord.zoo.xnor_lenet5 import bwn_lenet5, xnor_lenet5
from concord.zoo.xnor_resnet18 import WIDTHS, BWNUnit, XNORUnit, xnor_resnet18

NAMES = [f"{kind}_{network}" for network in ("alexnet", "lenet5", "resnet18") for kind in ("xnor", "bwn")]
BUILDS = [zoo.find(name).build for name in NAMES]
every = pytest.mark.parametrize("build", BUILDS, ids=NAMES)


class LeavesOfConcord(fx.Tracer):
    """Binary layers are steps of the graph, as those of torch.nn are."""

    def is_leaf_module(self, m, qualified_name):
        return isinstance(m, LatentConv2d | LatentLinear) or super().is_leaf_module(m, qualified_name)


def signs(x):
    return 1 - 2 * (x < 0).to(x.dtype)


def norm(state, path, x, eps):
    """Batch normalisation in evaluation, in its four numbers per map."""
    sides = (1, -1, *[1] * (x.ndim - 2))
    mean, var, weight, bias = (
        state[f"{path}.{name}"].view(sides) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return weight * (x - mean) / (var + eps).sqrt() + bias


def scaled(state, path):
    """alpha sign(W) and the bias of a binary layer."""
    weight = state[f"{path}.weight"]
    alpha = weight.abs().flatten(1).mean(1).view(-1, *[1] * (weight.ndim - 1))
    return alpha * signs(weight), state.get(f"{path}.bias")


def moved(network):
    """In float64, with statistics, scales and shifts unlike those of the start."""
    generator = torch.Generator().manual_seed(3)
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for x in (module.running_mean, module.bias.data, module.weight.data):
                x.copy_(torch.randn(x.shape, generator=generator, dtype=x.dtype))
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network


def test_alexnet_is_the_order_of_layers_of_the_authors():
    """models/alexnetxnor.lua, line by line."""
    torch.manual_seed(0)
    network = moved(xnor_alexnet(1, 7))
    state, x = network.state_dict(), torch.randn(2, 1, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        y = F.conv2d(x, state["stem.0.weight"], state["stem.0.bias"], stride=4, padding=2)
        y = F.max_pool2d(F.relu(norm(state, "stem.1", y, 1e-5)), 3, 2)
        for number, padding in enumerate((2, 1, 1, 1, 0, 0)):
            weight, bias = scaled(state, f"blocks.{number}.1")
            y = F.conv2d(signs(norm(state, f"blocks.{number}.0", y, 1e-4)), weight, bias, padding=padding)
            if number in (0, 3):
                y = F.max_pool2d(y, 3, 2)
        y = F.relu(norm(state, "head.0", y, 1e-3))
        y = F.conv2d(y, state["head.2.weight"], state["head.2.bias"]).flatten(1)
        torch.testing.assert_close(network(x), y)


def test_steps_of_both_alexnets_are_those_of_the_authors():
    """Kinds of layers in order, with eps and the share that drops out; signs do not show eps."""

    def steps(network):
        leaves = [m for m in network.modules() if not [*m.children()]]
        return [(type(m).__name__.rstrip("2d"), getattr(m, "eps", getattr(m, "p", None))) for m in leaves]

    with torch.device("meta"):
        xnor, bwn = steps(xnor_alexnet()), steps(bwn_alexnet())
    pool, active, drop = ("MaxPool", None), ("ReLU", None), ("Dropout", 0.1)
    block, last = [("BatchNorm", 1e-4), ("XNORConv", None)], ("Conv", None)
    stem = [last, ("BatchNorm", 1e-5), active, pool]
    head = [("BatchNorm", 1e-3), active, last]
    assert xnor == [*stem, *block, pool, *block, *block, *block, pool, *block, *block, *head]

    block, stem = [("BWNConv", None), ("BatchNorm", 1e-3), active], [last, ("BatchNorm", 1e-3), active, pool]
    assert bwn == [*stem, *block, pool, *block, *block, *block, pool, drop, *block, drop, *block, last]


def test_lenet_is_normalisation_sign_layer_pooling():
    torch.manual_seed(0)
    network = moved(xnor_lenet5())
    state, x = network.state_dict(), torch.randn(3, 1, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        y = F.conv2d(x, state["stem.0.weight"], state["stem.0.bias"])
        y = F.max_pool2d(F.relu(norm(state, "stem.1", y, 1e-5)), 2)
        y = F.conv2d(signs(norm(state, "binary.0", y, 1e-5)), *scaled(state, "binary.1"))
        y = F.max_pool2d(y, 2).flatten(1)
        y = F.linear(signs(norm(state, "binary.4", y, 1e-5)), *scaled(state, "binary.5"))
        y = F.linear(F.relu(norm(state, "binary.6", y, 1e-5)), state["head.weight"], state["head.bias"])
        torch.testing.assert_close(network(x), y)


def test_bwn_is_layer_normalisation_relu_pooling():
    torch.manual_seed(0)
    network = moved(bwn_lenet5())
    state, x = network.state_dict(), torch.randn(3, 1, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        y = F.conv2d(x, state["stem.0.weight"], state["stem.0.bias"])
        y = F.max_pool2d(F.relu(norm(state, "stem.1", y, 1e-5)), 2)
        y = F.conv2d(y, *scaled(state, "binary.0"))
        y = F.max_pool2d(F.relu(norm(state, "binary.1", y, 1e-5)), 2).flatten(1)
        y = F.relu(norm(state, "binary.6", F.linear(y, *scaled(state, "binary.5")), 1e-5))
        torch.testing.assert_close(network(x), F.linear(y, state["head.weight"], state["head.bias"]))


@pytest.mark.parametrize(("unit", "active"), [(XNORUnit, signs), (BWNUnit, F.relu)])
def test_a_real_shortcut_stands_around_every_binary_convolution(unit, active):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    same, halved = moved(unit(3, 3)), moved(unit(3, 4))
    with torch.no_grad():
        state = same.state_dict()
        y = F.conv2d(active(x), scaled(state, "conv")[0], padding=1)
        torch.testing.assert_close(same(x), x + norm(state, "norm", y, 1e-5))

        state = halved.state_dict()
        y = F.conv2d(active(x), scaled(state, "conv")[0], stride=2, padding=1)
        last = x[:, :, 4:].unflatten(3, (3, 2)).mean(4)  # the odd row: averages of two
        means = torch.cat([F.avg_pool2d(x[:, :, :4], 2), last], 2)
        short = norm(state, "shortcut.2", F.conv2d(means, state["shortcut.1.weight"]), 1e-5)
        torch.testing.assert_close(halved(x), short + norm(state, "norm", y, 1e-5))


def test_the_residual_stream_has_sixteen_units():
    with torch.device("meta"):
        network = xnor_resnet18()
    units = [unit for stage in network.stages for unit in stage]
    assert [unit.conv.out_channels for unit in units] == [width for width in WIDTHS for _ in range(4)]
    assert [unit.conv.stride[0] for unit in units] == [1] * 4 + [2, 1, 1, 1] * 3
    assert {unit.conv.estimator for unit in units} == {"polynomial"}


@every
def test_the_first_and_the_last_layer_and_shortcuts_are_float(build):
    with torch.device("meta"):
        network = build()
    layers = {path: m for path, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    binary = {path for path, m in layers.items() if hasattr(m, "undecayed")}
    first, *_, last = layers
    shortcuts = {path for path in layers if "shortcut" in path}
    assert layers.keys() - binary == {first, last} | shortcuts
    assert len(binary) == {"alexnet": 6, "lenet5": 2, "resnet18": 16}[build.__name__.split("_")[1]]


@every
def test_symbolic_tracing_follows_the_network_and_keeps_its_check(build):
    torch.manual_seed(0)
    side = 28 if "lenet5" in build.__name__ else 64 if "resnet" in build.__name__ else 224
    network = build(channels=1, classes=3).eval()
    traced = fx.GraphModule(network, LeavesOfConcord().trace(network))
    x = torch.randn(1, 1, side, side)
    with torch.no_grad():
        assert torch.equal(traced(x), network(x))
    with pytest.raises(ShapeError, match=r"expected \(B, 1, H, W\)"):
        traced(torch.zeros(1, 2, side, side))


@every
def test_networks_without_classes_are_refused(build):
    with pytest.raises(UsageError, match="at least 1"):
        build(classes=0)


@pytest.mark.parametrize("side", [27, 29])
def test_lenet_refuses_other_sides(side):
    with pytest.raises(ShapeError, match=f"must be 28, got {side}x28; resize"):
        xnor_lenet5()(torch.zeros(1, 1, side, 28))


def test_alexnet_refuses_maps_that_would_not_end_in_one_place():
    with torch.device("meta"):
        network = xnor_alexnet()
    for side in (222, 231):
        with pytest.raises(ShapeError, match=f"223 to 230 .*got 224x{side}"):
            network(torch.empty(1, 3, 224, side, device="meta"))
