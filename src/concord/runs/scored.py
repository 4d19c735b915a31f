"""What runs on sequences, masks and boxes share where they are scored: other data, and one part of them."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from concord.data.dataset import Dataset
from concord.data.loader import Loader
from concord.errors import StoppedError
from concord.runs.config import Config
from concord.runs.samples import in_order
from concord.runs.watching import Stop
from concord.tasks.task import Task
from concord.training.evaluate import Evaluated, InterruptedEvaluation, evaluate


def at(config: Config, source: str | None) -> Config:
    """The settings with all data at ``source``, of which nothing is cut off; None: the data of the run."""
    if source is None:
        return config
    data = config.data.model_copy(update={"source": source, "limit": None, "valid": 0.0, "test": 0.0})
    return config.model_copy(update={"data": data})


def scored_part(
    members: Mapping[str, nn.Module], part: Dataset, task: Task[Any], stop: Stop, *, keep: bool = False
) -> Evaluated:
    """What the task finds in all samples of a part; StoppedError when ``stop`` says so."""
    try:
        return evaluate(members, in_order(part, "data", Loader({"data": part})), task, keep=keep, stop=stop)
    except InterruptedEvaluation:
        raise StoppedError("stopped while predicting; nothing was changed") from None
