"""Checkpoints: safetensors and JSON under a manifest of SHA-256, committed by one rename.

    ckpt/step-00000123/
      member-NAME.safetensors   one per member
      raw-NAME.safetensors      where members are averages: the weights that training continues with
      optimizer.safetensors     moments, named after their parameters
      totals.safetensors        sums of the epoch in progress
      state.json                position, configuration, fingerprint of the data
      MANIFEST.json             SHA-256 and size of each of these

Order of the commit: files, fsync, manifest, fsync, rename of the folder, fsync of its parent. A kill at any
moment leaves either no new checkpoint or a whole one; neither safetensors nor pickle notices bit rot, the
manifest does. Nothing is ever unpickled, and folders that concord did not make are never removed.

    step-00000123.tmp-PID     a save, or a removal, in progress or killed
    step-00000123.old         the former checkpoint of a step, while a new one of that step takes its place
    step-00000123.aside       found damaged, or left behind by changed settings; read by nobody
"""

import hashlib
import json
import re
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from concord.errors import CheckpointError
from concord.files import manifest
from concord.files.atomic import disk_errors
from concord.files.commit import commit, remove
from concord.files.documents import parse_object
from concord.files.tensors import parse_tensors
from concord.training.state_types import check_state

STEP = re.compile(r"step-([0-9]{8,})(\.old)?")
LEFT = re.compile(r"step-[0-9]{8,}(\.old)?\.tmp-[0-9]+")
MEMBER = "member-"  # before the name, in the files of a checkpoint
RAW = "raw-"
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
TRIES = 100  # to read the newest checkpoint while a training replaces it
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory: tensors by file (without suffix) and the state beside them."""

    path: Path
    tensors: Mapping[str, Tensors]
    state: Mapping[str, Any]
    weights: str = ""  # SHA-256 over those of the files of its members


def save(folder: Path, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> Path:
    """Commit a checkpoint and give its path; after a ResourceError the older ones are as they were."""
    final = folder / f"step-{step:08d}"
    files = {f"{name}.safetensors": tensor_bytes(detached(part)) for name, part in tensors.items()}
    files["state.json"] = _json(state)
    commit(final, files, step=step)
    return final


def detached(tensors: Tensors) -> dict[str, Tensor]:
    """Tensors of their own: safetensors refuses those that share memory, as tied weights do."""
    kept = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in kept.items()}


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()


def load(path: Path) -> Checkpoint:
    """Read and verify one checkpoint; CheckpointError names the file that is missing or damaged."""
    if path.is_symlink():
        raise CheckpointError(f"{path} is a link: a checkpoint lies in the folder of its run")
    entries = _entries(path)
    contents = {name: manifest.content(path / name, entry) for name, entry in entries.items()}
    try:
        state = parse_object(contents.pop("state.json"))
    except (KeyError, ValueError):
        raise CheckpointError(f"{path}/state.json: missing or no JSON") from None
    try:
        check_state(state)
    except ValueError as error:
        raise CheckpointError(f"{path}/state.json: not the state of a training ({error})") from None
    tensors = {
        name.removesuffix(".safetensors"): parse_tensors(path / name, c) for name, c in contents.items()
    }
    members = sorted(f"{name} {e.sha256}" for name, e in entries.items() if name.startswith(MEMBER))
    return Checkpoint(path, tensors, state, hashlib.sha256("\n".join(members).encode()).hexdigest())


def _entries(path: Path) -> dict[str, manifest.Entry]:
    """What the manifest names; CheckpointError if it is not that of this checkpoint."""
    found, entries = manifest.read(path)
    strange = [name for name in entries if not FILE.fullmatch(name)]
    if strange:
        raise CheckpointError(f"{path}/{manifest.FILE}: {strange[0]!r} is not a file of a checkpoint")
    step = found.get("step")
    if type(step) is not int or path.name.removesuffix(".old") != f"step-{step:08d}":
        raise CheckpointError(f"{path}/{manifest.FILE}: this is the checkpoint of step {step!r}")
    return entries


def steps(folder: Path) -> list[Path]:
    """Folders of committed checkpoints, oldest first."""
    found = folder.iterdir() if folder.is_dir() else ()
    there = (p for p in found if STEP.fullmatch(p.name) and p.is_dir() and not p.is_symlink())
    return sorted(there, key=_age)


def named(folder: Path, name: object) -> Path:
    """The checkpoint that a file of a run names; CheckpointError unless that is one in this folder."""
    if not isinstance(name, str) or not STEP.fullmatch(name):
        raise CheckpointError(
            f"{folder.parent}: {str(name)[:100]!r} is not the name of a checkpoint in {folder}"
        )
    return folder / name


def number_of(path: Path) -> int:
    """Updates done, as the name of a checkpoint says."""
    return _age(path)[0]


def _age(path: Path) -> tuple[int, bool]:
    """Number of updates; of two checkpoints of one update, the replaced one comes first."""
    match = STEP.fullmatch(path.name)
    assert match
    return int(match[1]), not match[2]


def newest(folder: Path, strict: bool = False) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and what is wrong with each newer one.

    (None, []) when there is none at all; CheckpointError when there are some and all are damaged, or with
    ``strict`` if the newest is.
    """
    for _ in range(TRIES):
        try:
            return _newest(folder, strict)
        except _Changed:  # a training in progress has put another in its place: begin with the newest
            continue
    raise CheckpointError(f"{folder}: changes faster than it can be read; wait until nothing trains there")


def _newest(folder: Path, strict: bool) -> tuple[Checkpoint | None, list[str]]:
    faults: list[str] = []
    for path in reversed(steps(folder)):
        before = _identity(path)
        try:
            return load(path), faults
        except CheckpointError as error:
            if _identity(path) != before or before is None:
                raise _Changed from None
            if strict:
                raise CheckpointError(f"{error}; without --strict an earlier checkpoint is used") from None
            faults.append(str(error))
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise CheckpointError(
            f"{folder}: no checkpoint can be used:\n{listed}\nTrain again with another --out"
        )
    return None, []


class _Changed(Exception):
    """A checkpoint was removed or replaced while it was read."""


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells this folder from another of the same name; None if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def set_aside(folder: Path, after: Path) -> None:
    """Rename all checkpoints newer than ``after``, so that nobody takes them for the newest."""
    with disk_errors(folder):
        for path in steps(folder):
            if _age(path) > _age(after):
                aside = path.with_name(f"{path.name}.aside")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)


def prune(folder: Path, keep: int, besides: Collection[str | None]) -> None:
    """Remove what killed saves left, and all but the newest ``keep`` checkpoints and those named.

    A folder without a manifest is not taken for a checkpoint of concord.
    """
    for path in steps(folder)[:-keep]:
        if path.name not in besides and (path / "MANIFEST.json").is_file():
            remove(path)
    remove_killed(folder)


def remove_killed(folder: Path) -> None:
    """Remove saves and removals that a kill cut short; the caller holds the lock of the run."""
    for path in folder.glob("step-*"):
        if LEFT.fullmatch(path.name) and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path) -> None:
    """``remove_killed``; of two checkpoints of one update the replaced one goes too, if the other is sound.

    The caller holds the lock of the run.
    """
    remove_killed(folder)
    for path in steps(folder):
        if path.name.endswith(".old") and (path / manifest.FILE).is_file():
            with suppress(CheckpointError):
                load(path.with_name(path.name.removesuffix(".old")))
                remove(path)
