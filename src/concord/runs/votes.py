"""Which class every member names for every test sample, kept in RUN/votes.safetensors.

Two runs that differ by their seed alone can be compared sample by sample with it (churn).
"""

import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from concord.consensus.objective import ensemble_logits
from concord.errors import CheckpointError, StoppedError
from concord.files.atomic import replace
from concord.files.tensors import parse_tensors
from concord.runs.folder import RunFolder
from concord.training.evaluate import InterruptedEvaluation, logits
from concord.training.job import Job

FILE = "votes.safetensors"
ENSEMBLE = "ensemble"


def keep(job: Job) -> None:
    """Write the votes of the members as they are now. Shape: (N,) int32 for each member and the ensemble.

    Raises StoppedError when the job's ``stop`` says so.
    """
    try:
        said = logits(list(job.members.values()), job.feed.test(), job.precision, job.stop)  # (M, N, K)
    except InterruptedEvaluation:
        raise StoppedError(f"stopped before the last scores: {job.folder.resume} makes them") from None
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
    return parse_tensors(file, content)
