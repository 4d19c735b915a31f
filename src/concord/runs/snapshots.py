"""Snapshots: the weights at the end of each cycle of the learning rate, and the ensemble that they make.

Source: G. Huang, Y. Li, G. Pleiss, Z. Liu, J. E. Hopcroft, K. Q. Weinberger, "Snapshot ensembles: train 1,
get M for free", ICLR 2017, section 3: M cosine cycles in one training; the networks at their ends predict
together.

Departures: predictions are averaged as those of any ensemble here, as the mean of logits (the paper: of
probabilities); cycles have whole epochs. A run keeps the checkpoints of the ends of its cycles.
"""

from collections.abc import Collection
from dataclasses import replace

from torch import nn

from concord.runs import weights
from concord.runs.assemble import build_members
from concord.runs.cycles import snapshot
from concord.runs.loading import Loaded


def with_snapshots(loaded: Loaded, allow_code: Collection[str]) -> Loaded:
    """The run with a member NAME@K for the weights of each learning member at the end of cycle K.

    Raises what ``cycles.snapshot`` raises.
    """
    config = loaded.config
    learning = [each for each in config.members if each.teacher is None and not each.retired]
    needed = config.model_copy(update={"members": learning})
    members: dict[str, nn.Module] = {}
    for cycle in range(1, config.train.cycles + 1):
        found = snapshot(loaded.folder, config, cycle)
        built = build_members(needed, loaded.interface, allow_code, saved=found)
        weights.fill(built, found)
        members |= {f"{member}@{cycle}": network.eval() for member, network in built.items()}
    return replace(loaded, members=members)
