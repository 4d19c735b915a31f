"""What a user sees while a verb runs, and the signals that stop it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from concord.cli import signals
from concord.files.text import printable

if TYPE_CHECKING:
    from concord.training.epoch import Epoch
    from concord.training.loop import Step
    from concord.training.observer import Observer

PLAIN_SECONDS = 10.0  # between lines when stderr is not a terminal
SHARES = {"error": (100, "error %"), "ap50": (100, "AP at .5 %")}  # that are shown in per cent
SHOWN_STEPS = 10  # updates between two looks at losses and agreement


def tell(text: str) -> None:
    """A line for the user, on stderr; control characters in names are made visible."""
    lines = "\n".join(printable(line) for line in text.split("\n"))
    print(f"concord: {lines}", file=sys.stderr, flush=True)


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGTERM or Ctrl-C has come; the second signal ends the process at once.

    In a process that is not the command's own, handlers are put back afterwards; outside the main thread,
    where Python takes no signals, the answer stays no.
    """
    if signals.PROCESS.listening:
        with signals.stoppable() as stopping:
            yield stopping
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            os._exit(signals.INTERRUPTED)
        seen.append(number)
        signals.tell(signals.STOPPING)

    old = {number: signal.signal(number, note) for number in signals.SIGNALS}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def epoch_line(epoch: "Epoch[Any]", epochs: int) -> str:
    """One epoch in one line: the first figure of members and ensemble on the validation split, or in
    training; of classes the error, of boxes average precision, or the loss where only that is known.
    """
    split, scores = ("valid", epoch.valid) if epoch.valid is not None else ("train", epoch.train)
    plain = scores.to_dict()
    named = dict(plain["members"])
    if plain["ensemble"] and len(named) > 1:
        named["ensemble"] = plain["ensemble"]
    first = next(iter(named.values()))
    figure = next(key for key, value in first.items() if isinstance(value, int | float))
    scale, unit = SHARES.get(figure, (1, figure))
    parts = [f"{name} {scale * row[figure]:.2f}" for name, row in named.items() if row[figure] is not None]
    if plain.get("agreement") is not None and len(plain["members"]) > 1:
        parts.append(f"agreement {100 * plain['agreement']:.1f}")
    return (
        f"epoch {epoch.epoch:>3}/{epochs}  {split} {unit}: {'  '.join(parts)}"
        f"  {epoch.samples_per_second:.0f} samples/s"
    )


class Quiet:
    """Notices only. Signals learn from it whether a training has something to lose."""

    def __init__(self) -> None:
        self.epochs, self.steps = 0, 0

    def started(self, epochs: int, steps: int) -> None:
        self.epochs, self.steps = epochs, steps
        signals.PROCESS.training()

    def update(self, step: "Step") -> None: ...

    def epoch(self, epoch: "Epoch[Any]") -> None:
        if epoch.last:
            signals.PROCESS.trained()

    def counted(self, done: int, total: int) -> None: ...

    def notice(self, text: str) -> None:
        tell(text)


