"""A run as an object: its result, and what is done with it."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from concord.api import evaluate as finished
from concord.api.report import write_report
from concord.consensus.names import ENSEMBLE
from concord.files.documents import Document
from concord.runs.evaluate import Evaluation
from concord.runs.export import Exported
from concord.runs.folder import RunFolder
from concord.runs.predict import Prediction
from concord.runs.ready import RunResult
from concord.runs.sequences.predict import SequencePrediction
from concord.runs.sequences.result import SequenceResult
from concord.runs.sequences.sample import Sampled
from concord.runs.train import read_result
from concord.runs.vision.found import BoxPrediction, MaskPrediction
from concord.runs.vision.result import VisionResult


class Run(Document):
    """A finished run in a folder; as a mapping it is the document of its result.json.

    ``allow_code`` names own networks of the run that may be imported.
    """

    def __init__(
        self, path: str | Path, *, allow_code: Collection[str] = (), result: RunResult | None = None
    ) -> None:
        self.path, self.allow_code = Path(path), tuple(allow_code)
        self.result: RunResult = read_result(RunFolder(self.path)) if result is None else result

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.result.summary()})"

    def to_dict(self) -> dict[str, Any]:
        """The document of result.json."""
        return self.result.to_dict()

    def report(self, to: str | Path | None = None) -> Path:
        """Write the HTML report, or a model card for a path that ends in .md; gives its path."""
        return write_report([self.path], to, allow_code=self.allow_code if _is_page(to) else ())

    def predict(
        self,
        files: str | Path | Sequence[str | Path] = (),
        *,
        texts: str | Sequence[str] = (),
        member: str = ENSEMBLE,
        top: int = 1,
        probabilities: bool = False,
        sets: str | None = None,
        score: float | None = None,
    ) -> list[Prediction] | list[SequencePrediction] | list[MaskPrediction] | list[BoxPrediction]:
        """Label and confidence of image files or sequences, masks, or boxes; see ``concord.predict``."""
        return finished.predict(
            self.path,
            files,
            texts=texts,
            member=member,
            top=top,
            probabilities=probabilities,
            sets=sets,
            score=score,
            allow_code=self.allow_code,
        )

    def evaluate(
        self, data: str | Path | None = None, *, against: str | Sequence[str] = (), snapshots: bool = False
    ) -> Evaluation | SequenceResult | VisionResult[Any]:
        """Scores on the run's own test split, or on that of other data; see ``concord.evaluate``."""
        return finished.evaluate(
            self.path,
            data=None if data is None else str(data),
            against=against,
            snapshots=snapshots,
            allow_code=self.allow_code,
        )

    def sample(
        self,
        prompt: str,
        *,
        length: int = 500,
        temperature: float = 0.8,
        top: int | None = None,
        seed: int = 0,
        member: str = ENSEMBLE,
    ) -> Sampled:
        """Text that a run of the task language writes behind the prompt; see ``concord.sample``."""
        return finished.sample(
            self.path,
            prompt,
            length=length,
            temperature=temperature,
            top=top,
            seed=seed,
            member=member,
            allow_code=self.allow_code,
        )

    def export(
        self, member: str, to: str | Path, *, packed: bool = False, calibrated: bool = False
    ) -> Exported:
        """Write one member, or "ensemble", as .onnx, .pt2, .xml or .safetensors; see ``concord.export``."""
        return finished.export(
            self.path, to, member=member, packed=packed, calibrated=calibrated, allow_code=self.allow_code
        )


def _is_page(to: str | Path | None) -> bool:
    return to is None or Path(to).suffix.lower() not in (".md", ".markdown")
