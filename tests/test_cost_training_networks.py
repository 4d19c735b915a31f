"""Identities of training costs that every network of the zoo and of torchvision keeps."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from training_cost_made import Products

from concord import zoo
from concord.cost.count import count
from concord.cost.training import count_training
from concord.zoo.foreign import torchvision_names, usual_input
from concord.zoo.skeleton import skeleton

BATCH = 2
LEARNING = (nn.Conv2d, nn.Conv1d, nn.Linear)
# one network of each family of torchvision now; `make soak` does the others
QUICK = (
    "alexnet densenet121 efficientnet_b0 googlenet mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_y_400mf"
    " resnext50_32x4d shufflenet_v2_x1_0 squeezenet1_1 vgg11_bn"
)
ATTENTION = ("maxvit", "swin", "vit_")
PICTURES = {
    row["name"]: row["module"]
    for row in sorted(zoo.listing(), key=lambda row: -row["macs"])
    if len(row["input"]) == 3 and row["module"] != "concord.zoo.library"
}
CHEAPEST = {module: name for name, module in PICTURES.items()}.values()


def now_or_in_a_soak(names, now):
    return [pytest.param(name, marks=() if name in now else pytest.mark.soak) for name in names]


def oracle(network, shape):
    """Multiply-accumulates of both passes, and names of the layers whose input needs no gradient."""
    first = set()
    for path, module in network.named_modules():
        if isinstance(module, LEARNING):
            module.register_forward_pre_hook(
                lambda _, args, path=path: None if args[0].requires_grad else first.add(path)
            )
    seen, x = Products(), torch.empty(BATCH, *shape, device="meta")
    with sdpa_kernel(SDPBackend.MATH), seen:
        out = network.train()(x)
        outputs = [y for y in torch.utils._pytree.tree_leaves(out) if y.requires_grad]
        seen.in_backward = True
        torch.autograd.backward(outputs, [torch.ones_like(y) for y in outputs])
    return seen, first


def check(name, channels, classes, shape):
    cost = count_training(skeleton(name, channels=channels, classes=classes), shape, batch=BATCH)
    seen, first = oracle(skeleton(name, channels=channels, classes=classes), shape)
    assert (cost.forward_macs, cost.backward_macs) == (seen.forward, seen.backward)
    assert (cost.device, cost.without_rule) == ("meta", ())
    assert cost.macs == sum(layer.macs for layer in cost.layers)
    assert cost.kept_bytes == sum(layer.kept_bytes for layer in cost.layers) > 0
    assert cost.moved_bytes > cost.kept_bytes
    return cost, first


def check_convolutions(name, channels, classes, shape):
    """Three times the forward pass of evaluation, less the input gradients of layers that see the input."""
    cost, first = check(name, channels, classes, shape)
    forward = count(skeleton(name, channels=channels, classes=classes), shape).macs
    assert cost.forward_macs == cost.weight_gradient_macs == BATCH * forward
    stem = sum(layer.forward_macs for layer in cost.layers if layer.path in first)
    assert cost.macs == 3 * BATCH * forward - stem
    assert all(layer.input_gradient_macs == 0 for layer in cost.layers if layer.path in first)
    return stem


@pytest.mark.parametrize("name", now_or_in_a_soak(PICTURES, CHEAPEST))
def test_networks_of_the_zoo(name):
    entry = zoo.find(name)
    check_convolutions(name, entry.example[0], 10, entry.example)


@pytest.mark.parametrize("name", now_or_in_a_soak(torchvision_names(), QUICK.split()))
def test_classifiers_of_torchvision(name):
    name = f"torchvision/{name}"
    shape = usual_input(name)
    if any(kind in name for kind in ATTENTION):
        check(name, 3, 1000, shape)
    else:
        assert check_convolutions(name, 3, 1000, shape) > 0


@pytest.mark.parametrize("name", ["vit_b_32", "swin_t", "swin_v2_t"])
def test_attention_of_torchvision(name):
    cost, _ = check(f"torchvision/{name}", 3, 1000, (3, 224, 224))
    pairs = cost.forward_macs - cost.weight_gradient_macs  # Q K^T and A V have no weights
    assert cost.input_gradient_macs > cost.weight_gradient_macs - pairs > 0


def test_mobilenet_v2_costs_three_times_its_forward_pass_less_its_first_layer():
    """torch.utils.flop_counter of 2.15 says 20.41 times. The first layer: 112² places, 3²·3·32 products."""
    first = 112 * 112 * 3 * 3 * 3 * 32
    cost, _ = check("mobilenet_v2", 3, 1000, (3, 224, 224))
    assert cost.macs == BATCH * (3 * 300_774_272 - first)
