"""The inputs for which a network is counted: those that were given, or those that it was made for."""

import inspect
import operator
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from concord.cost.record import times
from concord.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from concord.zoo.darknet.network import Described

IMAGENET = 1000
KINDS = {  # what a network of the zoo takes: ids or numbers, and how many sizes
    (False, 3): "pictures, channels x height x width",
    (False, 2): "sequences of numbers, steps x numbers per step",
    (True, 1): "sequences of symbols, as token ids",
    (False, 4): "sequences of pictures, steps x channels x height x width",
}
COLOURS = (1, 3, 4)  # channels of a picture: grey, RGB, RGBA
Given: TypeAlias = "Sequence[int] | Tensor | Input | Sequence[Sequence[int] | Tensor | Input]"


@dataclass(frozen=True)
class Input:
    """Sizes of one sample of one input: of real numbers, or of token ids."""

    shape: tuple[int, ...]
    ids: bool = False

    def __str__(self) -> str:
        return f"{times(self.shape)}{' token ids' if self.ids else ''}"

    @property
    def kind(self) -> tuple[bool, int]:
        """Equal for inputs that can stand in the same place: pictures, vectors, token ids."""
        return self.ids, len(self.shape)


class InputError(ShapeError):
    """A network refuses these inputs; ``use`` holds some that it accepts."""

    def __init__(self, message: str, use: Sequence[Input]) -> None:
        super().__init__(message)
        self.use = tuple(use)


def listed(inputs: Given) -> "list[Input | Tensor]":
    """One input or several, as a list; UsageError for anything but whole numbers and tensors."""
    if isinstance(inputs, list | tuple) and not _is_sizes(inputs):
        if any(isinstance(one, int) for one in inputs):
            raise _refused(inputs)
        return [_one(one) for one in inputs]
    return [] if _is_sizes(inputs) and not inputs else [_one(inputs)]


def _one(given: object) -> "Input | Tensor":
    if isinstance(given, Input):
        sizes = given
    elif _is_tensor(given):
        return given
    elif _is_sizes(given):
        sizes = Input(tuple(map(operator.index, given)))
    else:
        raise _refused(given)
    if min(sizes.shape, default=1) < 1:
        raise UsageError(f"inputs: every size must be at least 1, got {sizes.shape}")
    return sizes


def _refused(given: object) -> UsageError:
    form = "a tensor or the sizes of a sample as numbers, such as (3, 224, 224)"
    return UsageError(f"inputs: expected {form}, got {given!r:.80}")


def _is_tensor(given: object) -> "TypeGuard[Tensor]":
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    return torch is not None and isinstance(given, torch.Tensor)


def _is_sizes(given: object) -> TypeGuard[Sequence[int]]:
    """Whether all of it is whole numbers."""
    if not isinstance(given, list | tuple):
        return False
    return all(
        hasattr(size, "__index__") and not isinstance(size, bool) and not _is_tensor(size) for size in given
    )


def sizes_of(given: "Input | Tensor") -> Input:
    """Of one sample; tensors of whole numbers are token ids."""
    if isinstance(given, Input):
        return given
    return Input(tuple(given.shape[1:]), ids=not given.is_floating_point())


def usual_inputs(network: str) -> list[Input]:
    """Those that the network was made for."""
    from concord.zoo import foreign, registry
    from concord.zoo.build import is_darknet, sizes_in
    from concord.zoo.build import sizes_of as usual_sizes
    from concord.zoo.ensembles.names import inside

    network = inside(network)
    if is_darknet(network):
        return [Input(_of_darknet(network).input)]
    if (own := own_name(network)) is None:
        return [Input(foreign.usual_input(network))]
    entry = registry.find(own)
    sizes = {**usual_sizes(entry.build), **(sizes_in(network) or {})}
    sample = [Input(entry.sample(sizes))] if entry.example else []
    return [*sample, *([Input((entry.text[0],), ids=True)] if entry.text else [])]


def usual_classes(network: str) -> int:
    """The zoo's default; a thousand for the networks of libraries; what a file of darknet says."""
    from concord.zoo import registry
    from concord.zoo.build import is_darknet
    from concord.zoo.ensembles.names import inside

    network = inside(network)
    if is_darknet(network):
        return _of_darknet(network).classes
    if (own := own_name(network)) is None:
        return IMAGENET
    return int(inspect.signature(registry.find(own).build).parameters["classes"].default)


