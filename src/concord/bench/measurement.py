"""What a measurement gives: a frozen record for each engine and batch. Predictions stand elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from concord.bench.latency import Latency
from concord.cost.record import times


class MeasuredRowDocument(TypedDict):
    """One engine with one batch."""

    engine: str
    batch: int
    median_seconds: float
    low_seconds: float
    high_seconds: float
    calls: int
    times_as_fast: float
    weight_bytes: int
    times_as_small: float


class MeasuredDocument(TypedDict):
    """One network on this machine."""

    threads: int
    processor: str
    versions: dict[str, str]
    not_measured: dict[str, str]
    rows: list[MeasuredRowDocument]


@dataclass(frozen=True)
class MeasuredRow:
    """One engine with one batch."""

    engine: str
    batch: int
    latency: Latency  # of a call with the whole batch
    weight_bytes: int  # of weights and buffers, or of the ONNX file
    times_as_fast: float  # as the first engine with this batch, by the medians
    times_as_small: float  # as the weights of the first engine

    def to_dict(self) -> MeasuredRowDocument:
        return {
            "engine": self.engine,
            "batch": self.batch,
            "median_seconds": self.latency.median,
            "low_seconds": self.latency.low,
            "high_seconds": self.latency.high,
            "calls": self.latency.calls,
            "times_as_fast": self.times_as_fast,
            "weight_bytes": self.weight_bytes,
            "times_as_small": self.times_as_small,
        }


@dataclass(frozen=True)
class Measurement:
    """One network on this machine, at the time it was measured."""

    network: str
    inputs: tuple[tuple[int, ...], ...]  # of one sample
    threads: int
    rows: tuple[MeasuredRow, ...] = field(repr=False)
    not_measured: Mapping[str, str]  # engine -> why
    processor: str
    versions: Mapping[str, str]

    @property
    def given(self) -> str:
        """``3x224x224``"""
        return " + ".join(map(times, self.inputs))

    def to_dict(self) -> MeasuredDocument:
        """What ``concord cost --measured --json`` prints under ``measured``."""
        return {
            "threads": self.threads,
            "processor": self.processor,
            "versions": dict(self.versions),
            "not_measured": dict(self.not_measured),
            "rows": [row.to_dict() for row in self.rows],
        }
