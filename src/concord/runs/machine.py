"""This machine: what "auto" means here, threads and determinism, and the stamp of a run."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from concord.errors import UsageError
from concord.runs.config import Config
from concord.runs.packages import NEEDED
from concord.runs.precision import native_bfloat16

ATTENTION = ("flash", "mem_efficient", "cudnn")  # kernels of PyTorch on a GPU
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def resolved(config: Config) -> Config:
    """The configuration with every "auto" decided for this machine, so that a resume does not decide anew."""
    train = config.train
    device = train.device if train.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    _check_there("train.device", device)
    for member in config.members:
        _check_there(f"the device of member {member.name}", member.device or device)
    precision = train.precision
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(device) and not train.stacked else "float32"
    threads = train.threads or torch.get_num_threads()
    update = {"device": device, "precision": precision, "threads": threads}
    return config.model_copy(update={"train": train.model_copy(update=update)})


def _check_there(what: str, device: str) -> None:
    """UsageError if this machine lacks the device."""
    count = torch.cuda.device_count()
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= count:
        there = f"{count} of them" if count else "no GPU"
        raise UsageError(f"{what} is {device!r}, but torch sees {there} here; use another one or cpu")


@contextmanager
def settled(config: Config) -> Iterator[None]:
    """Threads and determinism as the configuration says; afterwards the process is as it was before."""
    with steady(_devices(config), threads=config.train.threads, deterministic=config.train.deterministic):
        yield


@contextmanager
def steady(
    devices: Iterable[str], *, threads: int | None = None, deterministic: bool = True
) -> Iterator[None]:
    """That many threads (None: as they are) and, if asked for, algorithms that give equal results twice.

    Afterwards the process is as it was before.
    """
    before = _switches()
    try:
        _settle(list(devices), threads, deterministic)
        yield
    finally:
        _set(before)


def _settle(devices: Sequence[str], threads: int | None, deterministic: bool) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault(CUBLAS, ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # or every torch.empty would be filled with NaN first
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
    # the fast kernels of attention on a GPU only warn that their gradient varies, and continue
    varies = deterministic and any(device.startswith("cuda") for device in devices)
    for kind in ATTENTION:
        getattr(torch.backends.cuda, f"enable_{kind}_sdp")(not varies)


@dataclass(frozen=True)
class _Switches:
    """What ``settled`` changes of a process."""

    threads: int
    deterministic: bool
    warn_only: bool
    fill: bool
    benchmark: bool
    attention: tuple[bool, ...]
    cublas: str | None


def _switches() -> _Switches:
    return _Switches(
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark,
        tuple(getattr(torch.backends.cuda, f"{kind}_sdp_enabled")() for kind in ATTENTION),
        os.environ.get(CUBLAS),
    )


def _set(before: _Switches) -> None:
    torch.set_num_threads(before.threads)
    torch.use_deterministic_algorithms(before.deterministic, warn_only=before.warn_only)
    torch.utils.deterministic.fill_uninitialized_memory = before.fill  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = before.benchmark
    for kind, enabled in zip(ATTENTION, before.attention, strict=True):
        getattr(torch.backends.cuda, f"enable_{kind}_sdp")(enabled)
    if before.cublas is None:
        os.environ.pop(CUBLAS, None)


def stamp(config: Config, fingerprint: str) -> dict[str, Any]:
    """What made this run, for whoever wants to make it again."""
    packages = ("concord", *NEEDED)
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "commit": commit(Path(__file__).parent.parent),
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": _device(config),
        "cuda": torch.version.cuda,
        "cores": os.cpu_count(),
        "threads": config.train.threads,
        "deterministic": config.train.deterministic,
        "seed": config.train.seed,
        "fingerprint": fingerprint,  # of the data
    }


def resumed(changes: Sequence[str]) -> dict[str, Any]:
    """What is added to the stamp by a resume, under its time."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {now: {"command": sys.argv, "changes": list(changes)}}


def _device(config: Config) -> str:
    """Names of the devices that a training uses, that of the samples first."""
    names = [torch.cuda.get_device_name(d) if d.startswith("cuda") else d for d in _devices(config)]
    return ", ".join(dict.fromkeys(names))


def _devices(config: Config) -> list[str]:
    home = config.train.device
    return list(dict.fromkeys([home, *(member.device or home for member in config.members)]))


def elsewhere(stamp: Mapping[str, Any], config: Config) -> list[str]:
    """``torch: 2.14.0 -> 2.15.0`` for whatever numbers depend on and is not as a run's stamp says."""
    versions = stamp.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    before = {
        "torch": versions.get("torch"),
        "processor": stamp.get("processor"),
        "device": stamp.get("device"),
    }
    now = {
        "torch": version("torch"),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": _device(config),
    }
    return [f"{what}: {before[what]} -> {now[what]}" for what in now if before[what] not in (None, now[what])]


def commit(package: Path) -> str | None:
    """Git's commit that a package is of, with "-dirty" behind it if anything in its folder differs now.

    None if git knows none: without a repository, or where it does not track the package, as in a virtual
    environment in somebody's project.
    """
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    head, changes = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", "--", ".")
    if tracked is None or head is None or changes is None:
        return None
    return f"{head}-dirty" if changes else head


def _git(folder: Path, *question: str) -> str | None:
    """What git says, without touching the repository; None where it fails or is missing."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *question]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
