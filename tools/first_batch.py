"""Seconds from the start of the process to the first update, and the peak memory of it and its workers.

    python tools/make_pictures.py /tmp/many --count 100000
    python tools/first_batch.py /tmp/many --keep decode --updates 20

The network is the smallest at hand, so that what is measured is the data. Memory is counted twice a second:
PSS (pages that processes share count once) over all of them, and RSS of the process that trains.
"""

import time

BEGAN = time.time()

import argparse  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402

import concord  # noqa: E402
from concord.errors import StoppedError  # noqa: E402


def kilobytes(pid: str, key: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def family() -> list[str]:
    """This process and its children."""
    own = str(os.getpid())
    found = [own]
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "stat").read_text().rsplit(")", 1)[1].split()[1] == own:
                found.append(path.name)
        except OSError:
            continue
    return found


class Watcher:
    """An observer that notes times, and the peak of memory in a thread of its own."""

    def __init__(self, most: int) -> None:
        self.most, self.seen, self.together, self.own = most, 0, 0, 0
        threading.Thread(target=self.look, daemon=True).start()

    def look(self) -> None:
        while True:
            pids = family()
            self.together = max(self.together, sum(kilobytes(pid, "Pss") for pid in pids))
            self.own = max(self.own, kilobytes(pids[0], "Rss"))
            time.sleep(0.5)

    def said(self, what: str) -> None:
        print(
            f"{time.time() - BEGAN:6.1f} s, {time.process_time():6.1f} s of processor time: {what}",
            flush=True,
        )

    def started(self, epochs: int, steps: int) -> None:
        self.said(f"training begins, {steps} updates in an epoch")

    def update(self, step: object) -> None:
        self.seen += 1
        if self.seen in (1, self.most):
            self.said(f"update {self.seen}")

    def epoch(self, row: object) -> None: ...

    def notice(self, text: str) -> None:
        self.said(text)

    def counted(self, done: int, total: int) -> None:
        if done == total or (not total and done % 50_000 < 10):
            self.said(f"{done:,} of {total:,}" if total else f"{done:,} found")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--keep", default="decode")
    parser.add_argument("--updates", type=int, default=20)
    given = parser.parse_args()
    watcher = Watcher(given.updates)
    settings = {
        "members": [{"name": "small", "network": "concord_smallest:build"}],
        "data": {"source": given.folder, "keep": given.keep},
        "train": {"epochs": 1, "device": "cpu", "threads": 1},
    }
    with tempfile.TemporaryDirectory() as place:
        module = Path(place) / "concord_smallest.py"
        module.write_text(
            "from torch import nn\n"
            "def build(**sizes):\n"
            "    return nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.LazyLinear(10))\n"
        )
        import sys

        sys.path.insert(0, place)
        with suppress(StoppedError):
            concord.train(
                settings,
                Path(place) / "run",
                allow_code=["concord_smallest:build"],
                observer=watcher,
                stop=lambda: watcher.seen >= given.updates,
            )
    own, together = watcher.own / 1000, watcher.together / 1000
    print(f"peak: {own:.0f} MB (RSS) this process, {together:.0f} MB (PSS) with its workers")


if __name__ == "__main__":
    main()
