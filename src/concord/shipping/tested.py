"""The one look at the test part: the files that are shipped, and what they have to beat.

Intervals are at 95 %: Wilson's of an error, and of a difference on the same images that of A. Agresti and
Y. Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24,
2005, beside McNemar's exact test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from concord.data.images.images import Images
from concord.runs import predictions
from concord.runs.folder import RunFolder
from concord.runs.intervals import wilson
from concord.runs.rivals import Rival, paired
from concord.shipping.onnx_trial import MEMBER

BATCH = 256
Wrong = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tested:
    """One classifier and which of the test images it names wrongly. Shape: (N,)"""

    name: str
    about: str
    wrong: Wrong

    @property
    def error(self) -> float:
        return float(self.wrong.mean())

    def kept(self) -> dict[str, Any]:
        """The same as plain data, with the numbers of the images that are named wrongly."""
        return {"name": self.name, "about": self.about, "wrong": np.flatnonzero(self.wrong).tolist()}

    @classmethod
    def of(cls, kept: Mapping[str, Any], images: int) -> "Tested":
        """What ``kept`` wrote down, of so many images."""
        wrong = np.zeros(images, bool)
        wrong[kept["wrong"]] = True
        return cls(kept["name"], kept["about"], wrong)

    def to_dict(self) -> dict[str, Any]:
        low, high = wilson(int(self.wrong.sum()), len(self.wrong))
        return {"name": self.name, "about": self.about, "test_error": self.error, "low": low, "high": high}


@dataclass(frozen=True)
class Against:
    """The error of one classifier minus that of another, on the same images."""

    name: str
    difference: float
    low: float
    high: float
    p: float

    @property
    def proven(self) -> bool:
        """Whether the interval is on one side of 0."""
        return self.low > 0 or self.high < 0


def against(one: Tested, other: Tested) -> Against:
    """``one`` minus ``other``: below 0, ``one`` has the smaller error."""
    found = paired(_rival(one), _rival(other))
    return Against(other.name, found.difference, found.low, found.high, found.p)


def _rival(tested: Tested) -> Rival:
    return Rival(tested.name, tested.about, 0, tested.wrong, 0.0, 0.0, 0, 0)


def of_file(content: bytes, name: str, about: str, test: Images) -> Tested:
    """An ONNX file on the test images."""
    return Tested(name, about, probabilities(content, test).argmax(-1) != test.labels.cpu().numpy())


def probabilities(content: bytes, images: Images) -> NDArray[np.float32]:
    """Of an ONNX file on these images, in ONNX Runtime. Shape: -> (N, K)"""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batches = torch.arange(len(images)).split(BATCH)
    return np.concatenate(
        [session.run(None, {"pixels": images.subset(index).pixels.numpy()})[0] for index in batches]
    )


def of_run(folder: RunFolder, name: str, about: str) -> Tested:
    """The small network of a finished run, by the predictions that the run kept."""
    kept = predictions.read(folder)
    assert kept is not None  # a classifier keeps them
    votes = kept.logits[MEMBER].argmax(-1)
    return Tested(name, about, (votes != kept.labels).numpy())


def best(rivals: Sequence[Tested]) -> Tested:
    """The rival with the smallest test error, of equal ones the first."""
    return min(rivals, key=lambda rival: rival.error)
