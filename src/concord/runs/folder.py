"""The run folder: everything about one run, in files that other programs can read.

RUN/config.toml     the resolved configuration; makes the folder a run
RUN/stamp.json      versions, machine, command line
RUN/interface.json  shape and classes of the images, and how pixels are normalised
RUN/metrics.jsonl   one line per epoch
RUN/ckpt/           checkpoints, see ``checkpoint``
RUN/result.json     the final figures; there when the run is complete
RUN/predictions.safetensors   of the test set, see ``predictions``
RUN/MANIFEST.json   SHA-256 and size of whatever a complete run shows, see ``seal``
RUN/.lock           held while a process trains here
"""

import fcntl
import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from concord.errors import CheckpointError, UsageError
from concord.files import bounded, manifest
from concord.files.atomic import disk_errors, replace
from concord.files.documents import LARGEST, parse_object, with_digest, without_digest
from concord.files.links import open_inside, refuse_links
from concord.files.text import printable
from concord.runs import litter, seal, toml
from concord.runs.config import Config
from concord.runs.document_types import check_document
from concord.runs.there import what_is_there

LARGEST_LOG = 512 * 2**20  # bytes of metrics.jsonl


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and what they hold."""

    path: Path
    call: str | None = None  # what continues it in Python, if no command can
    sealed: bool = True  # what a complete run shows must be what it ended with; False: as it is now

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
        """The configuration; CheckpointError if the folder is not a run, or that is damaged or was edited.

        UsageError for a file that no settings file can be, as one that was made to fill the memory.
        """
        file = self.path / "config.toml"
        if not file.is_file():
            raise CheckpointError(f"{self.path} is not a run folder: {what_is_there(self.path)}")
        content = toml.content_of(file)
        toml.refuse_too_much(content, file)
        self._check_seal(file.name, content)
        try:
            return toml.parse(toml.tables_of(content, file), str(file))
        except UsageError as error:  # in a run folder: not a mistake of whoever gave the command
            raise CheckpointError(str(error)) from None

    def json(self, name: str, needs: Iterable[str] = ()) -> dict[str, Any]:
        """Content of a JSON file; CheckpointError if it, or a key that it needs, is missing or damaged."""
        file = self.path / name
        try:
            raw = bounded.read(file, LARGEST)
            found = parse_object(raw)
            content = without_digest(found, trusted=not self.sealed)
        except FileNotFoundError:
            cure = f"; {self.resume} finishes the run" if name == "result.json" else ""
            raise CheckpointError(f"{file} is missing{cure}") from None
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{file}: missing or damaged ({error})") from None
        lacking = sorted(set(needs) - found.keys())
        if lacking:
            raise CheckpointError(f"{file}: damaged, it lacks {', '.join(lacking)}")
        self._check_seal(name, raw)
        if name == "result.json":
            self._check_types(file, [content])
        return content

    @staticmethod
    def _check_types(file: Path, found: Iterable[Mapping[str, Any]]) -> None:
        try:
            for each in found:
                check_document(each)
        except ValueError as error:
            raise CheckpointError(f"{file}: damaged ({error})") from None

    def _check_seal(self, name: str, content: bytes) -> None:
        if self.sealed:
            seal.check(self.path, name, content, self.resume)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        replace(self.path / name, _document(content))

    def complete_with(
        self, result: Mapping[str, Any], files: Mapping[str, bytes], snapshots: Iterable[str] = ()
    ) -> None:
        """Write these files, the manifest of all figures, and result.json, whose presence ends the run.

        Under the manifest are the weights of the result's checkpoint and of those of ``snapshots``.
        """
        steps = {*snapshots, *filter(None, [result.get("checkpoint")])}
        end = _document(result)
        for name, written in files.items():
            replace(self.path / name, written)
        sealed = seal.document(self.path, {**files, "result.json": end}, sorted(steps))
        replace(self.path / manifest.FILE, sealed)
        replace(self.path / "result.json", end)

    def rows(self, needs: Iterable[str] = (), size: int | None = None) -> list[dict[str, Any]]:
        """The epochs in the first ``size`` bytes, or all so far; a last line torn by a kill is passed over.

        CheckpointError if a line is damaged or lacks one of the keys that are needed, or if a complete run
        ended with other lines.
        """
        content = self._log()
        lines = content[:size].split(b"\n")
        try:
            found = [parse_object(line) for line in lines[:-1] if line]
        except ValueError as error:
            raise CheckpointError(f"{self.metrics}: damaged, a line is not a JSON object ({error})") from None
        if not all(set(needs) <= row.keys() for row in found):
            raise CheckpointError(f"{self.metrics}: damaged, a line lacks {' or '.join(needs)}")
        self._check_seal(self.metrics.name, content)
        self._check_types(self.metrics, found)
        return found

    def _log(self) -> bytes:
        """The bytes of metrics.jsonl; empty without the file."""
        if not os.path.lexists(self.metrics):
            return b""
        try:
            return bounded.read(self.metrics, LARGEST_LOG)
        except ValueError as error:
            raise CheckpointError(f"{self.metrics}: damaged ({error})") from None

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one epoch to metrics.jsonl."""
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        with disk_errors(self.metrics, need=len(line)), self._open_log(os.O_APPEND | os.O_CREAT) as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _open_log(self, flags: int) -> IO[bytes]:
        return os.fdopen(open_inside(self.metrics, os.O_WRONLY | flags), "wb")

    def log_digest(self, size: int | None = None) -> str:
        """SHA-256 of the first ``size`` bytes of metrics.jsonl, or of all."""
        return hashlib.sha256(self._log()[:size]).hexdigest()

    def cut(self, size: int) -> None:
        """Forget metrics written after a checkpoint that had ``size`` bytes of them.

        CheckpointError if there are fewer: earlier epochs would be missing from every later figure. So is a
        link in place of the file.
        """
        if self.logged() < size:
            raise CheckpointError(
                f"{self.metrics} has {self.logged()} bytes and had {size} when the checkpoint was made:"
                " put it back, or train again with another --out"
            )
        if os.path.lexists(self.metrics):
            with disk_errors(self.metrics), self._open_log(0) as file:
                if self.logged() > size:
                    os.ftruncate(file.fileno(), size)

    def logged(self) -> int:
        """Bytes of metrics.jsonl."""
        return self.metrics.stat().st_size if self.metrics.is_file() else 0

    def reopen(self, config: Config) -> None:
        """Let a run go on with another configuration; a result that it had is no longer its result."""
        with disk_errors(self.path):
            for name in ("result.json", manifest.FILE, "predictions.safetensors", "votes.safetensors"):
                (self.path / name).unlink(missing_ok=True)
        replace(self.path / "config.toml", toml.to_toml(config).encode())


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def refuse_taken(path: Path) -> None:
    """UsageError if ``path`` cannot become a new run folder: something is there, or it lies nowhere."""
    with disk_errors(path):
        if (path / "config.toml").exists():
            raise UsageError(f"{path} holds a run already: {_instead(RunFolder(path))}")
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; --out takes a folder")
        inside = path.iterdir() if path.exists() else ()
        others = sorted(p.name for p in inside if p.is_dir() and p.name != "ckpt")
        if others:
            raise UsageError(
                f"{path} is a folder with other folders in it, such as {others[0]}: give a new one as --out"
            )


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
    refuse_links(folder.checkpoints)
    with disk_errors(path):
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
    with locked(folder):  # of two that start at once, the second finds the first one's run
        refuse_taken(path)
        folder.write_json("stamp.json", with_digest(stamp))
        folder.write_json("interface.json", interface)
        replace(path / "config.toml", toml.to_toml(config).encode())
    return folder


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Hold the run for this process; the lock ends with the process, however it ends.

    Raises UsageError naming the process that holds it.
    """
    refuse_links(folder.path / ".lock")
    refuse_links(folder.checkpoints)
    with disk_errors(folder.path):
        file = os.fdopen(open_inside(folder.path / ".lock", os.O_RDWR | os.O_CREAT), "r+", errors="replace")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            held = printable(file.read(20).strip()) or "?"
            raise UsageError(f"{folder.path} is in use by process {held}") from None
        with disk_errors(folder.path / ".lock"):
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())  # a buffer would fail again when it is closed
        litter.remove(folder.path)
        yield
