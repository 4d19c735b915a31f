"""What finished runs say: scores, labels for files, files for other programs."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from concord.runs import evaluate as scoring
from concord.runs import export as exporting
from concord.runs import predict as labelling
from concord.runs.watching import never
from concord.training.observer import SILENT, Observer


def evaluate(
    run: str | Path,
    *,
    data: str | None = None,
    allow_code: Collection[str] = (),
    strict: bool = False,
    observer: Observer = SILENT,
    stop: Callable[[], bool] = never,
) -> dict[str, Any]:
    """Scores of a run on its own test split, or on that of other data with the same classes.

    ``strict``: CheckpointError if the newest checkpoint is damaged, where otherwise an earlier one is used.
    """
    return scoring.evaluate(
        Path(run), data=data, allow_code=allow_code, strict=strict, observer=observer, stop=stop
    )


def predict(
    run: str | Path,
    files: str | Path | Sequence[str | Path],
    *,
    member: str = "ensemble",
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> list[dict[str, Any]]:
    """Label and confidence of every image, in the order given; one that cannot be read has an ``error``.

    ``files`` is a file, a folder or a pattern, or several of them.
    """
    chosen = [files] if isinstance(files, str | Path) else files
    return labelling.predict(
        Path(run), [str(file) for file in chosen], member=member, allow_code=allow_code, observer=observer
    )


def export(
    run: str | Path,
    to: str | Path,
    *,
    member: str = "ensemble",
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> dict[str, Any]:
    """Write one member or the ensemble to ``to``; its suffix decides: .onnx, .pt2 or .safetensors.

    ONNX and torch.export take pixels (B, C, H, W) as float32 on the 0..255 scale and give probabilities (B,
    K): normalisation and softmax are inside. An ONNX file is checked against ONNX Runtime on three batch
    sizes. What cannot be written leaves an older file as it was (ResourceError).
    """
    return exporting.export(Path(run), Path(to), member=member, allow_code=allow_code, observer=observer)
