"""What an optimiser remembers of every parameter, checked before torch sees it.

The kernels of torch trust shapes and types: with a moment that is shorter than its parameter they write
outside of its memory. So whatever a file says is compared with what the optimiser itself would have made.
"""

import copy
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from concord.errors import CheckpointError

STEP = "step"  # a number of updates, () float32; every other moment has shape and type of its parameter
MOMENTS = {
    "adam": (STEP, "exp_avg", "exp_avg_sq"),
    "adamw": (STEP, "exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
}


def without_moments(members: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> list[str]:
    """``member/parameter`` of all of which nothing is remembered, as of those that never got a gradient."""
    owners = {path.rpartition("/")[0] for path in tensors}
    return [name for name in parameters(members) if name not in owners]


def parameters(members: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """All parameters as ``member/parameter``."""
    return {
        f"{member}/{name}": parameter
        for member, network in members.items()
        for name, parameter in network.named_parameters()
    }


def check_moments(
    members: Mapping[str, nn.Module],
    tensors: Mapping[str, Tensor],
    kind: str,
    where: str,
    without: Collection[str] | None = None,
) -> None:
    """CheckpointError unless every parameter has all moments of that kind of optimiser, or none and is in
    ``without``, and each has the shape and type that it needs.

    ``without``: those of which nothing was remembered; None where that was not kept. Optimisers of another
    kind are compared with themselves, see ``check_like``.
    """
    if kind not in MOMENTS:
        return
    needed = set(MOMENTS[kind])
    for name, parameter in parameters(members).items():
        there = {key: tensors[f"{name}/{key}"] for key in needed if f"{name}/{key}" in tensors}
        if there.keys() != needed and (there or not (without is None or name in without)):
            raise CheckpointError(f"{where}: {name} lacks {', '.join(sorted(needed - there.keys()))}")
        for key, value in there.items():
            _check(f"{where}: {name}/{key}", value, *_expected(key, parameter))
            if not value.isfinite().all() or (key == "exp_avg_sq" and bool((value < 0).any())):
                raise CheckpointError(f"{where}: {name}/{key} holds numbers that no training gives")
            if key == STEP and not (value.isfinite() and value >= 1 and value == value.round()):
                raise CheckpointError(
                    f"{where}: {name}/{key} is {value.item()}, expected a number of updates"
                )
    extra = [path for path in tensors if path.rpartition("/")[2] not in needed]
    if extra:
        raise CheckpointError(f"{where}: {extra[0]} is nothing that {kind} remembers")


def _expected(key: str, parameter: Tensor) -> tuple[torch.Size, torch.dtype]:
    return (torch.Size(), torch.float32) if key == STEP else (parameter.shape, parameter.dtype)


def _check(what: str, value: Tensor, shape: torch.Size, dtype: torch.dtype) -> None:
    if value.shape != shape or value.dtype != dtype:
        raise CheckpointError(
            f"{what} is {_described(value.shape, value.dtype)}, expected {_described(shape, dtype)}"
        )


def _described(shape: torch.Size, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"


def check_like(
    optimizer: torch.optim.Optimizer,
    members: Mapping[str, nn.Module],
    tensors: Mapping[str, Tensor],
    where: str,
) -> None:
    """CheckpointError if a tensor has another shape or type than what this optimiser makes in a first step.

    The step is made by a copy, on copies of the parameters. An optimiser that cannot be copied or needs more
    than gradients for a step says nothing about its shapes, and nothing is compared then.
    """
    made = _tried(optimizer)
    if made is None:
        return
    for name, parameter in parameters(members).items():
        for key, value in made.get(id(parameter), {}).items():
            if isinstance(value, Tensor) and (given := tensors.get(f"{name}/{key}")) is not None:
                _check(f"{where}: {name}/{key}", given, value.shape, value.dtype)
        unknown = [
            path
            for path in tensors
            if path.rpartition("/")[0] == name
            and not isinstance(made.get(id(parameter), {}).get(path.rpartition("/")[2]), Tensor)
        ]
        if unknown and id(parameter) in made:
            raise CheckpointError(
                f"{where}: {unknown[0]} is nothing that {type(optimizer).__name__} remembers"
            )


def _tried(optimizer: torch.optim.Optimizer) -> dict[int, Mapping[str, object]] | None:
    """Parameter (by identity) -> what a copy of the optimiser remembers of it after a step."""
    try:
        trial = copy.deepcopy(optimizer)
        pairs = [
            (own, copied)
            for group, copies in zip(optimizer.param_groups, trial.param_groups, strict=True)
            for own, copied in zip(group["params"], copies["params"], strict=True)
        ]
        for _, copied in pairs:
            copied.grad = torch.zeros_like(copied)
        trial.step()
    except Exception:  # a user's optimiser may raise anything
        return None
    return {id(own): trial.state[copied] for own, copied in pairs if copied in trial.state}
