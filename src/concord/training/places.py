"""The places of a member that no state dict holds: (place, value) pairs, and the modules to put them into.

A module that is not registered, because it lies in a plain list or dictionary, is a place like any other: its
path is that of the attribute and where it lies in it, and its tensors and attributes have places below.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

EXTRA = "_extra_state"  # torch's name for it in a state dict
OF_EVERY_MODULE = set(vars(nn.Module()))
LARGEST = 2**20  # numbers of a tensor of a graph that is kept
Place = tuple[str, Any]


def modules_of(member: nn.Module) -> dict[str, nn.Module]:
    """All modules by path, registered ones first."""
    found = dict(member.named_modules())
    known = {id(module) for module in found.values()}
    waiting = list(found.items())
    while waiting:
        path, module = waiting.pop(0)
        for place, hidden in _hidden(module, path):
            for inner, one in hidden.named_modules(prefix=place):
                if id(one) not in known:
                    known.add(id(one))
                    found[inner] = one
                    waiting.append((inner, one))
    return found


def _hidden(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules in the containers among the attributes of a module."""
    for name, value in vars(module).items():
        if name not in OF_EVERY_MODULE:
            for keys, one in _held(value):
                if isinstance(one, nn.Module):
                    yield f"{path}.{name}{keys}".lstrip("."), one


def _held(value: Any, keys: str = "", around: frozenset[int] = frozenset()) -> Iterator[Place]:
    """What plain containers hold, at any depth, by keys and numbers; of anything else itself."""
    if id(value) in around:
        return
    pairs: Iterable[tuple[Any, Any]] | None = value.items() if isinstance(value, Mapping) else None
    if type(value) in (list, tuple):
        pairs = enumerate(value)
    if pairs is None:
        yield keys, value
        return
    for key, one in pairs:
        yield from _held(one, f"{keys}[{key}]", around | {id(value)})


def attributes(member: nn.Module) -> Iterator[Place]:
    """Attributes of all modules but those of torch.nn.Module itself.

    Of modules of torch no tensors, which are computed from parameters.
    """
    modules = modules_of(member)
    known = {id(one) for one in (*modules.values(), *member.parameters())}
    for path, module in modules.items():
        library = type(module).__module__.partition(".")[0] == "torch"
        for name, value in vars(module).items():
            if name in OF_EVERY_MODULE or name.startswith("_flat_weight") or _known(value, known):
                continue
            if not (isinstance(value, Tensor) and (library or _cached(value))):
                yield _place(path, name), value


def _known(value: Any, known: set[int]) -> bool:
    """Whether a value is a module or parameter with a place of its own, or holds nothing else."""
    first = next(_held(value), None)
    if first is None or not isinstance(first[1], nn.Module | nn.Parameter):
        return False
    return all(isinstance(x, nn.Module | nn.Parameter) and id(x) in known for _, x in _held(value))


def _cached(value: Tensor) -> bool:
    """Whether a tensor is a large one of a graph: what a forward pass leaves lying about."""
    return value.grad_fn is not None and value.numel() > LARGEST


def buffers(member: nn.Module) -> Iterator[Place]:
    """Buffers that are not persistent, and all tensors of modules that are not registered."""
    registered = {id(module) for module in member.modules()}
    for path, module in modules_of(member).items():
        hidden = id(module) not in registered
        names = module._buffers.keys() if hidden else module._non_persistent_buffers_set
        for name in sorted(names):
            if (value := module._buffers.get(name)) is not None:
                yield _place(path, name), value
        for name, parameter in module._parameters.items() if hidden else ():
            if parameter is not None:
                yield _place(path, name), parameter.detach()


def learning(member: nn.Module) -> Iterator[Place]:
    """Whether each parameter learns."""
    for name, parameter in member.named_parameters():
        yield name, parameter.requires_grad


def modes(member: nn.Module) -> Iterator[Place]:
    """Whether each module is in the mode of the whole member."""
    for path, module in modules_of(member).items():
        if module is not member:
            yield path, module.training == member.training


def extra_state(member: nn.Module) -> Iterator[Place]:
    """Extra state other than a tensor, which the state dict holds."""
    for path, module in member.named_modules():
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            value = module.get_extra_state()
            if not isinstance(value, Tensor):
                yield path, value


def _place(path: str, name: str) -> str:
    return f"{path}.{name}".lstrip(".")


def split(place: str) -> tuple[str, str]:
    """The path of a module and the name of what it has there."""
    path, _, name = place.rpartition(".")
    return path, name
