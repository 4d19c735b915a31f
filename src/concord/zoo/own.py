"""Networks of the user's own code, named ``package.module:factory`` or ``path/to/file.py:factory``.

A factory is a function or a class. It is called as factory(channels=C, classes=K) if it has parameters of
these names, as factory(C, K) if it takes two by place, and as factory() if it takes none.
"""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from concord.errors import UsageError, interrupts, said, suggestion

if TYPE_CHECKING:
    from torch import nn

FORM = "package.module:factory or file.py:factory"


def network(name: str, channels: int, classes: int) -> "nn.Module":
    """What the factory returns; UsageError for whatever goes wrong in it."""
    import torch
    from torch import nn

    module = imported(name)
    place, _, factory_name = name.rpartition(":")
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        file = getattr(module, "__file__", place)
        here = [key for key, value in vars(module).items() if callable(value)]
        raise UsageError(f"{file} has no factory {factory_name!r}{suggestion(factory_name, here)}")
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        made = _call(factory, channels, classes)
    except BaseException as error:
        if interrupts(error):
            raise
        raise UsageError(f"{name}(channels={channels}, classes={classes}) failed: {said(error)}") from error
    finally:  # what it sets for itself is not for the members beside it
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
    if not isinstance(made, nn.Module):
        raise UsageError(f"{name} must return a torch.nn.Module, it returned {type(made).__name__}")
    return made


def imported(name: str) -> ModuleType:
    """The module of that code, imported if it is not yet; UsageError for whatever goes wrong in it."""
    place, _, factory_name = name.rpartition(":")
    if not place or not factory_name.isidentifier():
        raise UsageError(f"{name!r} does not have the form {FORM}")
    try:
        return _of_file(place, name) if place.endswith(".py") else _of_package(place, name)
    except UsageError:
        raise
    except BaseException as error:  # the user's code may raise anything
        if interrupts(error):
            raise
        raise UsageError(f"{name!r}: cannot import {place}: {said(error)}") from error


def _of_package(place: str, name: str) -> ModuleType:
    """An importable module.

    The current directory is searched last, so that a file there cannot take the place of an installed module.
    It stays on the path, because the user's code may import its neighbours later.
    """
    if not all(part.isidentifier() for part in place.split(".")):
        raise UsageError(f"{name!r} does not have the form {FORM}")
    if place in ("timm", "torchvision"):
        raise UsageError(f"{name!r}: networks of {place} are written {place}/{name.rpartition(':')[2]}")
    _search(Path.cwd())
    return importlib.import_module(place)


def _of_file(place: str, name: str) -> ModuleType:
    """The module of a file, imported once under a name that no other module has."""
    file = Path(place).resolve()
    if not file.is_file():
        raise UsageError(f"{name!r}: there is no file {place}")
    known = f"_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}_{file.stem}"
    if known in sys.modules:
        return sys.modules[known]
    spec = spec_from_file_location(known, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    _search(file.parent)  # for its neighbours
    sys.modules[known] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[known]
        raise
    return module


def _search(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _call(factory: Callable[..., Any], channels: int, classes: int) -> Any:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # written in C
        return factory(channels=channels, classes=classes)
    names = {p.name for p in parameters}
    if {"channels", "classes"} <= names or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return factory(channels=channels, classes=classes)
    required = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if not required:
        return factory()
    if len(required) == 2 and all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in required):
        return factory(channels, classes)
    return factory(channels=channels, classes=classes)  # which says what is missing
