"""Members and optimiser to and from named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from concord.errors import CheckpointError, UsageError
from concord.training.beside import PREFIX
from concord.training.foreign import blamed
from concord.training.moments import NUMBER, packed
from concord.training.places import EXTRA
from concord.training.put_beside import put, room_for
from concord.training.types import check_types


def unpack_members(members: Mapping[str, nn.Module], saved: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Copy saved tensors into all members; CheckpointError if one is missing or of another network.

    UsageError that names the member if its own code fails.
    """
    check_members(members, saved, "the saved state")
    for name, member in members.items():
        extra = put(name, member, saved[name])
        tensors = {key: value for key, value in saved[name].items() if not key.startswith(PREFIX)}
        with blamed(name, member, "when its state was put back"):
            own = {key: value for key, value in member.state_dict().items() if not isinstance(value, Tensor)}
            member.load_state_dict({**own, **tensors, **extra})  # older checkpoints have no extra state


def state_of(member: nn.Module) -> dict[str, Tensor]:
    """The tensors of its state dict."""
    return {key: value for key, value in member.state_dict().items() if isinstance(value, Tensor)}


def refuse_lost(name: str, member: nn.Module) -> None:
    """UsageError that names a parameter or persistent buffer that no tensor of the state dict holds.

    It is held under its name, or by a tensor that shares its memory under any other.
    """
    saved = state_of(member)
    buffers = {
        f"{path}.{key}".lstrip(".")
        for path, module in member.named_modules()
        for key in getattr(module, "_non_persistent_buffers_set", ())  # a script module has none
    }
    kept = {path: buffer for path, buffer in member.named_buffers() if path not in buffers}
    unnamed = {k: t for k, t in (dict(member.named_parameters()) | kept).items() if k not in saved}
    places = {(tensor.data_ptr(), tensor.shape) for tensor in saved.values()} if unnamed else set()
    for path, tensor in unnamed.items():
        if (tensor.data_ptr(), tensor.shape) not in places:
            raise UsageError(
                f"member {name!r}: its state_dict() does not hold {path}, which would be lost with every"
                " checkpoint: let state_dict() give all parameters and persistent buffers as tensors, as that"
                " of nn.Module does"
            )


def check_members(
    members: Mapping[str, nn.Module],
    saved: Mapping[str, Mapping[str, Tensor]],
    where: str,
    networks: Mapping[str, str] | None = None,
) -> None:
    """CheckpointError unless there are tensors of each member, with the names and sizes that it has.

    ``networks`` are the names of those that they were saved from.
    """
    for name, member in members.items():
        if name not in saved:
            raise CheckpointError(f"{where} has no member {name!r}")
        _check_member(member, saved[name], f"{where}: member {name!r}", (networks or {}).get(name))
        check_types(member, saved[name], f"{where}: member {name!r}")


def _check_member(member: nn.Module, tensors: Mapping[str, Tensor], where: str, network: str | None) -> None:
    room_for(member, tensors)
    own = state_of(member)
    tensors = {key: value for key, value in tensors.items() if not key.startswith(PREFIX)}
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    sizes = [k for k in own.keys() & tensors.keys() if _sized(k) and own[k].shape != tensors[k].shape]
    if missing or extra or sizes:
        parts = {"missing": missing, "not expected": extra, "of another size": sorted(sizes)}
        listed = "; ".join(f"{what}: {', '.join(keys[:3])}" for what, keys in parts.items() if keys)
        raise CheckpointError(
            f"{where} was made for {network or 'another network'}, this is {type(member).__name__} ({listed})"
        )


def _sized(key: str) -> bool:
    """Whether a tensor has the size that it was built with; extra state may grow."""
    return key.rpartition(".")[2] != EXTRA


def pack_optimizer(optimizer: torch.optim.Optimizer, members: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """State of every parameter as ``member/parameter/key``; settings are in the configuration.

    Numbers that an optimiser of a user's own keeps in its state are tensors too, see ``moments.packed``.
    """
    return {
        f"{member}/{name}/{key}": value
        for member, network in members.items()
        for name, parameter in network.named_parameters()
        for key, value in packed(optimizer.state.get(parameter, {})).items()
    }


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, members: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]
) -> None:
    """Put packed state back, on the device and in the memory layout of the parameters that it belongs to."""
    named = {
        f"{member}/{name}": parameter
        for member, network in members.items()
        for name, parameter in network.named_parameters()
    }
    check_optimizer(members, tensors)
    for path, value in tensors.items():
        owner, _, key = path.rpartition("/")
        parameter = named[owner]
        if key.endswith(NUMBER):
            optimizer.state[parameter][key.removesuffix(NUMBER)] = value.item()
            continue
        same = value.shape == parameter.shape
        like = (
            torch.empty_like(parameter, dtype=value.dtype)
            if same
            else torch.empty_like(value, device=parameter.device)
        )
        optimizer.state[parameter][key] = like.copy_(value)


def check_optimizer(members: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """CheckpointError for state of something that is not a parameter of the members."""
    known = {f"{member}/{name}" for member, net in members.items() for name, _ in net.named_parameters()}
    for path in tensors:
        owner = path.rpartition("/")[0]
        if owner not in known:
            raise CheckpointError(
                f"the checkpoint has optimiser state of {owner!r}, which is not a parameter here"
            )
