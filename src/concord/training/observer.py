"""How whoever watches a training, or any long job, learns what happens.

A library has nothing to print: it reports to an observer, and the default one is silent. The command line
draws progress from it, a notebook one quiet line.
"""

import warnings
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concord.training.epoch import Epoch
    from concord.training.loop import Step


class Observer(Protocol):
    """Everything that may be reported; an implementation ignores what it has no use for."""

    def started(self, epochs: int, steps: int) -> None: ...  # epochs, and updates of each
    def update(self, step: "Step") -> None: ...
    def epoch(self, epoch: "Epoch[Any]") -> None: ...
    def notice(self, text: str) -> None: ...  # a sentence for the user
    def counted(self, done: int, total: int) -> None: ...  # things done of all things to do


class Silent:
    """An observer that reports nothing."""

    def started(self, epochs: int, steps: int) -> None: ...
    def update(self, step: "Step") -> None: ...
    def epoch(self, epoch: "Epoch[Any]") -> None: ...
    def notice(self, text: str) -> None: ...
    def counted(self, done: int, total: int) -> None: ...


SILENT = Silent()


def announce(observer: Observer, text: str) -> None:
    """Report a sentence that nobody should miss: a warning of Python where the observer is silent."""
    if observer is SILENT:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    else:
        observer.notice(text)
