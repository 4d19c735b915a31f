"""One door to every network that can be a member, whoever wrote it.

The forms of a name, tried in this order:
  * ``FILE.cfg``  a network of darknet, see ``zoo.darknet``
  * ``package.module:factory``, ``file.py:factory``  the user's own code, see ``zoo.own``
  * ``timm/NAME``, ``torchvision/NAME``  a network of that library
  * ``NAME``  the zoo's network, else torchvision's, else timm's
  * ``NAME(filters=12, repetitions=2)``  a network of the zoo in another size: whole numbers only
  * ``batch_ensemble(NAME, members=4)``, ``packed_ensemble(NAME, ...)``  see ``zoo.ensembles``
"""

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from concord.errors import UsageError, suggestion
from concord.zoo import own, registry
from concord.zoo.ensembles.names import inside, named

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
    and pretrained weights that do not exist or cannot be fetched; DataError for a ``.cfg`` that is not right.
    """
    if channels < 1 or classes < 1:
        raise UsageError(f"channels and classes must be at least 1, got {channels} and {classes}")
    if is_darknet(name):
        from concord.zoo.darknet.network import network_of

        _refuse_weights(name, pretrained)
        return network_of(Path(name), channels, classes)
    if (ensemble := named(name)) is not None:
        from concord.zoo.ensembles.made import made

        _refuse_weights(name, pretrained)
        return made(ensemble, channels=channels, classes=classes)
    library, _, short = name.rpartition("/")
    if ":" in name:
        if name not in set(allow_code):
            raise UsageError(
                f"{name!r} is code outside concord, which is not imported because a file names it; "
                f"if you trust it, add --allow-code {name}"
            )
        _refuse_weights(name, pretrained)
        return own.network(name, channels, classes)
    plain = short.partition("(")[0]
    if not library and plain in registry.names():
        entry = registry.find(plain)
        builder: Callable[..., nn.Module] = entry.build
        options = _sizes(sizes_of(builder), name)
        if not entry.library:
            _refuse_weights(name, pretrained)
            return builder(channels=channels, classes=classes, **options)

    from concord.zoo import foreign

    if _library(name) == "torchvision":
        return foreign.from_torchvision(short, channels, classes, pretrained=pretrained)
    return foreign.from_timm(short, channels, classes, pretrained=pretrained)


def refuse_unknown(name: str) -> None:
    """UsageError for a name or sizes that no network has; those of the zoo are known without torch.

    Files and code outside concord are not opened: they are found wrong when they are built.
    """
    if is_darknet(name) or ":" in name:
        return
    inner = inside(name)
    plain = inner.partition("(")[0]
    known = {row["name"]: row["sizes"] for row in registry.listing()}
    if plain not in known:
        _library(inner)
    else:
        _sizes(known[plain], inner)


def _library(name: str) -> str:
    """The library that has a network of that name; UsageError if none has."""
    from concord.zoo import foreign

    library, _, short = name.rpartition("/")
    if library in ("", "torchvision") and short in foreign.torchvision_names():
        return "torchvision"
    if library == "timm" or (not library and foreign.in_timm(short)):
        foreign.timm_with(short)
        return "timm"
    raise _unknown(name)


def is_darknet(name: str) -> bool:
    """Whether the name is that of a file of darknet."""
    return name.endswith(".cfg")


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


def _sizes(known: Mapping[str, int], name: str) -> dict[str, int]:
    """The sizes in brackets; UsageError unless the network has such sizes."""
    sizes = sizes_in(name)
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
    plain = name.partition("(")[0]
    missing = "" if foreign.timm_names() else " (not installed: pip install timm)"
    return UnknownNetwork(
        f"no network is named {name!r}{suggestion(plain, known)}; networks are those of `concord zoo`, "
        f"of torchvision, of timm{missing}, and your own as package.module:factory or file.py:factory"
    )
