"""Whether streams are trained on in their order."""

from typing import Any

from torch.utils.data import DataLoader

from concord.data.dataset import Dataset, Streamed
from concord.errors import UsageError
from concord.runs.config import Train


def require_order(data: "Dataset | DataLoader[Any]", train: Train) -> None:
    """UsageError for settings under which batches of streams would not follow each other.

    A member would continue one stream with the state of another, or the same batch twice.
    """
    if not isinstance(data, Streamed):
        return
    wanted = {"batch_size": data.streams, "shuffle": False, "update": "simultaneous", "micro_batch": None}
    wrong = [name for name, value in wanted.items() if getattr(train, name) != value]
    if wrong:
        names = {"update": "alternating"}
        listed = ", ".join(f"{names.get(name, name)}={_value(name, wanted[name])}" for name in wrong)
        raise UsageError(f"the data are {data.streams} streams, which are read in order: give {listed}")


def _value(name: str, value: object) -> object:
    return False if name == "update" else value
