"""A pass under watch: every module call and every operation of one thread goes through a walk."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, get_ident
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

TURN = RLock()  # there is one nn.Module.__call__ for all threads


class Watcher(Protocol):
    """A dispatch mode that stands for module calls too."""

    def call(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> Any: ...


@contextmanager
def watched(walk: Watcher, *, gradients: bool = False) -> Iterator[None]:
    """Every module call and every operation of this thread goes through the walk; threads take turns.

    With ``gradients`` autograd records them. Attention runs in its parts, because its fused kernels hide
    their products, and deterministic algorithms are off, because torch then interpolates, among others, in
    other operations.
    """
    plain, thread = nn.Module.__call__, get_ident()

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if get_ident() != thread:
            return plain(module, *args, **kwargs)
        return walk.call(module, *args, **kwargs)

    nn.Module.__call__ = call  # type: ignore[method-assign]
    try:
        with torch.set_grad_enabled(gradients), sdpa_kernel(SDPBackend.MATH), _plain_kernels(), walk:
            yield
    finally:
        nn.Module.__call__ = plain  # type: ignore[method-assign]


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without the fast path of attention and without deterministic algorithms; both are put back."""
    fast = torch.backends.mha.get_fastpath_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
