"""Layers of torch.nn that are answered from the sizes of their tensors, so that no kernel runs.

A rule reads what torch computes with: weights, biases and statistics, never what the constructor noted down
(``out_features``, ``kernel_size``), because a pruned layer or a new head changes the one and not the other.
It gives None for whatever is out of the ordinary (another input, another kind of padding): then the layer
runs as it is, and torch decides. Where the meta device takes what a processor refuses, it raises Doubt.
"""

from typing import Any

from torch import Tensor, nn

from concord.cost.arithmetic import Answer, Fields, Windows, convolution, linear, per_element
from concord.cost.binary import BINARY
from concord.cost.fitting import Leaf, require, shaped, typed
from concord.layers.normalisation import ShiftBatchNorm2d

ACTIVATIONS = (
    "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish ReLU ReLU6 SELU SiLU "
    "Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink"
)
DROPOUTS = "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout"
# Axes with the batch; without it torch has its own rules.
AXES: dict[type[nn.Module], tuple[int, ...]] = {
    nn.Conv1d: (3,),
    nn.Conv2d: (4,),
    nn.Conv3d: (5,),
    nn.BatchNorm1d: (2, 3),
    nn.BatchNorm2d: (4,),
    nn.BatchNorm3d: (5,),
    ShiftBatchNorm2d: (4,),
    nn.Dropout1d: (3,),
    nn.Dropout2d: (4,),
    nn.Dropout3d: (5,),
}


def _convolution(m: Any, x: Tensor, fields: Fields) -> Answer | None:
    weight = m.weight
    if not isinstance(weight, Tensor) or x.ndim not in AXES[type(m)] or weight.ndim != x.ndim:
        return None
    filters, each, *kernel = weight.shape
    moved = (m.stride, m.padding, m.dilation)  # padding "same" may pad one side more than the other
    if m.padding_mode != "zeros" or not all(_per_axis(sizes, len(kernel)) for sizes in moved):
        return None
    if not isinstance(m.groups, int) or m.groups < 1 or x.shape[1] != each * m.groups or 0 in x.shape:
        return None
    require(typed(weight, x) and typed(m.bias, x) and shaped(m.bias, filters) and filters % m.groups == 0)
    require(min(*m.stride, *m.dilation) > 0 <= min(m.padding))
    windows = Windows(tuple(kernel), *moved)
    shape = tuple(x.shape)
    return convolution(shape, fields, filters, windows, groups=m.groups, bias=m.bias is not None)


def _per_axis(sizes: object, axes: int) -> bool:
    return isinstance(sizes, tuple) and len(sizes) == axes and all(isinstance(size, int) for size in sizes)


def _linear(m: Any, x: Tensor, fields: Fields) -> Answer | None:
    weight = m.weight
    if not isinstance(weight, Tensor) or weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        return None
    require(typed(weight, x) and typed(m.bias, x))
    if not shaped(m.bias, weight.shape[0]):  # one for all
        return None
    return linear(tuple(x.shape), fields, weight.shape[0], bias=m.bias is not None)


def _batch_norm(m: Any, x: Tensor, fields: Fields) -> Answer | None:
    if x.ndim not in AXES[type(m)] or m.running_mean is None or m.running_var is None:
        return None
    tensors = (m.running_mean, m.running_var, m.weight, m.bias)
    require(x.is_floating_point() and all(shaped(t, x.shape[1]) for t in tensors))
    if not all(typed(t, x) for t in tensors):  # statistics in more bits than maps
        return None
    owned = sum(p is not None for p in m._parameters.values())
    return per_element(tuple(x.shape), fields, 2, owned)


def _activation(m: Any, x: Tensor, fields: Fields) -> Answer:
    require(x.is_floating_point())
    return per_element(tuple(x.shape), fields, 1)


def _dropout(m: Any, x: Tensor, fields: Fields) -> Answer | None:
    if x.ndim not in AXES.get(type(m), (x.ndim,)) or not 0 <= m.p <= 1:
        return None
    return per_element(tuple(x.shape), fields, 0)


def _identity(m: Any, x: Tensor, fields: Fields) -> Answer:
    return per_element(tuple(x.shape), fields, 0)


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
    **{getattr(nn, name): _dropout for name in DROPOUTS.split()},
    nn.Identity: _identity,
    **BINARY,
}
SAME_TENSOR = frozenset(kind for kind, leaf in LEAVES.items() if leaf in (_dropout, _identity))


def in_place(m: nn.Module) -> bool:
    """Whether the layer, in evaluation, gives back the very tensor that went in."""
    return type(m) in SAME_TENSOR or vars(m).get("inplace") is True  # a module's getattr is slow to say no
