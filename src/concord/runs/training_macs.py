"""Multiply-accumulates that the training of each member of a run took: forward and backward passes.

Evaluation, the loss, the consensus cost and the optimizer are not among them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from concord.consensus.edges import Edges
from concord.runs.config import Config
from concord.runs.plan import edges_of, weight_of

BACKWARD = 2  # gradients of inputs and of weights, each as many products as the forward pass


def of_a_sample(forward: int, *, learns: bool) -> int:
    """Of one sample in one update: three forward passes of a member that learns, one of a teacher."""
    return forward * (1 + BACKWARD) if learns else forward


def training_macs(
    config: Config, forward: Mapping[str, int | None], epochs: Sequence[Mapping[str, Any]]
) -> dict[str, int | None]:
    """What every member of a run computed until its last epoch; ``epochs`` are lines of metrics.jsonl.

    ``forward`` has the multiply-accumulates of one sample. Counted are the labelled samples, the unlabelled
    ones in updates whose weight is not 0, and the passes in which members predict for others that have
    samples or turns of their own. None for a member without a figure, and for all in adversarial training,
    whose samples are made by passes of their own.
    """
    if config.adversarial is not None or not epochs:
        return dict.fromkeys(forward)
    samples = round(sum(row["seconds"] * row["samples_per_second"] for row in epochs))
    updates, planned = epochs[-1]["step"], epochs[0]["step"] * config.train.epochs
    weight = weight_of(config.consensus, planned)
    pulling = sum(weight(index) != 0 for index in range(updates))
    edges = edges_of(config, 0, None)
    learning = [m.teacher is None and not m.retired for m in config.members]
    found: dict[str, int | None] = {}
    for j, member in enumerate(config.members):
        macs = forward.get(member.name)
        if macs is None:
            found[member.name] = None
            continue
        own, other = of_a_sample(macs, learns=learning[j]), macs
        total = own * samples
        for_others = _learners(edges, learning, without=j)
        if pulling and (config.train.update == "alternating" or config.train.batches == "own"):
            total += other * for_others * round(samples * pulling / updates)
        if pulling and config.unlabelled is not None and edges.pairs():
            turns = for_others if config.train.update == "alternating" else 0
            total += (own + other * turns) * config.unlabelled.batch_size * pulling
        found[member.name] = total
    return found


def _learners(edges: Edges, learning: Sequence[bool], without: int) -> int:
    """Members that learn from others, all but one."""
    return sum(1 for i, learns in enumerate(learning) if learns and i != without and edges.mass(i))


def learned_from(config: Config, name: str) -> list[str]:
    """The member and those from which it learned in this run, directly or through others.

    Where members are matched anew in every epoch, each has learned from all.
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
