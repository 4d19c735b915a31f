"""Packed layers that follow each other, run by one call of the kernel.

The first time that an input of some shape comes, the layers run one by one and their calls are recorded;
after that the recorded ones are made again. The numbers are the same.
"""

import threading
from typing import Any

import torch
from torch import Tensor, fx, nn

from concord.layers.packed.frozen import Frozen
from concord.native.library import library
from concord.native.replay import Program, recorded

SHAPES = 8  # that are remembered for a thread
LARGEST = 2**26  # bytes of maps that are kept for a shape


class Chain(nn.Module):
    """Runs ``layers``, whose modules have their places elsewhere in the network.

    Shape: that of the input of the first layer -> that of the output of the last
    """

    def __init__(self, layers: fx.GraphModule) -> None:
        super().__init__()
        self.__dict__["layers"] = layers  # not registered: its state is that of the network
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        layers: fx.GraphModule = self.__dict__["layers"]
        if not _plain(x):
            return layers(x)
        key = (threading.get_ident(), x.shape, x.stride(), torch.get_num_threads(), Frozen.changes, library())
        programs: dict[object, Program | None] = self.__dict__.setdefault("programs", {})
        if key in programs:
            program = programs[key]
            return layers(x) if program is None else program(x)
        program, out = recorded(self._run, x, layers.buffers())
        small = program is not None and sum(t.nbytes for t in program.kept) <= LARGEST
        while len(programs) >= SHAPES:
            programs.pop(next(iter(programs)))
        programs[key] = program if small else None
        return out

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "programs"}

    def _run(self, x: Tensor) -> list[Tensor]:
        """Every map and all bits that are made, the output last."""
        noting = _Noting(self.__dict__["layers"])
        out: Tensor = noting.run(x)
        return [*(t for t in noting.made if t is not out), out]


class _Noting(fx.Interpreter):
    """Keeps what the layers make."""

    def __init__(self, layers: fx.GraphModule) -> None:
        super().__init__(layers, garbage_collect_values=False)
        self.made: list[Tensor] = []

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super().call_module(target, args, kwargs)
        self.made += result if isinstance(result, tuple) else (result,)
        return result


def _plain(x: Tensor) -> bool:
    """Whether it is a tensor of numbers on the CPU, and nothing watches or traces what is done with it."""
    return (
        type(x) is Tensor
        and x.is_cpu
        and x.numel() > 0
        and x.dtype is torch.float32
        and not (x.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
        and library() is not None
    )
