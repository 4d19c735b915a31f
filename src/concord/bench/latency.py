"""How long one call takes on this machine, with its spread: of a function, a network, or an ONNX file."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from concord.errors import DataError, ShapeError, UsageError, said
from concord.training.evaluate import evaluating

SECONDS = 1.0
FIRST = 0.2  # share of the seconds that is spent before: caches, clock, first calls
TURNS = 5
MOST = 100_000  # calls of one turn whose times are kept
CPU = "CPUExecutionProvider"
QUIET = 3  # ONNX Runtime's level of errors


@dataclass(frozen=True)
class Latency:
    """Seconds of one call, over the calls that were measured."""

    median: float
    low: float  # 5 % of the calls were faster
    high: float  # 5 % of the calls were slower
    calls: int

    def __str__(self) -> str:
        """``1.24 ms (1.20 to 1.31 ms in 90 % of 801 calls)``"""
        unit, factor = unit_of(self.median)
        median, low, high = (figure(seconds / factor) for seconds in (self.median, self.low, self.high))
        return f"{median} {unit} ({low} to {high} {unit} in 90 % of {self.calls:,} calls)"


def unit_of(seconds: float) -> tuple[str, float]:
    """The largest unit that leaves a number above one, and how many seconds it has."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= factor:
            return unit, factor
    return "µs", 1e-6


def figure(number: float) -> str:
    """Three digits, or the whole part if that has more: ``1.24``, ``12.4``, ``1,240``."""
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


def latency(call: Callable[[], object], *, seconds: float = SECONDS) -> Latency:
    """Median and spread of the calls that ``seconds`` have room for, at least five.

    The calls of the first fifth of that time, at least one, come before and are not among them. What the
    call leaves a device to do is not waited for: let it end with ``torch.accelerator.synchronize()``.

    Raises UsageError unless ``seconds`` is above 0.
    """
    return latencies({"": call}, seconds=seconds)[""]


def latencies(calls: Mapping[str, Callable[[], object]], *, seconds: float = SECONDS) -> dict[str, Latency]:
    """The same of several calls, ``seconds`` for each, in five turns: what slows a machine slows them all."""
    if not 0 < seconds < float("inf"):
        raise UsageError(f"the seconds to measure are a number above 0, got {seconds}")
    for call in calls.values():
        _times(call, seconds * FIRST)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            taken[name] += _times(call, seconds / TURNS)
    return {name: _spread(times) for name, times in taken.items()}


def _spread(taken: list[float]) -> Latency:
    cuts = statistics.quantiles(taken, n=20, method="inclusive")
    return Latency(statistics.median(taken), cuts[0], cuts[-1], len(taken))


def _times(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call until the time is over, at least one."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        call()
        done = time.perf_counter()
        taken.append(done - began)
        if done > end or len(taken) == MOST:
            return taken


def latency_of(network: nn.Module, *inputs: Tensor, threads: int = 1, seconds: float = SECONDS) -> Latency:
    """Of one forward pass in evaluation, without gradients, where network and inputs are.

    Mode, gradients and threads are put back. On another device than the CPU the result is waited for.

    Raises UsageError for threads or seconds that are not above 0, ShapeError for inputs that the network
    does not take.
    """
    with using_threads(threads), evaluated(network):
        return latency(call_of(network, *inputs), seconds=seconds)


def latency_of_onnx(path: str | Path, *inputs: Tensor, threads: int = 1, seconds: float = SECONDS) -> Latency:
    """Of one call of ONNX Runtime on the CPU; inputs are in the order that the file gives them.

    Raises UsageError without ONNX Runtime, DataError for a file that it cannot read, ShapeError for inputs
    that the file does not take.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return latency(call_of_onnx(content, *inputs, threads=threads, name=str(path)), seconds=seconds)


def call_of(network: nn.Module, *inputs: Tensor) -> Callable[[], object]:
    """One forward pass, tried once; run it within ``evaluated``."""
    if not inputs or not all(isinstance(x, Tensor) for x in inputs):
        raise UsageError("expected the inputs of the network as tensors with a batch")
    waits = any(x.device.type != "cpu" for x in inputs)

    def call() -> None:
        network(*inputs)
        if waits:
            torch.accelerator.synchronize()

    try:
        call()
    except RuntimeError as error:
        raise _refused(type(network).__name__, inputs, error) from error
    return call


def call_of_onnx(content: bytes, *inputs: Tensor, threads: int, name: str) -> Callable[[], object]:
    """One call of ONNX Runtime on a file with this content, tried once."""
    session = _session(content, _checked(threads), name)
    names = [one.name for one in session.get_inputs()]
    if len(names) != len(inputs):
        raise ShapeError(f"{name} has the inputs {', '.join(names)}, got {len(inputs)} tensors")
    given = {key: x.detach().cpu().numpy() for key, x in zip(names, inputs, strict=True)}

    def call() -> None:
        session.run(None, given)

    try:
        call()
    except Exception as error:  # ONNX Runtime's have no type in common
        raise _refused(name, inputs, error) from error
    return call


def _session(content: bytes, threads: int, name: str) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UsageError("measuring an ONNX file needs ONNX Runtime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        return onnxruntime.InferenceSession(content, options, providers=[CPU])
    except Exception as error:  # as above
        raise DataError(f"{name} is not an ONNX file that ONNX Runtime reads: {said(error)}") from error


@contextmanager
def evaluated(network: nn.Module) -> Iterator[None]:
    """In evaluation mode and without gradients; both are put back."""
    if not isinstance(network, nn.Module):
        raise UsageError(f"expected a torch.nn.Module to measure, got {type(network).__name__}")
    with evaluating({"": network}), torch.inference_mode():
        yield


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """With this number of threads in torch, and afterwards with the number of before."""
    before = torch.get_num_threads()
    torch.set_num_threads(_checked(threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _checked(threads: int) -> int:
    if threads < 1:
        raise UsageError(f"the number of threads is at least 1, got {threads}")
    return threads


def _refused(name: str, inputs: tuple[Tensor, ...], error: Exception) -> ShapeError:
    shapes = " and ".join(str(tuple(x.shape)) for x in inputs)
    return ShapeError(f"{name} does not take inputs of shape {shapes}: {said(error)}")
