"""One door to every network that can be a member, whoever wrote it.

The forms of a name, tried in this order:
  * ``package.module:factory``  the user's own code, called as factory(channels=..., classes=...)
  * ``timm/NAME``, ``torchvision/NAME``  a network of that library
  * ``NAME``  the zoo's network, else torchvision's, else timm's
  * ``NAME(filters=12, repetitions=2)``  a network of the zoo in another size: whole numbers only
"""

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from concord.errors import UsageError, suggestion
from concord.zoo import registry

if TYPE_CHECKING:
    from torch import nn

SIZE = re.compile(r"(\w+)\s*=\s*(\d{1,6})", re.ASCII)


class UnknownNetwork(UsageError):
    """No network has that name."""


def build(
    name: str,
    *,
    channels: int,
    classes: int,
    pretrained: bool = False,
    allow_code: Collection[str] = (),
) -> "nn.Module":
    """A new network of that name, (B, channels, H, W) -> (B, classes), started from torch's generator.

    ``allow_code`` holds the very names of user code that may be imported: what the user typed, never what a
    file says. UsageError for an unknown name, code that was not allowed or does not work, a missing library,
    and pretrained weights that do not exist or cannot be fetched.
    """
    if channels < 1 or classes < 1:
        raise UsageError(f"channels and classes must be at least 1, got {channels} and {classes}")
    library, _, short = name.rpartition("/")
    if ":" in name:
        if name not in set(allow_code):
            raise UsageError(
                f"{name!r} is code outside concord, which is not imported because a file names it; "
                f"if you trust it, add --allow-code {name}"
            )
        _refuse_weights(name, pretrained)
        return _own(name, channels, classes)
    own = short.partition("(")[0]
    if not library and own in registry.names():
        entry = registry.find(own)
        builder: Callable[..., nn.Module] = entry.build
        options = _sizes(builder, name)
        if not entry.library:
            _refuse_weights(name, pretrained)
            return builder(channels=channels, classes=classes, **options)

    from concord.zoo import foreign

    if library in ("", "torchvision") and short in foreign.torchvision_names():
        return foreign.from_torchvision(short, channels, classes, pretrained=pretrained)
    if library == "timm" or (not library and foreign.in_timm(short)):
        return foreign.from_timm(short, channels, classes, pretrained=pretrained)
    raise _unknown(name)


def sizes_in(name: str) -> dict[str, int] | None:
    """``NAME(filters=12, repetitions=2)`` -> its sizes; {} without any, None if something else is there."""
    _, bracket, text = name.partition("(")
    inside = text.removesuffix(")").strip()
    pairs = [SIZE.fullmatch(part.strip()) for part in inside.split(",")] if inside else []
    sizes = {pair[1]: int(pair[2]) for pair in pairs if pair}
    closed = text.endswith(")") or not bracket
    return sizes if closed and len(sizes) == len(pairs) else None


def sizes_of(builder: Callable[..., object]) -> dict[str, int]:
    """What may stand in brackets behind the name of a network of the zoo, with what it is otherwise."""
    parameters = inspect.signature(builder).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _sizes(builder: Callable[..., object], name: str) -> dict[str, int]:
    """The sizes in brackets; UsageError unless the builder has such sizes."""
    sizes, known = sizes_in(name), sizes_of(builder)
    if sizes is None or not sizes.keys() <= known.keys():
        wanted = ", ".join(f"{size}=N" for size in known) or "no sizes"
        raise UsageError(f"{name!r}: expected {name.partition('(')[0]} with {wanted} in brackets")
    return sizes


def _refuse_weights(name: str, pretrained: bool) -> None:
    if pretrained:
        raise UsageError(
            f"there are no pretrained weights for {name!r}; only torchvision and timm offer some"
        )


def _unknown(name: str) -> UnknownNetwork:
    from concord.zoo import foreign

    libraries = [*foreign.torchvision_names(), *foreign.timm_names()]
    known = [
        *registry.names(),
        *libraries,
        *(f"torchvision/{other}" for other in foreign.torchvision_names()),
    ]
    missing = "" if foreign.timm_names() else " (not installed: pip install timm)"
    return UnknownNetwork(
        f"no network is named {name!r}{suggestion(name, known)}; networks are those of `concord zoo`, "
        f"of torchvision, of timm{missing}, and your own as package.module:factory"
    )


def _own(name: str, channels: int, classes: int) -> "nn.Module":
    """What the user's factory returns.

    The current directory is searched last, so that a file there cannot take the place of an installed module.
    It stays on the path, because the user's code may import its neighbours later.
    """
    from torch import nn

    module_name, _, factory_name = name.partition(":")
    if not module_name or not factory_name.isidentifier():
        raise UsageError(f"{name!r} does not have the form package.module:factory")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(
            f"{name!r} does not have the form package.module:factory; a file of this folder is named without "
            f"its ending: {Path(module_name).stem}:{factory_name}"
        )
    if module_name in ("timm", "torchvision"):
        raise UsageError(f"{name!r}: networks of {module_name} are written {module_name}/{factory_name}")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise UsageError(f"{name!r}: cannot import {module_name}: {_cause(error)}") from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        place = getattr(module, "__file__", module_name)
        here = [key for key, value in vars(module).items() if callable(value)]
        raise UsageError(f"{place} has no factory {factory_name!r}{suggestion(factory_name, here)}")
    try:
        network = factory(channels=channels, classes=classes)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{name}(channels={channels}, classes={classes}) failed: {_cause(error)}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{name} must return a torch.nn.Module, it returned {type(network).__name__}")
    return network


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