def _of_darknet(network: str) -> "Described":
    from concord.zoo.darknet.network import described

    return described(Path(network))


def usual_channels(network: str) -> int:
    """The default of a network of the zoo."""
    from concord.zoo import registry

    name = own_name(network) or network
    return int(inspect.signature(registry.find(name).build).parameters["channels"].default)


def own_name(network: str) -> str | None:
    """Name in the zoo, without sizes in brackets; None for what the zoo does not list."""
    from concord.zoo import registry
    from concord.zoo.ensembles.names import inside

    name = inside(network).partition("(")[0]
    return name if name in registry.names() else None


def require_kinds(network: str, given: Sequence[Input]) -> None:
    """InputError where a network of the zoo or of a library gets no picture, no text, too much, or a picture
    whose channels come last."""
    if ":" in network:
        return
    usual = usual_inputs(network)
    if [one.kind for one in given] == [one.kind for one in usual]:
        _refuse_channels_last(network, given)
        return
    got, example = (" and ".join(map(str, inputs)) for inputs in (given, usual))
    if len(usual) > 1:
        raise InputError(f"{network} takes a picture and token ids, such as {example}; got {got}", usual)
    alone = ", and no other input" if len(given) > 1 else ""
    what = KINDS.get(usual[0].kind, "inputs")
    raise InputError(f"{network} takes {what}, such as {example}{alone}; got {got}", usual)


def _refuse_channels_last(network: str, given: Sequence[Input]) -> None:
    """32x32x3 would be counted as a picture of 32 channels, 32 high and 3 wide."""
    first = [Input((one.shape[-1], *one.shape[:-1])) if _is_channels_last(one) else one for one in given]
    if first != list(given):
        got, better = (" and ".join(map(str, inputs)) for inputs in (given, first))
        raise InputError(f"{network}: channels come first, {better} instead of {got}", first)


def _is_channels_last(one: Input) -> bool:
    return one.kind == (False, 3) and one.shape[-1] in COLOURS and one.shape[0] > max(COLOURS)


def countable(one: "Input | Tensor", batch: int = 1) -> "Tensor | tuple[int, ...]":
    """In the form in which ``count`` takes it; token ids are a tensor with a batch."""
    import torch

    if not isinstance(one, Input):
        return one
    return torch.empty(batch, *one.shape, dtype=torch.int64, device="meta") if one.ids else one.shape


def accepted(bare: "nn.Module", given: Sequence[Input], error: str) -> InputError | None:
    """What to do about an input that is too small, of the wrong size, or numbers instead of token ids."""
    if "scalar types: Long" in error and not any(one.ids for one in given):
        use = [Input(one.shape, ids=len(one.shape) == 1) for one in given]
        return InputError("the layer reads token ids, which are whole numbers (int64)", use)
    one, *others = given
    if one.kind == (False, 3):
        return _smallest_picture(bare, one, others)
    if others or len(one.shape) > 2:
        return None
    return _shortest(bare, one)


def _smallest_picture(bare: "nn.Module", one: Input, others: Sequence[Input]) -> InputError | None:
    """Of the same channels, beside the other inputs as they are."""
    from concord.cost.smallest import smallest, takes

    rest, channels = [countable(other) for other in others], one.shape[0]
    side = smallest(lambda side: takes(bare, (channels, side, side), *rest))
    if side is None:
        return None
    picture = Input((channels, side, side))
    kind = "the smallest square picture" if side > min(one.shape[1:]) else "a picture"
    return InputError(f"{kind} that it takes is {picture}", [picture, *others])


def _shortest(bare: "nn.Module", one: Input) -> InputError | None:
    """Of a sequence, or of a vector: along its last axis."""
    from concord.cost.smallest import smallest, takes

    def of(length: int) -> Input:
        return Input((*one.shape[:-1], length), one.ids)

    length = smallest(lambda length: takes(bare, countable(of(length))))
    if length is None:
        return None
    kind = "the shortest input" if length > one.shape[-1] else "an input"
    return InputError(f"{kind} that it takes is {of(length)}", [of(length)])
