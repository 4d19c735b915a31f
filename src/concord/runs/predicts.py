"""What an ensemble and each of its members predict: the same two questions, answered for other modules."""

from collections.abc import Mapping
from typing import Any, Generic, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from concord.runs import answers
from concord.tasks.classify import ClassScores
from concord.tasks.task import S, Task


class Predicts(Generic[S]):
    """Modules that answer together, with what their outputs mean; a subclass has ``task`` too."""

    members: Mapping[str, nn.Module]

    @property
    def task(self) -> Task[S]:
        raise NotImplementedError

    @overload
    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float32]: ...
    @overload
    def predict_proba(self, x: Tensor) -> Tensor: ...
    @overload
    def predict_proba(self, x: Any) -> Any: ...
    def predict_proba(self, x: Any) -> Any:
        """Probabilities: softmax of the logits, of an ensemble of their mean. Shape: (N, ...) -> (N, K)

        An array for an array, else a tensor.
        """
        return answers.probabilities(self.members, x, self.task)

    @overload
    def predict(self: "Predicts[ClassScores]", x: NDArray[Any]) -> NDArray[np.int64]: ...
    @overload
    def predict(self: "Predicts[ClassScores]", x: Tensor) -> Tensor: ...
    @overload
    def predict(self, x: Any) -> Any: ...
    def predict(self, x: Any) -> Any:
        """The class, (N,); for other tasks the outputs, of an ensemble what the task combines of them."""
        return answers.labels(self.members, x, self.task)
