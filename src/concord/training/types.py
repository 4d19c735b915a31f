"""Types and values of saved weights: torch would cast whatever it gets."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from concord.errors import CheckpointError


def check_types(member: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """CheckpointError if a tensor is not of the type that the member has under that name."""
    for name, own in member.state_dict().items():
        saved = tensors.get(name)
        if isinstance(own, Tensor) and isinstance(saved, Tensor) and own.dtype != saved.dtype:
            raise CheckpointError(
                f"{where}: {name} is stored as {_named(saved)}, the member has {_named(own)}; nothing is cast"
            )


def _named(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_finite(member: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """CheckpointError if a parameter, or the statistics of batch normalisation, cannot be.

    No checkpoint is ever made of such a member. Other buffers may be infinite, as masks of attention are.
    """
    statistics = {
        f"{path}.{name}".lstrip(".")
        for path, module in member.named_modules()
        if isinstance(module, _BatchNorm)
        for name in ("running_mean", "running_var")
    }
    for name in (*(name for name, _ in member.named_parameters()), *sorted(statistics)):
        saved = tensors.get(name)
        if saved is None:
            continue
        if not saved.isfinite().all():
            raise CheckpointError(f"{where}: {name} has numbers that are not finite")
        if name.endswith("running_var") and bool((saved < 0).any()):
            raise CheckpointError(f"{where}: {name} has negative numbers, which no variance is")
