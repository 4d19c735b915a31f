"""Whether streams are trained on in their order."""

from typing import Any

from torch.utils.data import DataLoader

from concord.data.dataset import Dataset, Streamed
from concord.errors import UsageError
from concord.runs.config import Train


def require_order(data: "Dataset | DataLoader[Any]", train: Train) -> None:
    """UsageError for settings under which batches of streams would not follow each other.

    A member would continue one stream with the state of another, or meet a peer that is past the batch.
    """
    if not isinstance(data, Streamed):
        return
    wanted = {
        f"batch_size={data.streams}": train.batch_size == data.streams,
        "shuffle=False": not train.shuffle,
        "alternating=False": train.update == "simultaneous",
        "micro_batch=None": train.micro_batch is None,
    }
    if wrong := ", ".join(argument for argument, given in wanted.items() if not given):
        raise UsageError(f"the data are {data.streams} streams, which are read in order: give {wrong}")
