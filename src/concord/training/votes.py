"""Which class every member names for every test sample, kept in RUN/votes.safetensors.

Two runs that differ by their seed alone can be compared sample by sample with it (churn).
"""

import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from concord.consensus.objective import ensemble_logits
from concord.errors import CheckpointError
from concord.training.evaluate import logits
from concord.training.files import replace
from concord.training.fit import Job
from concord.training.folder import RunFolder
from concord.training.tensors import parse

FILE = "votes.safetensors"
ENSEMBLE = "ensemble"


def keep(job: Job) -> None:
    """Write the votes of the members as they are now. Shape: (N,) int32 for each member and the ensemble."""
    said = logits(list(job.members.values()), job.feed.test(), job.precision)  # (M, N, K)
    rows = {**dict(zip(job.members, said, strict=True)), ENSEMBLE: ensemble_logits(list(said))}
    votes = {name: row.argmax(-1).to(torch.int32) for name, row in rows.items()}
    replace(job.folder.path / FILE, tensor_bytes(votes))


def read(folder: RunFolder) -> dict[str, Tensor]:
    """The votes of a run; none if it kept none. CheckpointError if the file is damaged or cannot be read."""
    file = folder.path / FILE
    if not file.is_file():
        return {}
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from None
    return parse(file, content)
