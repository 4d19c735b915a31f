"""The gradient of one unit of a map inside a network, by the picture."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from concord.attack.gradient import gradient
from concord.errors import ShapeError


class LastMap(TorchFunctionMode):
    """Keeps the last tensor of a shape that comes about while a module runs, its own operations included."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.running = shape, False
        self.found: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.running and isinstance(out, Tensor) and out.requires_grad and tuple(out.shape) == self.shape:
            self.found = out
        return out

    def begin(self, *_: Any) -> None:
        self.running = True

    def end(self, *_: Any) -> None:
        self.running = False


def gradient_of_unit(
    network: nn.Module, path: str, shape: tuple[int, ...], pixels: Tensor, unit: tuple[int, int]
) -> Tensor:
    """max over channels of |d sum_n y[n, i, j] / d x|, where y is the map that the module at ``path`` makes.

    The picture is normalised by its own mean and standard deviation. Shape: pixels (C, H, W) -> (H, W)
    """
    kind = next((p.dtype for p in network.parameters()), torch.float32)
    x = pixels[None].to(kind)
    x = (x - x.mean()) / x.std().clamp(min=1)
    module, row, column = network.get_submodule(path), *unit

    def value(picture: Tensor) -> Tensor:
        last = LastMap(shape)
        hooks = module.register_forward_pre_hook(last.begin), module.register_forward_hook(last.end)
        try:
            with last:
                network(picture)
        finally:
            for hook in hooks:
                hook.remove()
        if last.found is None:
            raise ShapeError(f"{path or 'the network'} makes no map of {tuple(shape)} in this pass")
        return last.found[:, :, row, column].sum(1)

    return gradient(value, x)[0].abs().amax(0)
