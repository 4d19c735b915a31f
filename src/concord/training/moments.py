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
LARGEST = 2**63
NUMBER = " (number)"  # behind the key of what is a number of Python, not a tensor
# of optimisers of torch: sums and means of squares, or of absolute values
SQUARES = {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta", "exp_inf", "variance"}
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
    most: int | None = None,
) -> None:
    """CheckpointError unless every parameter has all moments of that kind of optimiser, or none and is in
    ``without``, and each has the shape and type that it needs.

    ``without``: those of which nothing was remembered; None where that was not kept. ``most``: the updates
    that were made. Optimisers of another kind are compared with themselves, see ``check_like``.
    """
    if kind not in MOMENTS:
        return
    needed = set(MOMENTS[kind])
    for name, parameter in parameters(members).items():
        there = {key: tensors[f"{name}/{key}"] for key in needed if f"{name}/{key}" in tensors}
        _require(f"{where}: {name}", needed, there, without is None or name in without)
        for key, value in there.items():
            _check(f"{where}: {name}/{key}", value, *_expected(key, parameter))
            _check_numbers(f"{where}: {name}/{key}", key, value, least=1, most=most)
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


def _require(what: str, needed: Collection[str], there: Mapping[str, Tensor], nothing: bool) -> None:
    """CheckpointError unless all that is needed is there, or ``nothing`` is where that may be."""
    missing = sorted(set(needed) - there.keys())
    if missing and (there or not nothing):
        raise CheckpointError(f"{what} lacks {', '.join(missing)}")


def _check_numbers(what: str, key: str, value: Tensor, *, least: int = 0, most: int | None = None) -> None:
    """CheckpointError for numbers that no training gives."""
    if not value.isfinite().all() or (key in SQUARES and bool((value < 0).any())):
        raise CheckpointError(f"{what} holds numbers that no training gives")
    if key == STEP and value.numel() == 1:
        count = value.item()
        if count != round(count) or count < least or (most is not None and count > most):
            known = "" if most is None else f", at most the {most} that were made"
            raise CheckpointError(f"{what} is {count}, expected a number of updates from {least}{known}")


def packed(state: Mapping[str, object]) -> dict[str, Tensor]:
    """What an optimiser remembers of a parameter as tensors; ``NUMBER`` marks a number of Python."""
    found = {}
    for key, value in state.items():
        if isinstance(value, Tensor):
            found[key] = value
        elif isinstance(value, float):
            found[key + NUMBER] = torch.tensor(value, dtype=torch.float64)
        elif isinstance(value, int) and abs(value) < LARGEST:
            found[key + NUMBER] = torch.tensor(value)
    return found


def check_like(
    optimizer: torch.optim.Optimizer,
    members: Mapping[str, nn.Module],
    tensors: Mapping[str, Tensor],
    where: str,
    without: Collection[str] | None = None,
) -> None:
    """CheckpointError unless every parameter has what this optimiser makes in a first step, or nothing and is
    in ``without``, with the same shapes and types and numbers that can be.

    The step is made by a copy, on copies of the parameters. An optimiser that cannot be copied or needs more
    than gradients for a step says nothing about its state, and nothing is compared then. Only one of torch's
    own, or of concord's, is known to remember nothing else later.
    """
    made = _tried(optimizer)
    if made is None:
        return
    known = type(optimizer).__module__.startswith(("torch.optim", "concord."))
    for name, parameter in parameters(members).items():
        if id(parameter) not in made:
            continue
        needed = packed(made[id(parameter)])
        given = {path.rpartition("/")[2]: t for path, t in tensors.items() if path.rpartition("/")[0] == name}
        there = {key: value for key, value in given.items() if key in needed}
        _require(f"{where}: {name}", needed, there, without is None or name in without)
        for key, value in there.items():
            number = key.endswith(NUMBER)  # which may become another kind of number, or infinite
            _check(
                f"{where}: {name}/{key}",
                value,
                needed[key].shape,
                value.dtype if number else needed[key].dtype,
            )
            if not number:
                _check_numbers(f"{where}: {name}/{key}", key if known else "", value)
        strange = sorted(given.keys() - needed.keys())
        if strange and known:
            raise CheckpointError(
                f"{where}: {name}/{strange[0]} is nothing that {type(optimizer).__name__} remembers"
            )


def _tried(optimizer: torch.optim.Optimizer) -> dict[int, Mapping[str, object]] | None:
    """Parameter (by identity) -> what a copy of the optimiser remembers of it after a step."""
    try:
        trial = _copied(optimizer)
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


def _copied(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """A copy with the attributes of a user's own class, which torch leaves out; not the step of a scheduler,
    which is bound to the original."""
    memo: dict[int, object] = {}
    trial = copy.deepcopy(optimizer, memo)
    own = {key: value for key, value in vars(optimizer).items() if key not in vars(trial) and key != "step"}
    vars(trial).update(copy.deepcopy(own, memo))
    return trial
