"""How much memory is left, asked before it is taken."""

import os
import resource
from pathlib import Path

from concord.errors import ResourceError

MEMINFO = Path("/proc/meminfo")
STATM = Path("/proc/self/statm")
CGROUP = Path("/sys/fs/cgroup")


def _of_machine() -> int | None:
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _of_container() -> int | None:
    # A container sees the memory of its host in /proc/meminfo and is killed at its own limit.
    try:
        limit = int((CGROUP / "memory.max").read_text())
        return limit - int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return None


def _of_process() -> int | None:
    # `ulimit -v`, as batch systems set it, bounds addresses, which are more than what is in memory.
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        return limit - int(STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return limit


def available() -> int | None:
    """Bytes that can still be taken, or None where the system does not say."""
    known = [n for n in (_of_machine(), _of_container(), _of_process()) if n is not None]
    return max(0, min(known)) if known else None


def size(count: int) -> str:
    """``count`` bytes for a reader: 47.0 MB, 3.2 GB."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def require(need: int, what: str, cure: str) -> None:
    """Nothing, or ResourceError that names the need, what there is, and the way out."""
    have = available()
    if have is not None and need > have:
        raise ResourceError(f"{what} needs {size(need)} of memory, {size(have)} are available; {cure}")
