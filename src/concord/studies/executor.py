"""What runs the cells of a study: processes here, a cluster elsewhere. Results are in run folders only."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from concord.studies.rows import GridCell

Outcome = dict[str, Any] | Exception  # what result.json holds, or why there is none


class Executor(AbstractContextManager["Executor"], Protocol):
    """Entered before the first cell is submitted; leaving it stops what still runs, with the state saved."""

    def submit(self, cell: GridCell) -> None: ...
    def finished(self) -> Iterator[tuple[GridCell, Outcome]]: ...  # every submitted cell, as it ends
