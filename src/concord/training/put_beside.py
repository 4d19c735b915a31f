"""What a checkpoint holds beside the tensors of a member, put back with distrust."""

import json
from collections.abc import Callable, Mapping
from inspect import isroutine
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from concord.errors import CheckpointError
from concord.training.beside import PREFIX, VALUES
from concord.training.places import EXTRA, OF_EVERY_MODULE, modules_of, split
from concord.training.plain_values import GENERATORS, moved_on, unpacked

Places = Mapping[str, Any]


def put(name: str, member: nn.Module, saved: Mapping[str, Tensor]) -> dict[str, Any]:
    """Put back what ``Beside.tensors`` took; gives the extra state, by its names in a state dict.

    CheckpointError if it does not fit this member.
    """
    if VALUES not in saved:
        return {}
    tensors = [saved[f"{PREFIX}{i}"] for i in range(len(saved)) if f"{PREFIX}{i}" in saved]
    try:
        document = json.loads(saved[VALUES].numpy().tobytes())
        found = {
            part: {place: unpacked(value, tensors) for place, value in document[part].items()}
            for part in ("extra", *(part for part in PUT if part in document))  # older ones have fewer
        }
        for part, put_back in PUT.items():
            put_back(member, found.get(part, {}))
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"member {name!r}: what the checkpoint holds beside its weights does not fit ({error})"
        ) from None
    return {f"{path}.{EXTRA}".lstrip("."): value for path, value in found["extra"].items()}


def _put_buffers(member: nn.Module, saved: Places) -> None:
    modules, registered = modules_of(member), {id(module) for module in member.modules()}
    for place, value in saved.items():
        path, name = split(place)
        module = modules[path]
        hidden = id(module) not in registered
        if not isinstance(value, Tensor) or not (hidden or name in module._non_persistent_buffers_set):
            raise ValueError(f"{place} is not a buffer here")
        parameter = module._parameters.get(name) if hidden else None
        if parameter is not None:
            with torch.no_grad():
                parameter.copy_(value)
            continue
        own = module._buffers.get(name)
        module._buffers[name] = value if own is None else value.to(own.device, own.dtype)


def _put_attributes(member: nn.Module, saved: Places) -> None:
    modules = modules_of(member)
    for place, value in saved.items():
        path, attribute = split(place)
        module = modules[path]
        own = vars(module).get(attribute, getattr(type(module), attribute, None))
        if attribute in OF_EVERY_MODULE or isroutine(own) or isinstance(own, property | type | nn.Module):
            raise ValueError(f"{place} is not an attribute that a checkpoint may set")
        if not _alike(own, value):
            raise ValueError(f"{place} is a {type(own).__name__} here")
        if isinstance(own, Tensor) and isinstance(value, Tensor):
            value = value.to(own.device)
        if isinstance(own, GENERATORS):  # others may hold the same one
            value = moved_on(own, value)
        if attribute in vars(module):
            value = _refilled(own, value)
        setattr(module, attribute, value)


def _refilled(own: Any, value: Any) -> Any:
    """A list or dictionary that a hook may hold too stays the same object, with what the value holds."""
    if type(own) is list and type(value) is list:
        own[:] = value
    elif type(own) is dict and type(value) is dict:
        own.clear()
        own.update(value)
    else:
        return value
    return own


def _put_learning(member: nn.Module, saved: Places) -> None:
    if not any(parameter.requires_grad for parameter in member.parameters()):
        return  # a member that teaches, or was retired, learns nothing
    parameters = dict(member.named_parameters())
    for name, value in saved.items():
        parameters[name].requires_grad_(bool(value))


def _put_modes(member: nn.Module, saved: Places) -> None:
    modules = modules_of(member)
    for path, alike in saved.items():
        modules[path].training = member.training == bool(alike)


PUT: dict[str, Callable[[nn.Module, Places], None]] = {
    "buffers": _put_buffers,
    "attributes": _put_attributes,
    "learning": _put_learning,
    "modes": _put_modes,
}


def _alike(own: Any, value: Any) -> bool:
    """Whether a value may take the place of another: numbers for numbers, and anything for nothing."""
    numbers = (int, float, np.generic, Tensor)
    both = isinstance(own, numbers) and isinstance(value, numbers)
    return own is None or value is None or both or type(own) is type(value)


def room_for(member: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Buffers that are None until the first training pass take the shapes that were saved."""
    for path, module in member.named_modules():
        for name, value in module._buffers.items():
            place = f"{path}.{name}".lstrip(".")
            if value is None and place in saved and name not in module._non_persistent_buffers_set:
                module._buffers[name] = torch.empty_like(saved[place])
