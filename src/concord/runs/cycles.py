"""Where the cycles of a training end, and the snapshots there."""

from concord.errors import CheckpointError, UsageError, amount
from concord.runs import weights
from concord.runs.config import Config
from concord.runs.folder import RunFolder
from concord.training.checkpoint import Checkpoint
from concord.training.position import step_name


def ends_of_cycles(config: Config, steps: int) -> list[str]:
    """Names of the checkpoints at the ends of several cycles, where an epoch has ``steps`` updates."""
    cycles, epochs = config.train.cycles, config.train.epochs
    return [step_name(epochs // cycles * steps * k) for k in range(1, cycles + 1)] if cycles > 1 else []


def snapshot(folder: RunFolder, config: Config, cycle: int) -> Checkpoint:
    """The verified checkpoint at the end of a cycle (from 1) of a finished run.

    UsageError for a cycle that the run does not have, or a run in progress; CheckpointError if the checkpoint
    is missing or damaged.
    """
    path, cycles = folder.path, config.train.cycles
    if cycles == 1:
        raise UsageError(f"{path} was trained in one cycle (train.cycles = 1), so it has no snapshots")
    if type(cycle) is not int or not 1 <= cycle <= cycles:
        raise UsageError(
            f"cycle is {cycle!r}, expected a number from 1: {path} has {amount(cycles, 'cycle')}"
        )
    if not folder.complete:
        raise UsageError(f"{path} is not finished: {folder.resume} continues it to its last snapshot")
    steps = weights.standing(folder).state["steps"]
    place = folder.checkpoints / ends_of_cycles(config, steps)[cycle - 1]
    if not place.is_dir():
        raise CheckpointError(f"{place} is missing: the run does not have the snapshot of cycle {cycle}")
    return weights.load(folder, place)
