"""One member of an ensemble by itself."""

from collections.abc import Callable
from typing import Any, Generic, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from concord.runs import answers
from concord.runs.given import Given
from concord.tasks.classify import ClassScores, Figures
from concord.tasks.task import S, Task


class MemberView(Generic[S]):
    """What one member predicts, and how well."""

    def __init__(self, name: str, module: nn.Module, task: Callable[[], Task[S]]) -> None:
        self.name, self.module, self._task = name, module, task

    @overload
    def evaluate(self: "MemberView[ClassScores]", data: Given) -> Figures: ...
    @overload
    def evaluate(self, data: Given) -> Any: ...
    def evaluate(self, data: Given) -> Any:
        """Figures of this member: ``.error``, ``.nll``, ... of a classifier."""
        return answers.scores({self.name: self.module}, data, self._task()).members[self.name]

    @overload
    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float32]: ...
    @overload
    def predict_proba(self, x: Tensor) -> Tensor: ...
    @overload
    def predict_proba(self, x: Any) -> Any: ...
    def predict_proba(self, x: Any) -> Any:
        """Probabilities of this member. Shape: (N, ...) -> (N, K)"""
        return answers.probabilities({self.name: self.module}, x, self._task())

    @overload
    def predict(self: "MemberView[ClassScores]", x: NDArray[Any]) -> NDArray[np.int64]: ...
    @overload
    def predict(self: "MemberView[ClassScores]", x: Tensor) -> Tensor: ...
    @overload
    def predict(self, x: Any) -> Any: ...
    def predict(self, x: Any) -> Any:
        """The class that this member names, (N,); for other tasks its outputs."""
        return answers.labels({self.name: self.module}, x, self._task())
