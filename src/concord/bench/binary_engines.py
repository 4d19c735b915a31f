"""Chains of equal layers, and a whole network, in every engine that is compared."""

import copy
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from concord import zoo
from concord.layers import pack
from concord.layers.binary.convolution import XNORConv2d
from concord.layers.binary.latent import LatentConv2d, LatentLinear

Call = Callable[[], object]
LAST = torch.channels_last


class Missing(Exception):
    """An engine is not there; the text says which package has it."""


def chains(channels: int, side: int, batch: int, deep: int) -> Mapping[str, Callable[[], Call]]:
    """Engine -> what makes a call of ``deep`` convolutions 3x3 with zero padding."""
    x = torch.randn(batch, channels, side, side).to(memory_format=LAST)

    def binary() -> nn.Module:
        return nn.Sequential(*(XNORConv2d(channels, channels, 3, padding=1, bias=False) for _ in range(deep)))

    def floats() -> nn.Module:
        layers = nn.Sequential(
            *(nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(deep))
        )
        return layers.requires_grad_(False)

    return {
        "concord": lambda: _calling(pack(binary()), x),
        "torch": lambda: _faster(floats(), x),
        "bfloat16": lambda: _calling(floats().to(torch.bfloat16).to(memory_format=LAST), x.bfloat16()),
        "int8": lambda: _int8(channels, x, deep),
        "openvino": lambda: _openvino(binary(), x),
        "openvino float32": lambda: _openvino(floats(), x),
    }


def networks(name: str, batch: int) -> Mapping[str, Callable[[], Call]]:
    """Engine -> what makes a call of a binary network of the zoo, or of the same network in floats."""
    entry = zoo.find(name)
    binary = zoo.build(name, channels=entry.example[0], classes=1000).eval()
    x = torch.randn(batch, *entry.example).to(memory_format=LAST)
    return {
        "concord": lambda: _calling(pack(binary, joined="floats"), x),
        "concord exact": lambda: _calling(pack(binary), x),
        "torch": lambda: _faster(in_floats(binary), x),
        "bfloat16": lambda: _calling(in_floats(binary).bfloat16().to(memory_format=LAST), x.bfloat16()),
        "openvino": lambda: _openvino(binary, x),
        "openvino float32": lambda: _openvino(in_floats(binary), x),
    }


def in_floats(network: nn.Module) -> nn.Module:
    """The network with float layers, and no signs, in the place of binary ones."""
    made = copy.deepcopy(network)
    for parent in [*made.modules()]:
        for name, child in [*parent.named_children()]:
            if (plain := _in_floats(child)) is not None:
                setattr(parent, name, plain)
    return made.eval().requires_grad_(False)


def _in_floats(layer: nn.Module) -> nn.Module | None:
    bias = getattr(layer, "bias", None) is not None
    if isinstance(layer, LatentLinear):
        return nn.Linear(layer.in_features, layer.out_features, bias=bias)
    if not isinstance(layer, LatentConv2d):
        return None
    moved = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups
    return nn.Conv2d(layer.in_channels, layer.out_channels, *moved, bias=bias)  # type: ignore[arg-type]


def _calling(network: nn.Module, x: Tensor) -> Call:
    return lambda: network(x)


def _faster(network: nn.Module, x: Tensor) -> Call:
    """In the layout of memory in which it is faster."""
    from concord.bench.binary import FIRST, spend

    plain, last = x.contiguous(), copy.deepcopy(network).to(memory_format=LAST)
    with torch.inference_mode():
        first = spend(lambda: network(plain), FIRST)
        second = spend(lambda: last(x), FIRST)
    return _calling(network, plain) if first < second else _calling(last, x)


def _int8(channels: int, x: Tensor, deep: int) -> Call:
    """Quantised layers of torch that hand each other bytes; the input is quantised in each call."""
    try:
        from torch.ao.nn.quantized import Conv2d
    except ImportError as error:
        raise Missing("this torch has no quantised convolutions") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will drop them
        layers = nn.Sequential(*(Conv2d(channels, channels, 3, padding=1) for _ in range(deep)))

        def call() -> object:
            return layers(torch.quantize_per_tensor(x, 0.1, 64, torch.quint8))

        call()
    return call


def _openvino(network: nn.Module, x: Tensor) -> Call:
    """Its input and output keep their memory from call to call, which PyTorch's do not."""
    try:
        import openvino
    except ImportError as error:
        raise Missing("pip install openvino") from error
    from concord.runs.export_openvino import openvino_model

    model = openvino_model(network.eval(), x)
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x.contiguous().numpy()))
    return request.infer
