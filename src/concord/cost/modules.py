"""Layers of torch.nn that are answered from their sizes, so that no kernel runs.

A rule gives None for whatever is out of the ordinary (a wrong input, another kind of padding): then the layer
runs as it is, and torch says what is wrong with it.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from concord.cost.arithmetic import Answer, Fields, Shape, Windows, convolution, linear, per_element
from concord.layers.normalisation import ShiftBatchNorm2d

Leaf = Callable[[Any, Shape, Fields], Answer | None]

ACTIVATIONS = (
    "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish ReLU ReLU6 SELU SiLU "
    "Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink"
)
PASSED_ON = "Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout"


def _convolution(m: Any, shape: Shape, fields: Fields) -> Answer | None:
    n = len(m.kernel_size)
    if len(shape) != n + 2 or shape[1] != m.in_channels or m.padding_mode != "zeros":
        return None
    if isinstance(m.padding, str):  # "same" may pad one side more than the other
        return None
    windows = Windows(m.kernel_size, m.stride, m.padding, m.dilation)
    return convolution(shape, fields, m.out_channels, windows, groups=m.groups, bias=m.bias is not None)


def _linear(m: Any, shape: Shape, fields: Fields) -> Answer | None:
    if shape[-1:] != (m.in_features,):
        return None
    return linear(shape, fields, m.out_features, bias=m.bias is not None)


def _batch_norm(m: Any, shape: Shape, fields: Fields) -> Answer | None:
    if len(shape) < 2 or shape[1] != m.num_features or m.running_mean is None:
        return None
    owned = sum(p is not None for p in m._parameters.values())
    return per_element(shape, fields, 2, owned)


def _activation(m: Any, shape: Shape, fields: Fields) -> Answer:
    return per_element(shape, fields, 1)


def _passed_on(m: Any, shape: Shape, fields: Fields) -> Answer:
    return per_element(shape, fields, 0)


LEAVES: dict[type[nn.Module], Leaf] = {
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
    ShiftBatchNorm2d: _batch_norm,
    **{getattr(nn, name): _activation for name in ACTIVATIONS.split()},
    **{getattr(nn, name): _passed_on for name in PASSED_ON.split()},
}
SAME_TENSOR = frozenset(getattr(nn, name) for name in PASSED_ON.split())


def in_place(m: nn.Module) -> bool:
    """Whether the layer, in evaluation, gives back the very tensor that went in."""
    return type(m) in SAME_TENSOR or vars(m).get("inplace") is True  # a module's getattr is slow to say no
