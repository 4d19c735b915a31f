"""What goes wrong in the code of a member, as one message that names member, moment and module."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from traceback import walk_tb

import torch
from torch import Tensor, nn

from concord.errors import ConcordError, UsageError, interrupts, said


@contextmanager
def blamed(name: str, member: nn.Module, moment: str, advice: str = "") -> Iterator[None]:
    """Turn what a member raises into a UsageError; Ctrl-C and the end of memory stay what they are."""
    try:
        yield
    except BaseException as error:  # a foreign network may raise anything
        if _of_its_own(error):
            raise
        reason, kind = said(error), UsageError
        if isinstance(error, UsageError):
            reason, kind = str(error).removeprefix(f"member {name!r}: "), type(error)
        raise kind(
            f"member {name!r} failed {moment}{_place(error, member)}: {reason}{_cure(reason)}{advice}"
        ) from error


def backward(total: Tensor, names: Sequence[str], index: int) -> None:
    """The backward pass of an update; what goes wrong in it is a UsageError that names the members."""
    try:
        total.backward()
    except BaseException as error:
        if _of_its_own(error):
            raise
        listed = ", ".join(names)
        raise UsageError(f"the backward pass of update {index} failed ({listed}): {said(error)}") from error


def step(optimizer: torch.optim.Optimizer, index: int) -> None:
    """A step of the optimizer; what it cannot take, such as sparse gradients, is a UsageError."""
    try:
        optimizer.step()
    except BaseException as error:
        if _of_its_own(error):
            raise
        kind = type(optimizer).__name__
        raise UsageError(f"the step of {kind} at update {index} failed: {said(error)}") from error


def _of_its_own(error: BaseException) -> bool:
    """Whether an error has an exit status of its own: Ctrl-C, the end of memory, or concord's."""
    if isinstance(error, ConcordError):
        return not isinstance(error, UsageError)
    return interrupts(error) or out_of_memory(error)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ended, whatever the library calls it."""
    text = said(error)
    known = "allocate memory" in text or "out of memory" in text
    return known or isinstance(error, MemoryError | torch.OutOfMemoryError)


def _place(error: BaseException, member: nn.Module) -> str:
    """``, in layer 'block.bn' (BatchNorm2d)``: the innermost module of the member that was at work."""
    paths = {id(module): path for path, module in member.named_modules()}
    found = ""
    for frame, _ in walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if path := paths.get(id(module), ""):
            found = f", in layer {path!r} ({type(module).__name__})"
    return found


def _cure(reason: str) -> str:
    if "Expected more than 1 value per channel" not in reason:
        return ""
    return (
        "; batch normalisation has no statistics of a single sample: choose a batch size that leaves no batch"
        " of one"
    )
