"""What a network costs: one of a library by its name, or any module."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from concord.cost.record import Cost, Priced
from concord.errors import ShapeError, UsageError
from concord.runs.cost_inputs import (
    Given,
    Input,
    InputError,
    accepted,
    countable,
    listed,
    own_name,
    require_kinds,
    sizes_of,
    usual_channels,
    usual_classes,
    usual_inputs,
)
from concord.runs.kept_costs import keep_cost, kept_cost, key_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def cost_of(
    network: "str | nn.Module",
    inputs: Given = (),
    *,
    classes: int | None = None,
    allow_code: Collection[str] = (),
) -> Priced:
    """What one forward pass of a network costs, in evaluation.

        concord.cost_of("resnet18")
        concord.cost_of(module, (3, 224, 224))

    ``network``: a module, or the name of a network of the zoo, torchvision or timm; a name may also be the
    user's own ``package.module:factory`` if ``allow_code`` holds it. ``inputs``: the sizes of one sample, as
    whole numbers, or a tensor with a batch; a list of them for a network of several inputs, and
    ``concord.runs.cost_inputs.Input((24,), ids=True)`` for 24 token ids. A name needs none: then the network
    gets what it was made for. ``classes`` belongs to names too; the default is that of the network.

    The cost of a network of a library is kept in the user's cache folder, and the next call imports no torch.

    Raises UsageError for an unknown name, ShapeError for inputs that the network refuses, with the smallest
    that it accepts.
    """
    given = listed(inputs)
    if not isinstance(network, str):
        return _cost_of_module(network, given, classes)
    sizes = [one for one in given if isinstance(one, Input)]
    key = key_of(network, sizes, classes) if len(sizes) == len(given) else None
    if key and (known := kept_cost(key)):
        return known
    priced = _counted_by_name(network, given, classes, allow_code)
    if key:
        keep_cost(key, priced)
    return priced


def _cost_of_module(network: "nn.Module", given: "Sequence[Input | Tensor]", classes: int | None) -> Priced:
    from concord.cost.count import count

    if classes is not None:
        raise UsageError(f"classes={classes} is for names of networks; a module has its classes already")
    if not given:
        raise UsageError(f"cost_of({type(network).__name__}): give its input, such as (3, 224, 224)")
    cost = count(network, *map(countable, given))
    return Priced(type(network).__name__, tuple(sizes_of(one).shape for one in given), cost)


def _counted_by_name(
    network: str, given: "Sequence[Input | Tensor]", classes: int | None, allow_code: Collection[str]
) -> Priced:
    wanted = given or usual_inputs(network)
    sizes = [sizes_of(one) for one in wanted]
    named = {
        "channels": channels_of(network, sizes[0]),
        "classes": usual_classes(network) if classes is None else classes,
        "allow_code": allow_code,
    }
    try:
        spent = _counted(network, wanted, named)
    except ShapeError as error:
        if given or ":" not in network:
            raise
        raise ShapeError(f"{error}; the input {sizes[0]} is a guess") from error
    return Priced(network, tuple(one.shape for one in sizes), spent)


def channels_of(network: str, one: Input) -> int:
    """The first size of a picture, the second of a sequence; of symbols as many as the zoo's default."""
    if one.ids and own_name(network):
        return usual_channels(network)
    if len(one.shape) in (2, 4) and own_name(network):
        return one.shape[1]
    return one.shape[0] if len(one.shape) > 1 else 1


def _counted(network: str, wanted: "Sequence[Input | Tensor]", named: dict[str, Any]) -> Cost:
    """On the meta device; with weights and numbers if the network runs there with no picture at all."""
    from concord.cost.count import count
    from concord.cost.passes import LayerError
    from concord.zoo.skeleton import skeleton

    tensors = [countable(one) for one in wanted]
    bare = skeleton(network, **named)
    sizes = [sizes_of(one) for one in wanted]
    require_kinds(network, sizes)
    try:
        return count(bare, *tensors)
    except ShapeError as error:
        if "meta tensors" in str(error):  # it needs numbers, whatever the size of its input
            return _with_weights(network, tensors, named)
        better = accepted(bare, sizes, str(error))
        if better is not None:
            raise InputError(f"{network}: {error}; {better}", better.use) from error
        if isinstance(error, LayerError):
            return _with_weights(network, tensors, named)
        raise ShapeError(f"{network}: {error}") from error


def _with_weights(network: str, tensors: Sequence[Any], named: dict[str, Any]) -> Cost:
    from concord.cost.count import count
    from concord.zoo.build import build

    try:
        return count(build(network, **named), *tensors)
    except ShapeError as error:
        raise ShapeError(f"{network}: {error}") from error
