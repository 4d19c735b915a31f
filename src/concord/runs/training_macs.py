"""Multiply-accumulates that the training of each member of a run took: forward and backward passes.

Evaluation, the loss, the consensus cost and the optimizer are not among them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from concord.errors import ConcordError
from concord.runs.config import Config
from concord.runs.plan import edges_of, weight_of
from concord.runs.training_costs import training_cost_of

FEW = 2  # samples; batch normalisation has no statistics of one


@cache
def of_a_sample(network: str, shape: tuple[int, ...], classes: int, forward: int) -> int:
    """Of one sample in one update of a member that learns.

    A network that cannot be built without its user, such as code of their own, has three forward passes: as
    many products again for each of the two gradients.
    """
    try:
        return training_cost_of(network, shape, batch=FEW, classes=classes).macs // FEW
    except ConcordError:
        return 3 * forward


def training_macs(
    config: Config,
    forward: Mapping[str, int | None],
    shape: tuple[int, ...],
    classes: int,
    epochs: Sequence[Mapping[str, Any]],
) -> dict[str, int | None]:
    """What every member of a run computed until its last epoch; ``epochs`` are lines of metrics.jsonl.

    ``forward`` has the multiply-accumulates of a forward pass of one sample, which has this shape. Counted
    are the labelled samples, the unlabelled ones in updates whose weight is not 0, and the passes in which
    members predict for others that have samples or turns of their own. None for a member without a figure,
    and for all in adversarial training, whose samples are made by passes of their own.
    """
    if config.adversarial is not None or not epochs:
        return dict.fromkeys(forward)
    samples = round(sum(row["seconds"] * row["samples_per_second"] for row in epochs))
    updates, again = epochs[-1]["step"], _again(config, epochs)
    edges, alternating = edges_of(config, 0, None), config.train.update == "alternating"
    found: dict[str, int | None] = {}
    for j, member in enumerate(config.members):
        macs = forward.get(member.name)
        if macs is None:
            found[member.name] = None
            continue
        learns = member.teacher is None and not member.retired
        own = of_a_sample(member.network, shape, classes, macs) if learns else macs
        others = sum(1 for i in range(edges.members) if i != j and edges.mass(i))  # even of a teacher
        total = own * samples
        if alternating or config.train.batches == "own":
            total += macs * others * round(samples * again / updates)
        if config.unlabelled is not None and edges.pairs():
            passes = own if not alternating else macs * others + (own if edges.mass(j) else 0)
            total += passes * config.unlabelled.batch_size * again
        found[member.name] = total
    return found


def _again(config: Config, epochs: Sequence[Mapping[str, Any]]) -> int:
    """Updates in which members predict again or on other samples, because the weight is not 0."""
    if config.unlabelled is None and config.train.update != "alternating" and config.train.batches != "own":
        return 0
    weight = weight_of(config.consensus, epochs[0]["step"] * config.train.epochs)
    return sum(weight(index) != 0 for index in range(epochs[-1]["step"]))


def learned_from(config: Config, name: str) -> list[str]:
    """The member and those from which it learned in this run, directly or through others.

    Where members are matched again in every epoch, each has learned from all.
    """
    names = [member.name for member in config.members]
    if config.consensus.cost == "none" or not config.consensus.weight:
        return [name]
    if isinstance(config.consensus.edges, str) and config.consensus.edges.endswith("_matching"):
        return names
    edges, reached, waiting = edges_of(config, 0, None), {names.index(name)}, [names.index(name)]
    while waiting:
        i = waiting.pop()
        new = {j for j in range(len(names)) if edges.weight[i][j]} - reached
        reached |= new
        waiting += sorted(new)
    return [names[i] for i in sorted(reached)]
