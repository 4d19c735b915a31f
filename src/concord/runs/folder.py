"""The run folder: everything about one run, in files that other programs can read.

RUN/config.toml     the resolved configuration; makes the folder a run
RUN/stamp.json      versions, machine, command line
RUN/interface.json  shape and classes of the images, and how pixels are normalised
RUN/metrics.jsonl   one line per epoch
RUN/ckpt/           checkpoints, see ``checkpoint``
RUN/result.json     the final figures; there when the run is complete
RUN/predictions.safetensors   of the test set, see ``predictions``
RUN/MANIFEST.json   SHA-256 and size of whatever a complete run shows
RUN/.lock           held while a process trains here
"""

import fcntl
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concord.errors import CheckpointError, UsageError, suggestion
from concord.files import manifest
from concord.files.atomic import disk_errors, replace
from concord.files.documents import parse_object
from concord.runs import toml
from concord.runs.config import Config

SAVED = "ensemble.json"  # makes a folder a saved ensemble of a Python user's modules
STUDY = "study.toml"  # makes a folder a study
MOST_RUNS = 3  # that a message names


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and what they hold."""

    path: Path
    call: str | None = None  # what continues it in Python, if no command can

    @property
    def checkpoints(self) -> Path:
        return self.path / "ckpt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def complete(self) -> bool:
        return (self.path / "result.json").is_file()

    @property
    def resume(self) -> str:
        """What continues the run: the command, as a shell takes it, or the call in Python."""
        return f"`{self.call or f'concord resume {shlex.quote(str(self.path))}'}`"

    def config(self) -> Config:
        """The configuration, or CheckpointError where there is no run."""
        file = self.path / "config.toml"
        if not file.is_file():
            raise CheckpointError(f"{self.path} is not a run folder: {_what_is_there(self.path)}")
        return toml.parse(toml.read(file), str(file))

    def json(self, name: str, needs: Iterable[str] = ()) -> dict[str, Any]:
        """Content of a JSON file; CheckpointError if it, or a key that it needs, is missing or damaged."""
        file = self.path / name
        try:
            content = parse_object(file.read_bytes())
        except FileNotFoundError:
            cure = f"; {self.resume} finishes the run" if name == "result.json" else ""
            raise CheckpointError(f"{file} is missing{cure}") from None
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{file}: missing or damaged ({error})") from None
        lacking = sorted(set(needs) - content.keys())
        if lacking:
            raise CheckpointError(f"{file}: damaged, it lacks {', '.join(lacking)}")
        return content

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        replace(self.path / name, _document(content))

    def complete_with(self, result: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Write these files, the manifest of all figures, and result.json, whose presence ends the run."""
        content = {**files, "result.json": _document(result)}
        for name in ("config.toml", "interface.json", "metrics.jsonl"):
            if (self.path / name).is_file():
                content[name] = (self.path / name).read_bytes()
        for name, written in files.items():
            replace(self.path / name, written)
        replace(self.path / manifest.FILE, manifest.document(content))
        replace(self.path / "result.json", content["result.json"])

    def rows(self, needs: Iterable[str] = ()) -> list[dict[str, Any]]:
        """The epochs logged so far; a last line torn by a kill is passed over.

        CheckpointError if a line is damaged or lacks one of the keys that are needed.
        """
        if not self.metrics.is_file():
            return []
        lines = self.metrics.read_bytes().split(b"\n")
        try:
            found = [parse_object(line) for line in lines[:-1] if line]
        except ValueError as error:
            raise CheckpointError(f"{self.metrics}: damaged, a line is not a JSON object ({error})") from None
        if not all(set(needs) <= row.keys() for row in found):
            raise CheckpointError(f"{self.metrics}: damaged, a line lacks {' or '.join(needs)}")
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one epoch to metrics.jsonl."""
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        with disk_errors(self.metrics, need=len(line)), self.metrics.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def cut(self, size: int) -> None:
        """Forget metrics written after a checkpoint that had ``size`` bytes of them.

        CheckpointError if there are fewer: earlier epochs would be missing from every later figure.
        """
        if self.logged() < size:
            raise CheckpointError(
                f"{self.metrics} has {self.logged()} bytes and had {size} when the checkpoint was made:"
                " put it back, or train again with another --out"
            )
        if self.logged() > size:
            with disk_errors(self.metrics):
                os.truncate(self.metrics, size)

    def logged(self) -> int:
        """Bytes of metrics.jsonl."""
        return self.metrics.stat().st_size if self.metrics.is_file() else 0

    def reopen(self, config: Config) -> None:
        """Let a run go on with another configuration; a result that it had is no longer its result."""
        with disk_errors(self.path):
            for name in ("result.json", manifest.FILE, "predictions.safetensors", "votes.safetensors"):
                (self.path / name).unlink(missing_ok=True)
        replace(self.path / "config.toml", toml.to_toml(config).encode())


def _what_is_there(path: Path) -> str:
    """What a path is that is not a run, and where runs are."""
    if not path.exists():
        return f"there is no such folder{suggestion(path.name, _runs_in(path.parent))}"
    if not path.is_dir():
        return "it is a file"
    if (path / SAVED).is_file():
        return f"it is a saved ensemble; in Python, concord.load({str(path)!r}, members={{...}}) reads it"
    if (path / STUDY).is_file():
        return f"it is a study, whose runs are the folders in {path / 'cells'}"
    runs = [str(path / name) for name in _runs_in(path)]
    more = ", ..." if len(runs) > MOST_RUNS else ""
    return f"runs in it: {', '.join(runs[:MOST_RUNS])}{more}" if runs else "config.toml is missing"


def _runs_in(folder: Path) -> list[str]:
    """Names of the runs in a folder; none where it cannot be read."""
    try:
        return sorted(each.name for each in folder.iterdir() if (each / "config.toml").is_file())
    except OSError:
        return []


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def refuse_taken(path: Path) -> None:
    """UsageError if ``path`` cannot become a new run folder because something is there."""
    with disk_errors(path):
        if (path / "config.toml").exists():
            raise UsageError(f"{path} holds a run already: {_instead(RunFolder(path))}")
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; --out takes a folder")


def _instead(folder: RunFolder) -> str:
    """What to do where a run is already."""
    if not folder.complete:
        return f"{folder.resume} continues it, or give another --out"
    longer = f"{folder.resume.removesuffix('`')} --set train.epochs=N --allow-changes`"
    return f"it is finished; give another --out, or train it for more epochs with {longer}"


def create(path: Path, config: Config, stamp: Mapping[str, Any], interface: Mapping[str, Any]) -> RunFolder:
    """A new run folder; UsageError if a run is there already. config.toml comes last and makes it a run."""
    folder = RunFolder(path)
    refuse_taken(path)
    with disk_errors(path):
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
    with locked(folder):  # of two that start at once, the second finds the first one's run
        refuse_taken(path)
        folder.write_json("stamp.json", stamp)
        folder.write_json("interface.json", interface)
        replace(path / "config.toml", toml.to_toml(config).encode())
    return folder


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Hold the run for this process; the lock ends with the process, however it ends.

    Raises UsageError naming the process that holds it.
    """
    with disk_errors(folder.path):
        file = (folder.path / ".lock").open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(f"{folder.path} is in use by process {file.read().strip() or '?'}") from None
        with disk_errors(folder.path):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield
