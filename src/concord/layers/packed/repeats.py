"""Modules whose calls of the kernel are recorded the first time that an input of some shape comes."""

import threading
from collections.abc import Callable, Iterator
from itertools import chain
from operator import is_, methodcaller
from typing import NamedTuple

import torch
from torch import Tensor, nn

from concord.native.library import in_use, library
from concord.native.replay import Program, recorded

SHAPES = 8  # that are remembered, of inputs and by thread
LARGEST = 2**26  # bytes of maps that a module keeps for all of them
VALUES = methodcaller("values")
_adding = threading.Lock()


class Held:
    """The buffers of a module and of those below it, and where their numbers lay when they were recorded."""

    def __init__(self, weights: nn.Module) -> None:
        self.homes = [module._buffers for module in weights.modules()]
        self.buffers = [*self._now()]
        self.tensors = [buffer for buffer in self.buffers if buffer is not None]
        self.addresses = [*map(Tensor.data_ptr, self.tensors)]

    def _now(self) -> Iterator[Tensor | None]:
        return chain.from_iterable(map(VALUES, self.homes))

    def same(self) -> bool:
        """Whether none was replaced, and none moved. It is asked at each call, so no loop of Python runs."""
        return (
            all(map(is_, self._now(), self.buffers))
            and [*map(Tensor.data_ptr, self.tensors)] == self.addresses
        )


class Record(NamedTuple):
    """Without a program where the calls cannot be recorded, or their maps are too large to keep."""

    program: Program | None
    held: Held

    @property
    def bytes(self) -> int:
        """Of the maps that are kept."""
        return self.program.bytes if self.program else 0


class Repeats(nn.Module):
    """``repeat`` gives what ``run`` gives; from the second time on by what was recorded."""

    def repeat(
        self,
        run: Callable[[Tensor], Tensor],
        noting: Callable[[Tensor], list[Tensor]],
        x: Tensor,
        weights: nn.Module,
    ) -> Tensor:
        """``noting`` does what ``run`` does and gives all maps that it makes, the last one last.

        They are made of x and of the buffers of ``weights`` alone. Buffers that were replaced or moved since
        are recorded again.
        """
        key = (threading.get_ident(), x.shape, x.stride(), torch.get_num_threads(), in_use())
        records: dict[object, Record] = self.__dict__.setdefault("records", {})
        record = records.get(key)
        if record is not None and record.held.same():
            return run(x) if record.program is None else record.program(x)
        held = Held(weights)
        program, out = recorded(noting, x, held.tensors)
        with _adding:
            _add(records, key, Record(program, held))
        return out

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "records"}


def _add(records: dict[object, Record], key: object, record: Record) -> None:
    """The oldest make room for it."""
    records.pop(key, None)
    if record.bytes > LARGEST:
        record = record._replace(program=None)
    while len(records) >= SHAPES or sum(r.bytes for r in records.values()) + record.bytes > LARGEST:
        records.pop(next(iter(records)))
    records[key] = record


def repeatable(x: Tensor) -> bool:
    """Whether it is a plain tensor on the CPU, and nothing watches, traces or records what it does."""
    return (
        type(x) is Tensor
        and x.is_cpu
        and x.dtype is torch.float32
        and not (x.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and library() is in_use() is not None
        and not x.is_neg()
        and x.numel() > 0
    )
