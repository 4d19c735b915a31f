"""A network as an OpenVINO model, in which XNOR layers are its operation BinaryConvolution.

Before it a FakeQuantize of two levels gives 0 and 1. It compares x > low, our sign x < 0: with the float next
below 0 as ``low`` they are the same, for 0.0 and -0.0 too. Padding of BinaryConvolution is an exact 0.

OpenVINO 2026.4 takes no free batch size there, and gives wrong numbers, or none, where the channels are not
a multiple of 8; its FakeQuantize takes four axes alone, and is moved before what makes four of two. So dense
layers, and convolutions of other channels, of several groups or with a padding of 1, become float
convolutions of signs. Layers whose inputs are real numbers become float layers with the signs of their
weights.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from concord.layers.packed.network import has_binary_layers, pack
from concord.native import words
from concord.native.sizes import Sizes
from concord.runs.export_formats import Ask, converting, need_openvino

if TYPE_CHECKING:
    import openvino

CHANNELS = 8  # a multiple of which BinaryConvolution takes
BELOW_ZERO = np.nextafter(np.float32(0), np.float32(-1))
NONE = "PtFrameworkNode"  # what stands for None
OPERATOR = "concord.binary_conv.default"


class Files(NamedTuple):
    """The two files of a model, and OpenVINO on them."""

    xml: bytes
    weights: bytes
    ask: Ask


def openvino_files(network: nn.Module, example: Tensor, about: Mapping[str, str]) -> Files:
    """The model for one sample, its description under ``concord`` in its runtime information.

    ConversionError if it cannot be made or run. Shape of the example: (B, ...)
    """
    import openvino

    with converting(), TemporaryDirectory() as folder:
        model = openvino_model(network, example[:1])
        for key, value in about.items():
            model.set_rt_info(value, ["concord", key])
        file = Path(folder, "model.xml")
        openvino.save_model(model, file, compress_to_fp16=False)
        content = file.read_bytes(), file.with_suffix(".bin").read_bytes()
        core = openvino.Core()
        saved = core.read_model(content[0], content[1])

    def ask(x: Tensor) -> Tensor:
        with converting():
            saved.reshape(openvino.PartialShape([*x.shape]))
            compiled = core.compile_model(saved, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            return torch.from_numpy(compiled(x.numpy())[0].copy())

    return Files(*content, ask)


def openvino_model(network: nn.Module, example: Tensor) -> "openvino.Model":
    """The model for inputs of the shape and type of the example; ``model.reshape`` gives other batch sizes.

    Raises UsageError where openvino is missing, and what torch.export or OpenVINO raise on a network that
    they cannot follow. Shape of the example: (B, ...)
    """
    need_openvino()
    import openvino
    from openvino.frontend.pytorch import ConversionExtension

    own = pack(network, joined="no") if has_binary_layers(network) else network.eval()
    several = torch.cat([example[:1]] * 2)  # torch.export takes a single sample for a fixed batch
    with torch.no_grad():
        program = torch.export.export(own, (several,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        extension = ConversionExtension(OPERATOR, _converted)
        model = openvino.convert_model(program, extension=[extension])
    _set_lows(model)
    model.reshape(openvino.PartialShape([*example.shape]))
    return model


def _converted(context: Any) -> list[Any]:
    """What OpenVINO makes of the operator of packed layers, see ``concord.native.ops``."""
    from openvino import opset13

    inputs: list[Any] = [context.get_input(i) for i in range(context.get_input_size())]
    given = [None if output.get_node().get_type_name() == NONE else output for output in inputs]
    x, weight, _, flat = inputs[:4]
    alpha, bias, _, _, kmap = (*given[4:9], *[None] * 5)[:5]
    sizes = Sizes.of([int(n) for n in _constant(flat)])
    packed = torch.from_numpy(_constant(weight).copy())
    signs = words.weight_signs(packed, sizes.channels // sizes.groups, sizes.kernel)
    rows = x.get_partial_shape()[0].is_static  # of a dense layer, whose samples lie along the last axis
    y = _binary(x, signs, sizes) if fits(sizes) and not rows else _of_signs(x, signs, sizes)
    if kmap is not None:
        y = opset13.multiply(y, kmap)
    if alpha is not None:
        y = opset13.multiply(y, _column(alpha))
    if bias is not None:
        y = opset13.add(y, _column(bias))
    return [y.output(0)]


def _set_lows(model: "openvino.Model") -> None:
    """Puts ``BELOW_ZERO`` where the converter made 0 of it, as of all numbers below 1.2e-38."""
    from openvino import opset13

    low = opset13.constant(np.full((1, 1, 1, 1), BELOW_ZERO, np.float32)).output(0)
    for node in model.get_ops():
        if node.get_type_name() == "BinaryConvolution":
            quantised = node.input_value(0).get_node()
            for place in (1, 2):
                quantised.input(place).replace_source_output(low)


def fits(sizes: Sizes) -> bool:
    """Whether a layer becomes a BinaryConvolution."""
    return sizes.channels % CHANNELS == 0 and sizes.groups == 1 and not sizes.ones


def _binary(x: Any, signs: Tensor, sizes: Sizes) -> Any:
    from openvino import op, opset1, opset13

    low, zero, one = (
        opset13.constant(np.full((1, 1, 1, 1), value, np.float32)) for value in (BELOW_ZERO, 0, 1)
    )
    bits = opset13.fake_quantize(x, low, low, zero, one, 2)
    stride, padding, dilation = (list(pair) for pair in (sizes.stride, sizes.padding, sizes.dilation))
    weights = op.Constant(_bits(signs))
    return opset1.binary_convolution(bits, weights, stride, padding, padding, dilation, "xnor-popcount", 0.0)


def _bits(signs: Tensor) -> "openvino.Tensor":
    """1 for +1, the first in the lowest bit of a byte. Shape: (O, C, KH, KW) -> the same, of u1"""
    import openvino

    packed = np.packbits((signs > 0).flatten().numpy(), bitorder="little")
    made = openvino.Tensor(openvino.Type.u1, openvino.Shape([*signs.shape]))
    made.data.view(np.uint8).reshape(-1)[: len(packed)] = packed
    return made


def _of_signs(x: Any, signs: Tensor, sizes: Sizes) -> Any:
    """A float convolution of +1 and -1."""
    from openvino import opset13

    zero, one, less = (opset13.constant(np.float32(value)) for value in (0, 1, -1))
    x = opset13.select(opset13.less(x, zero), less, one)
    stride, padding, dilation = (list(pair) for pair in (sizes.stride, sizes.padding, sizes.dilation))
    if sizes.ones:
        around = opset13.constant(np.array([0, 0, *padding]))
        x, padding = opset13.pad(x, around, around, "constant", one), [0, 0]
    if sizes.groups == 1:
        return opset13.convolution(x, opset13.constant(signs.numpy()), stride, padding, padding, dilation)
    grouped = opset13.constant(signs.unflatten(0, (sizes.groups, -1)).numpy())
    return opset13.group_convolution(x, grouped, stride, padding, padding, dilation)


def _constant(output: Any) -> Any:
    """The numbers of a constant, as numpy has them."""
    return output.get_node().get_data()


def _column(output: Any) -> Any:
    """Scales of maps. Shape: (O,) -> (O, 1, 1)"""
    from openvino import opset13

    return opset13.constant(_constant(output).reshape(-1, 1, 1).astype(np.float32))
