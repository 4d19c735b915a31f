"""What ``concord cost`` gives to a network: sizes that were typed, or those that it was made for."""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

SHAPE = re.compile(r"(ids:)?(\d{1,9}(?:x\d{1,9})*)", re.ASCII)
IMAGENET = 1000


@dataclass(frozen=True)
class Input:
    """One sample of one input: real numbers, or token ids."""

    shape: tuple[int, ...]
    ids: bool = False

    @property
    def text(self) -> str:
        """As it is typed."""
        return ("ids:" if self.ids else "") + "x".join(map(str, self.shape))

    @property
    def kind(self) -> tuple[bool, int]:
        """What tells a picture from token ids and from other numbers."""
        return self.ids, len(self.shape)


def parsed(text: str) -> Input:
    """``3x32x32`` -> (3, 32, 32) of numbers; ``ids:24`` -> (24,) of token ids."""
    match = SHAPE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"--input {text!r}: expected sizes such as 3x224x224, or ids:24 for 24 token ids")
    shape = tuple(map(int, match[2].split("x")))
    if 0 in shape:
        raise UsageError(f"--input {text!r}: every size must be at least 1")
    return Input(shape, match[1] is not None)


def usual_inputs(network: str) -> list[Input]:
    """Those that the network was made for."""
    from concord.zoo import foreign, registry
    from concord.zoo.build import sizes_in

    if (own := own_name(network)) is None:
        return [Input(foreign.usual_input(network))]
    entry = registry.find(own)
    channels, height, width = entry.example
    side = (sizes_in(network) or {}).get("side")  # of the pictures that a network in this size takes
    picture = Input((channels, side or height, side or width))
    return [picture, *([Input((entry.text[0],), ids=True)] if entry.text else [])]


def usual_classes(network: str) -> int:
    """The zoo's default; a thousand for the networks of libraries."""
    from concord.zoo import registry

    if (own := own_name(network)) is None:
        return IMAGENET
    return int(inspect.signature(registry.find(own).build).parameters["classes"].default)


def own_name(network: str) -> str | None:
    """Name in the zoo, without sizes in brackets; None for what the zoo does not list."""
    from concord.zoo import registry

    name = network.partition("(")[0]
    return name if name in registry.names() else None


def require_kinds(network: str, wanted: Sequence[Input]) -> None:
    """ShapeError where a network of the zoo or of a library gets no picture, no text, or too much."""
    if ":" in network:
        return
    usual = usual_inputs(network)
    if [one.kind for one in wanted] == [one.kind for one in usual]:
        return
    given, example = (" ".join(f"--input {one.text}" for one in inputs) for inputs in (wanted, usual))
    if len(usual) > 1:
        raise ShapeError(f"{given}: {network} takes a picture and token ids: {example}")
    alone = ", and no other input" if len(wanted) > 1 else ""
    what = f"pictures, channels x height x width: {usual[0].text}{alone}"
    raise ShapeError(f"{given}: {network} takes {what}")


def tensor(one: Input) -> "Tensor | tuple[int, ...]":
    import torch

    return torch.empty(1, *one.shape, dtype=torch.int64, device="meta") if one.ids else one.shape


def cure(bare: "nn.Module", wanted: Sequence[Input], error: str) -> str:
    """The way out for an input that is too small, of the wrong size, or numbers instead of ids."""
    if "scalar types: Long" in error and not any(one.ids for one in wanted):
        return "; token ids are written --input ids:24"
    one, *others = wanted
    if one.kind == (False, 3):
        return _smallest_picture(bare, one, others)
    if others or len(one.shape) > 2:
        return ""
    return _shortest(bare, one)


def _smallest_picture(bare: "nn.Module", one: Input, others: Sequence[Input]) -> str:
    """Of the same channels, beside the other inputs as they are."""
    from concord.cost.smallest import smallest, takes

    rest, channels = [tensor(other) for other in others], one.shape[0]
    side = smallest(lambda side: takes(bare, (channels, side, side), *rest))
    if side is None:
        return ""
    kind = "the smallest square picture" if side > min(one.shape[1:]) else "a picture"
    return f"; {kind} that it takes is {channels}x{side}x{side}"


def _shortest(bare: "nn.Module", one: Input) -> str:
    """Of a sequence, or of a vector: along its last axis."""
    from concord.cost.smallest import smallest, takes

    def of(length: int) -> Input:
        return Input((*one.shape[:-1], length), one.ids)

    length = smallest(lambda length: takes(bare, tensor(of(length))))
    if length is None:
        return ""
    kind = "the shortest input" if length > one.shape[-1] else "an input"
    return f"; {kind} that it takes is {of(length).text}"
