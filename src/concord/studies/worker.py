"""A process of a study: trains the cells that its caller sends, one after the other.

The pipe to the caller is all that connects them: no lock is shared, so that no process waits for what a
killed one held. ``STOP`` on the pipe, or its end when the caller is gone, stops a training in progress with
its state saved; before a training has begun the process ends at once.
"""

import os
import queue
import signal
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from concord.consensus.names import ENSEMBLE
from concord.errors import StoppedError
from concord.studies.rows import SNAPSHOTS_FILE, GridCell
from concord.studies.settings import SNAPSHOTS
from concord.training.observer import Silent

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the caller's business
STOP = None


@dataclass
class Worker(Silent):
    """This process; as the observer of its runs it learns when one has something to save."""

    talk: Connection
    folder: Path
    threads: int
    allow_code: tuple[str, ...]
    cells: "queue.SimpleQueue[GridCell]" = field(default_factory=queue.SimpleQueue)
    stopping: bool = False
    training: bool = False

    def listen(self) -> None:
        """Take cells until the caller says stop or is gone."""
        with suppress(EOFError, OSError):
            while (cell := self.talk.recv()) is not STOP:
                self.cells.put(cell)
        self.stopping = True
        if not self.training:
            os._exit(StoppedError.exit_status)

    def work(self) -> None:
        """Train one cell after the other and send what becomes of each."""
        while not self.stopping:
            cell = self.cells.get()
            try:
                outcome: dict[str, Any] | Exception = self.run(cell)
            except Exception as error:
                outcome = _sendable(error)
            with suppress(BrokenPipeError):  # the caller is gone: the run folder has it all
                self.talk.send(outcome)
            self.training = False

    def started(self, epochs: int, steps: int) -> None:
        self.training = True

    def run(self, cell: GridCell) -> dict[str, Any]:
        from concord.runs import toml
        from concord.runs.train import resume, train

        path = self.folder / cell.name
        watched: dict[str, Any] = {"observer": self, "stop": lambda: self.stopping}
        if (path / "config.toml").exists():
            result = resume(path, allow_code=self.allow_code, **watched).to_dict()
        else:
            settings = cell.config.model_dump(mode="json", exclude_none=True)
            settings["train"].setdefault("threads", self.threads)
            result = train(toml.parse(settings), path, allow_code=self.allow_code, **watched).to_dict()
        return result if cell.cost != SNAPSHOTS else self.with_snapshots(path, result, watched)

    def with_snapshots(self, path: Path, result: dict[str, Any], watched: dict[str, Any]) -> dict[str, Any]:
        """Write the figures of what snapshots predict together; gives the result with their test errors."""
        from concord.runs.evaluate import snapshots_together
        from concord.runs.folder import RunFolder

        found = snapshots_together(path, allow_code=self.allow_code, **watched)
        columns = {name: asdict(figures) for name, figures in found.items()}
        RunFolder(path).write_json(SNAPSHOTS_FILE, {"columns": columns})
        members = {
            name: row | {"test_error": columns[name]["test_error"]} for name, row in result["members"].items()
        }
        return {**result, "members": members, ENSEMBLE: columns[ENSEMBLE]}


def serve(talk: Connection, folder: Path, threads: int, allow_code: tuple[str, ...]) -> None:
    """What the process does until it is stopped."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    worker = Worker(talk, folder, threads, allow_code)
    threading.Thread(target=worker.listen, daemon=True).start()
    worker.work()


def _sendable(error: Exception) -> Exception:
    """An error that can be made again in the caller; of foreign classes that is not known."""
    if type(error).__module__.startswith("concord."):
        return error
    sent = error if type(error).__module__ == "builtins" else RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note("".join(traceback.format_exception(error)))
    return sent
