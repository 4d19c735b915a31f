"""What training a network costs: one of a library by its name, or any module."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from concord.errors import ShapeError, UsageError
from concord.runs.cost_inputs import Given, Input, countable, listed, sizes_of, usual_classes, usual_inputs
from concord.runs.costs import channels_of, cost_of

if TYPE_CHECKING:
    from torch import nn

    from concord.cost.training import TrainingCost

MORE = "Expected more than 1 value per channel when training"  # what torch says of a batch of one vector


def training_cost_of(
    network: "str | nn.Module",
    inputs: Given = (),
    *,
    batch: int | None = None,
    classes: int | None = None,
    allow_code: Collection[str] = (),
) -> "TrainingCost":
    """What one update of a network costs: its forward and its backward pass on a batch.

        concord.training_cost_of("resnet18", batch=64).macs
        concord.training_cost_of(module, (3, 224, 224), batch=64).macs_of(updates=10_000)

    Arguments are those of ``cost_of``, and ``batch``, the number of samples of an update: 64 by default;
    tensors bring their own. Parameters without ``requires_grad`` are frozen.

    Raises what ``cost_of`` does, ShapeError too for a batch that the network refuses in training.
    """
    from concord.cost.training import BATCH, count_training

    given = listed(inputs)
    priced = cost_of(network, inputs, classes=classes, allow_code=allow_code)  # refuses what does not fit
    wanted = given or usual_inputs(priced.name)
    tensors = [one for one in wanted if not isinstance(one, Input)]
    size = batch if batch is not None else len(tensors[0]) if tensors else BATCH
    if size < 1:
        raise UsageError(f"a batch has at least 1 sample, got {size}")
    samples = [countable(one, size) for one in wanted]
    try:
        if not isinstance(network, str):
            return count_training(network, *samples, batch=size)
        named = {
            "channels": channels_of(network, sizes_of(wanted[0])),
            "classes": usual_classes(network) if classes is None else classes,
            "allow_code": allow_code,
        }
        return replace(_counted(network, samples, size, named), network=network)
    except ShapeError as error:
        more = "; use a larger batch" if MORE in str(error) else ""
        raise ShapeError(f"{priced.name}: {error}{more}") from error


def _counted(network: str, samples: Sequence[Any], batch: int, named: dict[str, Any]) -> "TrainingCost":
    """On the meta device; with weights and numbers if the network does not run there."""
    from concord.cost.passes import LayerError
    from concord.cost.training import count_training
    from concord.zoo.build import build
    from concord.zoo.skeleton import skeleton

    try:
        return count_training(skeleton(network, **named), *samples, batch=batch)
    except LayerError as error:
        if MORE in str(error):  # numbers would not help
            raise
        return count_training(build(network, **named), *samples, batch=batch)
