"""What a network costs, by its name."""

from collections.abc import Collection, Sequence
from typing import Any

from concord.cost.count import LayerError, count
from concord.cost.record import Cost, Priced
from concord.errors import ShapeError
from concord.runs.cost_inputs import Input, cure, parsed, require_kinds, tensor, usual_classes, usual_inputs
from concord.zoo.build import build
from concord.zoo.skeleton import skeleton


def cost_of(
    network: str,
    inputs: Sequence[str] = (),
    *,
    classes: int | None = None,
    allow_code: Collection[str] = (),
) -> Priced:
    """What a network costs, by name, for inputs such as ``3x224x224`` (numbers) or ``ids:24`` (token ids).

    Without inputs: those that the zoo, torchvision or timm know for it. Raises UsageError for an unknown
    name, ShapeError for inputs that the network refuses, with the smallest that it takes.
    """
    wanted = [parsed(text) for text in inputs] or usual_inputs(network)
    channels = wanted[0].shape[0] if len(wanted[0].shape) > 1 else 1
    named = {"channels": channels, "classes": classes or usual_classes(network), "allow_code": allow_code}
    try:
        spent = counted(network, wanted, named)
    except ShapeError as error:
        if inputs or ":" not in network:
            raise
        raise ShapeError(f"{error}; {wanted[0].text} is a guess, --input says what it takes") from error
    return Priced(network, tuple(one.shape for one in wanted), spent)


def counted(network: str, wanted: Sequence[Input], named: dict[str, Any]) -> Cost:
    """On the meta device; with weights and numbers if the network runs there with no picture at all."""
    tensors = [tensor(one) for one in wanted]
    bare = skeleton(network, **named)
    require_kinds(network, wanted)
    try:
        return count(bare, *tensors)
    except ShapeError as error:
        if "meta tensors" in str(error):  # it asks for numbers, whatever the size of its input
            return _with_weights(network, tensors, named)
        way_out = cure(bare, wanted, str(error))
        if isinstance(error, LayerError) and not way_out:
            return _with_weights(network, tensors, named)
        raise ShapeError(f"{network}: {error}{way_out}") from error


def _with_weights(network: str, tensors: Sequence[Any], named: dict[str, Any]) -> Cost:
    try:
        return count(build(network, **named), *tensors)
    except ShapeError as error:
        raise ShapeError(f"{network}: {error}") from error
