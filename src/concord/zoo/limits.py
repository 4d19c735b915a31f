"""A network under construction is stopped when it becomes larger than it may be.

What a network allocates is decided by sizes that may come from a file: ``densenet40_12(depth=999997)`` is a
short name. A hook of torch sees every parameter and every module when it is registered, before it is filled.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from concord.errors import ResourceError

MOST_TENSORS = 20_000  # of a checkpoint of concord
MODULES = 50  # for each tensor, more than any network has


class TooLargeError(ResourceError):
    """A network is larger than it may be."""


@dataclass(frozen=True)
class Limit:
    """Most parameter tensors, and most numbers in them together; None: as many as memory takes."""

    tensors: int = MOST_TENSORS
    numbers: int | None = None
    because: str = "is larger than its checkpoint"

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Limit":
        """What a network with these tensors may register: parts of it may be made twice, such as a head."""
        numbers = sum(tensor.numel() for tensor in tensors.values())
        return cls(2 * len(tensors) + 100, 2 * numbers + 10_000_000)


@contextmanager
def bounded(limit: Limit) -> Iterator[None]:
    """TooLargeError as soon as this thread registers more parameters or modules than the limit allows."""
    thread, tensors, numbers, modules = threading.get_ident(), 0, 0, 0

    def parameter(module: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal tensors, numbers
        if value is None or threading.get_ident() != thread:
            return
        tensors += 1
        numbers += 0 if nn.parameter.is_lazy(value) else value.numel()
        if tensors > limit.tensors:
            raise TooLargeError(f"a network of more than {limit.tensors:,} tensors is not built")
        if limit.numbers is not None and numbers > limit.numbers:
            raise TooLargeError(f"a network of more than {limit.numbers:,} parameters {limit.because}")

    def part(module: nn.Module, name: str, value: nn.Module | None) -> None:
        nonlocal modules
        if threading.get_ident() == thread:
            modules += 1
            if modules > MODULES * limit.tensors:
                raise TooLargeError(
                    f"a network of more than {MODULES * limit.tensors:,} modules is not built"
                )

    hooks = [
        register_module_parameter_registration_hook(parameter),
        register_module_module_registration_hook(part),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
