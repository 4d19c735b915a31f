"""What a person sees while a verb runs, and how it hears that it should stop."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from concord.data.text import printable
from concord.errors import StoppedError

if TYPE_CHECKING:
    from concord.training.loop import Step

PLAIN_SECONDS = 10.0  # between lines when stderr is no terminal
SHOWN_STEPS = 10  # updates between two looks at losses and agreement


def tell(text: str) -> None:
    """A line for the person, on stderr; control characters in names are made visible."""
    lines = "\n".join(printable(line) for line in text.split("\n"))
    print(f"concord: {lines}", file=sys.stderr, flush=True)


@contextmanager
def stop_flag(given: Callable[[], bool] | None = None) -> Iterator[Callable[[], bool]]:
    """The question ``given``, or one that says whether SIGTERM or Ctrl-C has come.

    The second signal ends the process at once. Outside the main thread, where Python takes no signals, the
    answer stays no.
    """
    if given or threading.current_thread() is not threading.main_thread():
        yield given or (lambda: False)
        return
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            os._exit(130)
        seen.append(number)
        with suppress(OSError):
            os.write(2, b"concord: stopping after this step; once more to quit without saving\n")

    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def reading(stop: Callable[[], bool] = lambda: False, quiet: bool = False) -> Callable[[int, int], None]:
    """What watches image files being decoded: says now and then how far that is, and stops if asked to."""
    last = time.monotonic()

    def watch(done: int, total: int) -> None:
        nonlocal last
        if stop():
            raise StoppedError(
                f"stopped after reading {done:,} of {total:,} images; nothing was changed,"
                " and the same command begins anew"
            )
        if not quiet and time.monotonic() - last > PLAIN_SECONDS:
            tell(f"read {done:,} of {total:,} images")
            last = time.monotonic()

    return watch


class Display(Protocol):
    """What is shown of a training."""

    def step(self, step: "Step") -> None: ...
    def epoch(self, row: dict[str, Any]) -> None: ...


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One epoch in one line: error of members and ensemble on the validation split, or else in training."""
    split = "valid" if row["valid"] else "train"
    scores = row[split]
    parts = [f"{name} {100 * s['error']:.2f}" for name, s in scores["members"].items()]
    if scores["ensemble"] and len(parts) > 1:
        parts.append(f"ensemble {100 * scores['ensemble']['error']:.2f}")
        parts.append(f"agreement {100 * scores['agreement']:.1f}")
    return (
        f"epoch {row['epoch']:>3}/{epochs}  {split} error %: {'  '.join(parts)}"
        f"  {row['samples_per_second']:.0f} images/s"
    )


class Plain:
    """A line per epoch, and one now and then within long epochs; for files and pipes."""

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs, self.steps, self.last = epochs, steps, time.monotonic()

    def step(self, step: "Step") -> None:
        if time.monotonic() - self.last > PLAIN_SECONDS:
            done = step.index + 1
            tell(f"update {done}/{self.epochs * self.steps}  loss {_losses(step)}")
            self.last = time.monotonic()

    def epoch(self, row: dict[str, Any]) -> None:
        tell(epoch_line(row, self.epochs))
        self.last = time.monotonic()


class Quiet:
    """Nothing."""

    def step(self, step: "Step") -> None: ...
    def epoch(self, row: dict[str, Any]) -> None: ...


class Bar:
    """A rich progress bar over all updates, with the lines of finished epochs above it.

    Beside it the epoch and, of one update in ten, losses, agreement, and images per second since the last.
    """

    def __init__(self, progress: Any, task: Any, epochs: int, steps: int) -> None:
        self.progress, self.task, self.epochs, self.steps = progress, task, epochs, steps
        self.images, self.since = 0, time.monotonic()

    def step(self, step: "Step") -> None:
        epoch = f"epoch {step.index // self.steps + 1}/{self.epochs}"
        self.progress.update(self.task, completed=step.index + 1, description=epoch)
        self.images += len(step.targets[0])
        if step.index % SHOWN_STEPS == 0:
            now = time.monotonic()
            rate = self.images / max(now - self.since, 1e-9)
            self.images, self.since = 0, now
            said = f"loss {_losses(step)}{_agreement(step)}  {rate:.0f} img/s"
            self.progress.update(self.task, said=said)

    def epoch(self, row: dict[str, Any]) -> None:
        line = epoch_line(row, self.epochs)
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.images, self.since = 0, time.monotonic()  # the evaluation is no training


def _agreement(step: "Step") -> str:
    """Share of the batch that all members name alike; nothing to tell of one member."""
    if len(step.logits) < 2:
        return ""
    named = list(zip(*(said.argmax(-1).tolist() for said in step.logits), strict=True))
    return f"  agree {100 * sum(len(set(row)) == 1 for row in named) / len(named):.0f} %"


def _losses(step: "Step") -> str:
    return " ".join(f"{loss:.3f}" for loss in step.losses.tolist())


@contextmanager
def display(epochs: int, steps: int, quiet: bool = False) -> Iterator[Display]:
    """The display that fits stderr: a bar on a terminal, plain lines otherwise."""
    if quiet:
        yield Quiet()
        return
    if not sys.stderr.isatty():
        yield Plain(epochs, steps)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as progress:
        yield Bar(progress, progress.add_task("epoch", total=epochs * steps, said=""), epochs, steps)


@contextmanager
def counted(total: int, done: int) -> Iterator[Callable[[str], None]]:
    """A function that shows one more of ``total`` things done, with a line about it."""
    began, start = time.monotonic(), done

    def plain(text: str) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - began) / (done - start) * (total - done)
        tell(f"{done:>3}/{total}  {text}  (about {left:.0f} s left)")

    if not sys.stderr.isatty():
        yield plain
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("runs", total=total, completed=done)

        def rich(text: str) -> None:
            progress.console.print(printable(text), markup=False, highlight=False)
            progress.advance(task)

        yield rich
