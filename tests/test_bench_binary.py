"""The benchmark of binary networks: what its engines run, its rows, and its command."""

import json
import sys

import pytest
import torch
from torch import nn

from concord import zoo
from concord.bench import binary, binary_engines
from concord.cli import app
from concord.errors import UsageError
from concord.layers.binary.convolution import XNORConv2d

ENGINES = ("concord", "torch", "bfloat16", "int8", "openvino", "openvino float32")


@pytest.fixture
def small(monkeypatch):
    """Small layers, hardly warmed up."""
    monkeypatch.setattr(binary, "LAYERS", ((16, 6), (64, 3)))
    monkeypatch.setattr(binary, "DEEP", 2)
    monkeypatch.setattr(binary, "FIRST", 0.001)


def command(*words):
    with pytest.raises(SystemExit) as end:
        app.main(["bench", "binary", *words])
    return end.value.code


def test_the_command_gives_a_row_for_each_layer_batch_and_engine(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert command("--batch", "1,3", "--seconds", "0.01", "--rounds", "2", "--no-whole", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    there = [engine for engine in ENGINES if engine not in found["not_measured"]]
    assert [(row["layer"], row["batch"], row["engine"]) for row in found["rows"]] == [
        (layer, batch, engine) for batch in (1, 3) for layer in ("16@6", "64@3") for engine in there
    ]
    assert there[:3] == ["concord", "torch", "bfloat16"]
    assert found["not_measured"].keys() >= {"openvino", "openvino float32"}
    for first in range(0, len(found["rows"]), len(there)):
        ours, *theirs = found["rows"][first : first + len(there)]
        assert ours["concord_over"] == 1
        for row in theirs:
            assert row["concord_over"] == pytest.approx(row["microseconds"] / ours["microseconds"])
    assert found["overhead_microseconds"] > 0


def test_openvino_runs_the_same_layer_as_bits(small, monkeypatch):
    pytest.importorskip("openvino", reason="another engine: needs the extra openvino")
    monkeypatch.setattr(binary, "LAYERS", ((16, 3),))
    found = binary.bench_binary(whole=False, seconds=0.01, rounds=1)
    assert {row["engine"] for row in found["rows"]} >= {"openvino", "openvino float32"}
    assert "openvino" not in found["not_measured"]


def test_the_whole_network_is_measured_in_both_forms(small, monkeypatch):
    monkeypatch.setattr(binary, "LAYERS", ())
    monkeypatch.setattr(binary, "WHOLE", "xnor_lenet5")
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = binary.bench_binary(seconds=0.01, rounds=1)
    assert [(row["layer"], row["batch"], row["engine"]) for row in found["rows"]] == [
        ("lenet5", 1, engine) for engine in ("concord", "concord exact", "torch", "bfloat16")
    ]


def test_an_engine_that_is_missing_is_named_with_its_package(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert command("--seconds", "0.01", "--rounds", "1", "--no-whole") == 0
    out = capsys.readouterr().out
    assert "not measured: openvino (pip install openvino)" in out
    assert "overhead of a call: " in out
    assert len([line for line in out.splitlines() if line.startswith("16@6 ")]) == len(ENGINES) - 2


@pytest.mark.parametrize("batch", ["0", "1,-2", "one", "", "1,,2", "1.5"])
def test_a_batch_that_is_not_a_number_of_images_is_refused(batch, capsys):
    assert command("--batch", batch) == 2
    assert "--batch takes whole numbers of at least 1, such as 1,64; got" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"batches": (1, 0)}, {"rounds": 0}, {"seconds": 0.0}])
def test_wrong_arguments_of_the_function_are_refused_before_anything_is_measured(wrong):
    with pytest.raises(UsageError, match="at least 1, and seconds are above 0"):
        binary.bench_binary(**wrong)


def test_the_number_of_threads_is_put_back(small, monkeypatch):
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(binary, "chains", lambda *_: {"concord": lambda: count})

        def count():
            seen.append(torch.get_num_threads())

        binary.bench_binary(whole=False, seconds=0.001, rounds=1)
        assert {*seen} == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_least_time_of_the_calls_counts(monkeypatch):
    """Calls of 3, 1 and 4 seconds: two of them have room in 3.5 seconds, and the third begins in it."""
    clock, steps = [0.0], iter((3.0, 1.0, 4.0))
    monkeypatch.setattr(binary.time, "perf_counter", lambda: clock[0])

    def call():
        clock[0] += next(steps)

    assert binary.spend(call, 3.5) == 1.0
    assert next(steps) == 4.0  # 3 + 1 seconds are past the end


def test_a_layer_is_an_even_share_of_its_chain():
    rows = [*binary._rows("256@14", 1, 8, {"concord": 4e-4, "torch": 8e-3})]
    assert [row["microseconds"] for row in rows] == pytest.approx([50, 1000])
    assert [row["concord_over"] for row in rows] == pytest.approx([1, 20])


@torch.no_grad()
def test_the_float_network_has_the_convolutions_of_the_binary_one():
    network = zoo.build("xnor_resnet18", channels=3, classes=10).eval()
    floats = binary_engines.in_floats(network)
    kinds = [type(module) for module in floats.modules()]
    assert XNORConv2d not in kinds
    assert kinds.count(nn.Conv2d) == 20
    assert {n: p.shape for n, p in floats.named_parameters()} == {
        n: p.shape for n, p in network.named_parameters()
    }
    assert any(isinstance(module, XNORConv2d) for module in network.modules())
    assert floats(torch.randn(1, 3, 64, 64)).shape == (1, 10)
