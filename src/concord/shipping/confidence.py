"""How far the probabilities of what is shipped can be believed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

import torch

from concord.data.images.images import Images
from concord.runs.result import Result
from concord.runs.uncertainty import Sureness, Uncertainty
from concord.shipping.onnx_trial import MEMBER
from concord.shipping.tested import probabilities
from concord.uncertainty.conformal import threshold


@dataclass(frozen=True)
class Confidence:
    """What the validation part gave for the network, judged on the test part.

    ``nll`` and ``ece`` are those of the test part before the temperature.
    """

    found: Uncertainty  # of the network alone
    nll: float
    ece: float

    @property
    def own(self) -> Sureness:
        return self.found.of(MEMBER)

    def to_dict(self) -> dict[str, Any]:
        return {
            "coverage": self.found.coverage,
            "samples": self.found.samples,
            **asdict(self.own),
            "notes": list(self.found.notes),
            "before": {"nll": self.nll, "ece": self.ece},
        }


def confidence_of(result: Result) -> Confidence | None:
    """That of the network in the run that is shipped; None where the run kept none."""
    if result.uncertainty is None:
        return None
    alone = replace(result.uncertainty, members={MEMBER: result.uncertainty.members[MEMBER]})
    scores = result.members[MEMBER]
    return Confidence(alone, scores.nll, scores.ece)


def set_metadata(content: bytes, about: Mapping[str, str], valid: Images) -> dict[str, str]:
    """The description with the threshold of sets of labels that this file has on validation images.

    That of another file of the same network would not be its own: in 8 bits its probabilities are others.
    """
    if "set_threshold" not in about:
        return dict(about)
    found = torch.from_numpy(probabilities(content, valid)).double()
    p = (json.loads(about["temperature"]) * found.log()).softmax(-1)  # as they were before the temperature
    labels = valid.labels.cpu()
    most = threshold(1 - p[torch.arange(len(labels)), labels], json.loads(about["set_coverage"]))
    assert isfinite(most)  # the float file has as many validation images, and has a threshold
    return {**about, "set_threshold": json.dumps(most)}
