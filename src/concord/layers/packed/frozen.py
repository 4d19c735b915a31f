"""What packed layers have in common: they are never trained, and stay float32."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from concord.errors import CheckpointError, UsageError
from concord.layers.packed.repeats import Repeats


class Frozen(Repeats):
    """A layer whose state is buffers; ``weight`` is bits, int64 (O, places, words), but for float layers."""

    weight: Tensor

    def train(self, mode: bool = True) -> Self:
        if mode:
            raise UsageError(
                "a packed network cannot be trained: its weights are single bits. Train the network that it"
                " was packed from, and pack it again"
            )
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        made = super()._apply(fn, recurse)
        for name, buffer in self.named_buffers(recurse=False):
            if buffer.is_floating_point() and buffer.dtype != torch.float32:
                raise UsageError(
                    f"packed layers compute in float32, and {name} was made {buffer.dtype}: leave the network"
                    " as it is, and convert what goes in and comes out"
                )
        return made

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        given = state.get(f"{prefix}weight")
        if isinstance(given, Tensor) and given.dtype != self.weight.dtype:
            raise CheckpointError(
                f"{prefix}weight: expected packed weights, {self.weight.dtype} {tuple(self.weight.shape)},"
                f" got {given.dtype} {tuple(given.shape)}. Load these into the float network, and pack that"
            )
        super()._load_from_state_dict(state, prefix, *rest)
