"""One quiet line of progress in a notebook."""

import sys
import time
from typing import TYPE_CHECKING, Any

from concord.training.observer import SILENT, Observer, Silent

if TYPE_CHECKING:
    from concord.training.epoch import Epoch
    from concord.training.loop import Step

SECONDS = 0.5  # between two changes of the line


class NotebookLine(Silent):
    """A line under the cell that is rewritten as the training proceeds; notices are lines of their own."""

    def __init__(self) -> None:
        from IPython.display import display

        self.epochs = self.steps = 0
        self.last = 0.0
        self.scores = ""
        self.handle: Any = display({"text/plain": "..."}, raw=True, display_id=True)

    def started(self, epochs: int, steps: int) -> None:
        self.epochs, self.steps = epochs, steps

    def update(self, step: "Step") -> None:
        if time.monotonic() - self.last > SECONDS:
            self._show(f"epoch {step.index // self.steps + 1}/{self.epochs}, update {step.index + 1:,}")

    def epoch(self, epoch: "Epoch[Any]") -> None:
        scores = (epoch.train if epoch.valid is None else epoch.valid).to_dict()
        named = {**scores["members"], "ensemble": scores["ensemble"]}
        figure = next(iter(next(iter(named.values()))))
        self.scores = ", ".join(f"{name} {row[figure]:.4g}" for name, row in named.items() if row)
        self.scores = f"{'train' if epoch.valid is None else 'valid'} {figure}: {self.scores}"
        self._show(f"epoch {epoch.epoch}/{self.epochs}")

    def notice(self, text: str) -> None:
        from IPython.display import display

        display({"text/plain": text}, raw=True)

    def _show(self, place: str) -> None:
        self.last = time.monotonic()
        line = f"{place}  {self.scores}".rstrip()
        self.handle.update({"text/plain": line}, raw=True)


def observer_here() -> Observer:
    """A line of progress in a Jupyter kernel, silence elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return NotebookLine() if hasattr(shell, "kernel") else SILENT