class Lines(Quiet):
    """A line per epoch, and one now and then within long epochs and long reading; for files and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self.last = time.monotonic()

    def started(self, epochs: int, steps: int) -> None:
        super().started(epochs, steps)
        self.last = time.monotonic()

    def update(self, step: "Step") -> None:
        if self._due():
            tell(f"update {step.index + 1}/{self.epochs * self.steps}  loss {_losses(step)}")

    def epoch(self, epoch: "Epoch[Any]") -> None:
        super().epoch(epoch)
        tell(epoch_line(epoch, self.epochs))
        self.last = time.monotonic()

    def counted(self, done: int, total: int) -> None:
        if self._due():
            tell(
                f"read {done:,} of {total:,}"  # images or sequences
                if total
                else f"looking for images: {done:,} found"
            )

    def _due(self) -> bool:
        due = time.monotonic() - self.last > PLAIN_SECONDS
        if due:
            self.last = time.monotonic()
        return due


class Bar(Lines):
    """A rich progress bar over all updates, with the lines of finished epochs above it.

    Beside it the epoch and, of one update in ten, losses, agreement, and images per second since the last.
    """

    def __init__(self, progress: Any) -> None:
        super().__init__()
        self.progress, self.task = progress, None
        self.images, self.since = 0, time.monotonic()

    def started(self, epochs: int, steps: int) -> None:
        super().started(epochs, steps)
        self.task = self.progress.add_task("epoch", total=epochs * steps, figures="")
        self.since = time.monotonic()

    def update(self, step: "Step") -> None:
        place = f"epoch {step.index // self.steps + 1}/{self.epochs}"
        self.progress.update(self.task, completed=step.index + 1, description=place)
        self.images += step.samples
        if step.index % SHOWN_STEPS == 0:
            now = time.monotonic()
            rate = self.images / max(now - self.since, 1e-9)
            self.images, self.since = 0, now
            figures = f"loss {_losses(step)}{_agreement(step)}  {rate:.0f} samples/s"
            self.progress.update(self.task, figures=figures)

    def epoch(self, epoch: "Epoch[Any]") -> None:
        Quiet.epoch(self, epoch)
        line = epoch_line(epoch, self.epochs)
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.images, self.since = 0, time.monotonic()  # the evaluation is not part of the training


def _agreement(step: "Step") -> str:
    """Share of the batch that all members name alike; nothing for one member, or for other outputs."""
    logits = [output for output in step.outputs if getattr(output, "ndim", 0) == 2]
    of_samples = not any(isinstance(target, Mapping) for target in step.targets)  # others are not classes
    if len(logits) < max(2, len(step.outputs)) or not of_samples:
        return ""
    named = list(zip(*(rows.argmax(-1).tolist() for rows in logits), strict=True))
    return f"  agree {100 * sum(len(set(row)) == 1 for row in named) / len(named):.0f} %"


def _losses(step: "Step") -> str:
    return " ".join(f"{loss:.3f}" for loss in step.losses.tolist())


@contextmanager
def training(quiet: bool = False) -> Iterator["Observer"]:
    """The display of a training that fits stderr: a bar on a terminal, plain lines otherwise."""
    if quiet or not sys.stderr.isatty():
        yield Quiet() if quiet else Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as progress:
        yield Bar(progress)


class Tally(Quiet):
    """A line for each thing done, with its number and the time that the rest may take."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.first, self.done, self.total, self.new = time.monotonic(), 0, 0, 0, False

    def counted(self, done: int, total: int) -> None:
        if total != self.total or done < self.done:  # the first of a job, or of its next stage
            self.began, self.first = time.monotonic(), done
        self.done, self.total, self.new = done, total, done > self.first

    def notice(self, text: str) -> None:
        if self.new:
            self.new = False
            text = f"{self.done:>3}/{self.total}  {text}  (about {self.left():.0f} s left)"
        self.show(text)

    def show(self, text: str) -> None:
        tell(text)

    def left(self) -> float:
        """Seconds for the rest, if each takes as long as those done so far."""
        return (time.monotonic() - self.began) / (self.done - self.first) * (self.total - self.done)


class TallyBar(Tally):
    """The same as a rich bar with the lines above it."""

    def __init__(self, progress: Any) -> None:
        super().__init__()
        self.progress, self.task = progress, progress.add_task("runs", total=None)

    def counted(self, done: int, total: int) -> None:
        super().counted(done, total)
        self.progress.update(self.task, completed=done, total=total)

    def show(self, text: str) -> None:
        self.progress.console.print(printable(text), markup=False, highlight=False)


@contextmanager
def tally() -> Iterator["Observer"]:
    """The display of a job of many parts, such as the runs of a study."""
    if not sys.stderr.isatty():
        yield Tally()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield TallyBar(progress)
