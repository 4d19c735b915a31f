"""Members and optimiser to and from named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from concord.errors import CheckpointError
from concord.training.checkpoint import Checkpoint


def unpack_members(members: Mapping[str, nn.Module], found: Checkpoint) -> None:
    """Copy saved tensors into all members; CheckpointError if one is missing or another network."""
    networks = {m["name"]: m["network"] for m in found.state.get("config", {}).get("members", ())}
    for name, member in members.items():
        if f"member-{name}" not in found.tensors:
            raise CheckpointError(f"{found.path} has no member {name!r}")
        unpack_member(
            member, found.tensors[f"member-{name}"], f"{found.path}/member-{name}", networks.get(name)
        )


def unpack_member(
    member: nn.Module, tensors: Mapping[str, Tensor], where: str, network: str | None = None
) -> None:
    """Copy saved tensors into a member; CheckpointError if they are of another network than it.

    ``network`` is the name of the one that they were saved from.
    """
    own = member.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    sizes = [k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape]
    if missing or extra or sizes:
        parts = {"missing": missing, "not expected": extra, "of another size": sorted(sizes)}
        listed = "; ".join(f"{what}: {', '.join(keys[:3])}" for what, keys in parts.items() if keys)
        raise CheckpointError(
            f"{where} was made for {network or 'another network'}, this is {type(member).__name__} ({listed})"
        )
    member.load_state_dict(dict(tensors))


def pack_optimizer(optimizer: torch.optim.Optimizer, members: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """State of every parameter as ``member/parameter/key``; settings are in the configuration."""
    return {
        f"{member}/{name}/{key}": value
        for member, network in members.items()
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
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
    for path, value in tensors.items():
        owner, _, key = path.rpartition("/")
        if owner not in named:
            raise CheckpointError(
                f"the checkpoint has optimiser state of {owner!r}, which is not a parameter here"
            )
        parameter = named[owner]
        same = value.shape == parameter.shape
        like = (
            torch.empty_like(parameter, dtype=value.dtype)
            if same
            else torch.empty_like(value, device=parameter.device)
        )
        optimizer.state[parameter][key] = like.copy_(value)
