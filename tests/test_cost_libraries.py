"""Every classifier of torchvision and networks of timm cost what torch's own counter says."""

import inspect

import pytest
import torch
import torchvision
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from concord.cost.count import count
from concord.zoo.foreign import torchvision_names, usual_input
from concord.zoo.skeleton import skeleton

# One or two of each kind: residual, mobile, attention with and without windows, gates, several branches.
TIMM = (
    "resnet26d efficientnet_b0 mobilenetv3_small_100 vit_tiny_patch16_224 swin_tiny_patch4_window7_224 "
    "convnext_atto regnety_002 mixer_s32_224 ghostnet_100 dla34 dpn68 hrnet_w18_small poolformer_s12 "
    "repvgg_a0 levit_128s edgenext_xx_small nfnet_f0 skresnet18"
)


@pytest.fixture
def in_parts():
    """Attention as single products: torch's fused path shows none of them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        yield
    torch.backends.mha.set_fastpath_enabled(before)


def check(name):
    network, shape = skeleton(name, channels=3, classes=1000), usual_input(name)
    assert all(x.is_meta for x in (*network.parameters(), *network.buffers()))
    cost = count(network, shape)
    network.eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *shape, device="meta"))
    assert 2 * cost.macs == cost.flops == counter.get_total_flops()
    assert cost.parameters == sum(p.numel() for p in network.parameters())
    assert cost.buffers == sum(b.numel() for b in network.buffers())
    for figure in ("parameters", "buffers", "macs", "other_operations", "activations"):
        assert getattr(cost, figure) == sum(getattr(layer, figure) for layer in cost.layers)
    assert cost.peak_activations <= cost.activations + 3 * shape[1] * shape[2]
    assert (cost.device, cost.without_rule) == ("meta", ())
    return cost


@pytest.mark.parametrize("name", torchvision_names())
def test_classifiers_of_torchvision(name, in_parts):
    cost = check(f"torchvision/{name}")
    assert not any("not used" in layer.type for layer in cost.layers)


def test_the_list_is_complete():
    builders = {name for name, value in vars(torchvision.models).items() if inspect.isfunction(value)}
    others = {name for name in builders if name.startswith(("get_", "list_"))}  # they look builders up
    assert set(torchvision_names()) == builders - others


@pytest.mark.parametrize("name", TIMM.split())
def test_networks_of_timm(name, in_parts):
    pytest.importorskip("timm")
    check(f"timm/{name}")


def test_darknet53_at_224_has_41_609_928_parameters_and_7_1_billion_macs():
    pytest.importorskip("timm")
    cost = count(skeleton("timm/darknet53", channels=3, classes=1000), (3, 224, 224))
    assert (cost.parameters, cost.macs) == (41_609_928, 7_109_156_864)
