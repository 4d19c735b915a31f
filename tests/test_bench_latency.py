"""Measured latency: the statistics of known times, and a process that is as it was."""

import itertools

import pytest
import torch
from torch import nn

import concord
from concord.bench import latency as room
from concord.bench.latency import Latency, latencies, latency, latency_of, latency_of_onnx
from concord.errors import DataError, ShapeError, UsageError


class Clock:
    """Time that passes only when it is waited for: hand-made times of calls."""

    def __init__(self, times):
        self.now, self.times, self.calls = 100.0, itertools.cycle(times), 0

    def perf_counter(self):
        return self.now

    def call(self):
        self.now += next(self.times)
        self.calls += 1


@pytest.fixture
def clock(monkeypatch):
    def made(*times):
        one = Clock(times)
        monkeypatch.setattr(room, "time", one)
        return one

    return made


def test_median_and_ends_of_ninety_percent_by_hand(clock):
    """5 s before: 1, 2, 3. Turns of 5 s: 4, 5; 6; 7; 8; 9. Of 4 ... 9 5 % lie below 4 + 0.05 x 5."""
    ticks = clock(*range(1, 22))
    found = latency(ticks.call, seconds=25)
    assert (ticks.calls, found.calls, found.median) == (3 + 6, 6, 6.5)
    assert (found.low, found.high) == pytest.approx((4.25, 8.75))


def test_a_slow_call_is_measured_five_times_after_one_before(clock):
    ticks = clock(8, 1, 2, 4, 5, 9)
    found = latency(ticks.call, seconds=0.5)
    assert (ticks.calls, found.calls, found.median) == (6, 5, 4)
    assert str(found) == "4 s (1.2 to 8.2 s in 90 % of 5 calls)"


def test_calls_take_turns(clock):
    ticks, order = clock(2), []
    calls = {name: lambda name=name: (order.append(name), ticks.call()) for name in "ab"}
    found = latencies(calls, seconds=15)  # 3 s of one turn: two calls
    assert "".join(order) == "aabb" + "aabb" * 5
    assert found == {"a": Latency(2, 2, 2, 10), "b": Latency(2, 2, 2, 10)}


def test_the_times_that_are_kept_are_bounded(clock, monkeypatch):
    monkeypatch.setattr(room, "MOST", 40)
    assert latency(clock(1e-3).call, seconds=1).calls == 5 * 40


@pytest.mark.parametrize(("seconds", "text"), [(2.5, "2.5 s"), (0.0021, "2.1 ms"), (3.4e-5, "34 µs")])
def test_a_time_is_written_in_the_largest_unit_below_it(seconds, text):
    assert str(Latency(seconds, seconds, seconds, 5)).startswith(f"{text} (")


class Watching(nn.Module):
    """Notes how it was called."""

    def __init__(self):
        super().__init__()
        self.layer, self.drop, self.seen = nn.Linear(3, 2), nn.Dropout(), set()

    def forward(self, x, *others):
        modes = self.training, self.drop.training, torch.is_grad_enabled()
        self.seen.add((*modes, torch.get_num_threads(), tuple(x.shape), len(others)))
        return self.drop(self.layer(x))


def test_a_network_runs_in_evaluation_on_its_threads_and_the_process_is_as_it_was():
    network, before = Watching(), torch.get_num_threads()
    network.drop.eval()
    threads = 1 if before != 1 else 2
    found = latency_of(network, torch.ones(4, 3), torch.ones(1), threads=threads, seconds=0.01)
    assert network.seen == {(False, False, False, threads, (4, 3), 1)}
    assert found.calls >= 5
    assert 0 < found.low <= found.median <= found.high
    assert (network.training, network.drop.training, torch.get_num_threads()) == (True, False, before)


def test_a_network_that_waits_takes_as_long_as_it_waits(clock):
    """An oracle for what a call is: one forward pass."""
    ticks = clock(3)
    network = nn.Identity()
    network.register_forward_hook(lambda *_: ticks.call())
    assert latency_of(network, torch.ones(1), seconds=10).median == 3


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((nn.Linear(3, 2), torch.ones(1, 3)), {"threads": 0}, "threads is at least 1, got 0"),
        ((nn.Linear(3, 2), torch.ones(1, 3)), {"seconds": 0}, "number above 0, got 0"),
        ((nn.Linear(3, 2), torch.ones(1, 3)), {"seconds": float("nan")}, "number above 0, got nan"),
        ((nn.Linear(3, 2), torch.ones(1, 4)), {}, r"Linear does not take inputs of shape \(1, 4\): Run"),
        ((nn.Linear(3, 2),), {}, "as tensors with a batch"),
        ((nn.Linear(3, 2), (1, 3)), {}, "as tensors with a batch"),
        ((len, torch.ones(1, 3)), {}, "Module to measure, got builtin_function_or_method"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, options, message):
    before = torch.get_num_threads()
    with pytest.raises(UsageError, match=message):
        latency_of(*arguments, **options)
    assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from concord.runs.export_formats import converting

    path = tmp_path_factory.mktemp("onnx") / "linear.onnx"
    with converting():
        torch.onnx.export(nn.Linear(3, 2), (torch.ones(4, 3),), path, dynamo=True, verbose=False)
    return path


def test_an_onnx_file_is_measured_with_inputs_in_its_order(onnx_file):
    found = latency_of_onnx(onnx_file, torch.ones(4, 3), seconds=0.01)
    assert found.calls >= 5
    assert found.low <= found.median <= found.high


def test_an_onnx_file_that_does_not_fit_is_refused(onnx_file, tmp_path):
    with pytest.raises(ShapeError, match=r"does not take inputs of shape \(4, 5\)"):
        latency_of_onnx(onnx_file, torch.ones(4, 5))
    with pytest.raises(ShapeError, match=r"has the inputs .*, got 2 tensors"):
        latency_of_onnx(onnx_file, torch.ones(4, 3), torch.ones(4, 3))
    with pytest.raises(UsageError, match="at least 1, got 0"):
        latency_of_onnx(onnx_file, torch.ones(4, 3), threads=0)
    with pytest.raises(DataError, match="cannot be read"):
        latency_of_onnx(tmp_path / "none.onnx", torch.ones(4, 3))
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(DataError, match="is not an ONNX file that ONNX Runtime reads"):
        latency_of_onnx(tmp_path / "bad.onnx", torch.ones(4, 3))


def test_a_latency_is_a_public_function():
    assert concord.latency is latency
    assert concord.latency_of is latency_of
    assert concord.latency_of_onnx is latency_of_onnx
