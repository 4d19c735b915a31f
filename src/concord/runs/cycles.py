"""Where the cycles of a training end."""

from concord.runs.config import Config
from concord.training.position import step_name


def ends_of_cycles(config: Config, steps: int) -> list[str]:
    """Names of the checkpoints at the ends of several cycles, where an epoch has ``steps`` updates."""
    cycles, epochs = config.train.cycles, config.train.epochs
    return [step_name(epochs // cycles * steps * k) for k in range(1, cycles + 1)] if cycles > 1 else []
