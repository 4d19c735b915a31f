"""What an operator refuses: tensors that do not fit the layer, values without a sign, gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor

from concord.errors import DataError, ShapeError, UsageError
from concord.native.sizes import Sizes

Shape = tuple[int, ...]
Expected = tuple[tuple[str, Shape], ...]


def vectors_of(sizes: Sizes, maps: Shape) -> Expected:
    """Names and shapes of the float tensors of a convolution, but for input and shortcut: cuts and scales."""
    filters, channels = (sizes.filters,), (sizes.channels,)
    return (
        *(("cut", channels), ("side", channels), ("kmap", (maps[0], 1, *maps[2:]))),
        *((name, filters) for name in ("alpha", "bias", "factor", "shift", "out_cut", "out_side")),
    )


def fitting(tensors: Iterable[Tensor | None], those: Expected, on_cpu: bool) -> list[Tensor | None]:
    """Each with its numbers one after the other. ShapeError unless they are float32 of these shapes.

    They lie where the input does.
    """
    held = []
    for tensor, (name, shape) in zip(tensors, those, strict=True):
        if tensor is not None:
            require_floats(name, tensor, shape, on_cpu)
            tensor = tensor.contiguous()
        held.append(tensor)
    return held


def require_floats(name: str, floats: Tensor, shape: Shape, on_cpu: bool) -> None:
    """ShapeError unless they are float32 of this shape, and lie where the input does."""
    if floats.shape != shape or floats.dtype is not torch.float32 or floats.is_cpu is not on_cpu:
        raise _unfitting(name, floats, shape, torch.float32)


def require_words(name: str, words: Tensor, shape: Shape, on_cpu: bool) -> None:
    """ShapeError unless they are int64 of this shape, and lie where the input does."""
    if words.shape != shape or words.dtype is not torch.int64 or words.is_cpu is not on_cpu:
        raise _unfitting(name, words, shape, torch.int64)


def require_weight(weight: Tensor, sizes: Sizes, on_cpu: bool) -> None:
    """The same for the bits of weights."""
    require_words("weight", weight, (sizes.filters, sizes.kernel[0] * sizes.kernel[1], sizes.words), on_cpu)


def _unfitting(name: str, tensor: Tensor, shape: Shape, dtype: torch.dtype) -> ShapeError:
    return ShapeError(
        f"{name} of a binary layer must be {dtype} {shape} on the device of the input; got {tensor.dtype}"
        f" {tuple(tensor.shape)} on {tensor.device}"
    )


def cuts(cut: Tensor | None, side: Tensor | None, channels: int, on_cpu: bool) -> list[Tensor | None]:
    """``fitting`` for where the values of these channels count as negative."""
    return fitting((cut, side), (("cut", (channels,)), ("side", (channels,))), on_cpu)


def require_pooled(bits: Tensor, falling: Tensor, channels: int, windows: Sizes) -> None:
    """ShapeError unless the bits are those of these channels, and padding is at most half a window."""
    words = -(-channels // 64)
    if bits.ndim != 4 or bits.dtype != torch.int64 or bits.shape[3] != words:
        raise ShapeError(
            f"bits of {channels} channels must be int64 (N, H, W, {words}); got {bits.dtype}"
            f" {tuple(bits.shape)}"
        )
    require_words("falling", falling, (words,), bits.is_cpu)
    if any(2 * p > k for p, k in zip(windows.padding, windows.kernel, strict=True)):
        raise ShapeError(
            f"padding of a pooling is at most half its window; got {windows.padding} for {windows.kernel}"
        )


def require_finite(finite: bool) -> None:
    """DataError: a sign cannot stand for it."""
    if not finite:
        raise DataError(
            "the input of a binary layer has a value that is infinite or no number, which no sign can stand"
            " for; look at the inputs of the network, and at the layers before this one"
        )


def refuse_gradient(x: Tensor) -> None:
    """UsageError where a gradient is wanted."""
    if x.requires_grad and torch.is_grad_enabled():
        raise UsageError(
            "signs have no gradient: a packed network is for use, not for training. Call it under"
            " torch.no_grad(), or train the network that it was packed from"
        )
