"""The table of measured latencies that ``concord cost --measured`` prints."""

from collections.abc import Iterator, Sequence

from concord.bench.latency import figure, unit_of
from concord.bench.measurement import MeasuredRow, Measurement
from concord.report.cost_totals import size_of
from concord.report.tables import Entry, Table, entries
from concord.report.text import whole

HEADER = ("network", "engine", "batch", "median", "5 %", "95 %", "calls", "faster", "weights", "smaller")


def measured_table(several: Sequence[Measurement]) -> Table:
    """A row for each network, engine and batch; nothing in it is predicted."""
    first = several[0]
    threads = "1 thread" if first.threads == 1 else f"{first.threads} threads"
    rows = [_row(one, row) for one in several for row in one.rows]
    caption = f"Measured on this machine: {first.processor}, {threads}"
    return Table(caption, HEADER, tuple(rows), 2, tuple(_notes(several)))


def _row(one: Measurement, row: MeasuredRow) -> tuple[Entry, ...]:
    unit, factor = unit_of(row.latency.median)
    times = (row.latency.median, row.latency.low, row.latency.high)
    return entries(
        f"{one.network}, {one.given}",
        row.engine,
        whole(row.batch),
        *(f"{figure(seconds / factor)} {unit}" for seconds in times),
        whole(row.latency.calls),
        f"{row.times_as_fast:.2f}",
        size_of(row.weight_bytes),
        f"{row.times_as_small:.2f}",
    )


def _notes(several: Sequence[Measurement]) -> Iterator[str]:
    yield "A time is that of a call with the whole batch. 5 %, 95 %: that share of the calls took less."
    yield "faster, smaller: how many times, beside the first engine of the same network and batch."
    yield "weights: bytes of weights and buffers; of onnxruntime those of the ONNX file."
    versions = {name: version for one in several for name, version in one.versions.items()}
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    for one in several:
        for engine, why in one.not_measured.items():
            yield f"{one.network}: not measured with {engine}: {why}"
