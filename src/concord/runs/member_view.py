"""One member of an ensemble by itself."""

from collections.abc import Callable
from typing import Any, overload

from torch import nn

from concord.runs import answers
from concord.runs.given import Given
from concord.runs.predicts import Predicts
from concord.tasks.classify import ClassScores, Figures
from concord.tasks.task import S, Task


class MemberView(Predicts[S]):
    """What one member predicts, and how well."""

    def __init__(self, name: str, module: nn.Module, task: Callable[[], Task[S]]) -> None:
        self.name, self.module, self._task = name, module, task
        self.members = {name: module}

    @property
    def task(self) -> Task[S]:
        return self._task()

    @overload
    def evaluate(self: "MemberView[ClassScores]", data: Given) -> Figures: ...
    @overload
    def evaluate(self, data: Given) -> Any: ...
    def evaluate(self, data: Given) -> Any:
        """Figures of this member: ``.error``, ``.nll``, ... of a classifier."""
        return answers.scores(self.members, data, self.task).members[self.name]
