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

from concord.errors import CheckpointError, UsageError
from concord.runs import weights
from concord.runs.assemble import build_members
from concord.runs.cycles import ends_of_cycles
from concord.runs.loading import Loaded
from concord.training import checkpoint


def with_snapshots(loaded: Loaded, allow_code: Collection[str]) -> Loaded:
    """The run with a member NAME@K for the weights of each learning member at the end of cycle K.

    UsageError for a run of one cycle or one in progress; CheckpointError if a checkpoint is missing or
    damaged.
    """
    path, config = loaded.folder.path, loaded.config
    if config.train.cycles == 1:
        raise UsageError(f"{path} was trained in one cycle (train.cycles = 1), so it has no snapshots")
    if loaded.result is None:
        raise UsageError(f"{path} is not finished: {loaded.folder.resume} continues it to its last snapshot")
    steps = checkpoint.load(loaded.checkpoint).state["steps"]
    learning = [each for each in config.members if each.teacher is None and not each.retired]
    needed = config.model_copy(update={"members": learning})
    members: dict[str, nn.Module] = {}
    for cycle, name in enumerate(ends_of_cycles(config, steps), 1):
        place = loaded.folder.checkpoints / name
        if not place.is_dir():
            raise CheckpointError(f"{place} is missing: the run does not have the snapshot of cycle {cycle}")
        found = weights.load(loaded.folder, place)
        built = build_members(needed, loaded.interface, allow_code, saved=found)
        weights.fill(built, found)
        members |= {f"{member}@{cycle}": network.eval() for member, network in built.items()}
    return replace(loaded, members=members)
