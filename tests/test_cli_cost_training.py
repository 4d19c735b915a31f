"""``concord cost --training`` and ``--measured`` as a user meets them."""

import json
import re
import sys
from importlib.metadata import version

import pytest
import torch

from concord.bench import measured as room
from concord.bench.latency import Latency
from concord.bench.measured import measured_of
from concord.cli import app
from concord.errors import ShapeError, UsageError
from concord.native.library import state
from concord.runs.training_costs import training_cost_of

SUMS = """
from torch import nn


class Sums(nn.Module):
    def forward(self, x):
        return x.sum((2, 3))


def sums(channels=3, classes=1):
    return Sums()
"""
OWN = '''
from torch import nn


def frozen(channels=3, classes=10):
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(4 * 36, classes))
    network[0].requires_grad_(False)
    return network


class Branches(nn.Module):
    """Cannot be exported: it branches on values."""

    def __init__(self, channels, classes):
        super().__init__()
        self.one = nn.Linear(channels, classes)

    def forward(self, x):
        return self.one(x.mean((2, 3))) if x.sum() < 1e9 else x


def branches(channels=3, classes=10):
    return Branches(channels, classes)
'''


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_networks", None)


@pytest.fixture
def call(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            app.main(["cost", *map(str, arguments)])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return run


@pytest.fixture
def at_once(monkeypatch):
    """Engines take as long as it says here, and ONNX files are not written."""
    taken = {room.FLOATS: 8e-3, room.TORCH: 4e-3, room.PACKED: 1e-3, room.ONNX: 2e-3}

    def latencies(calls, *, seconds):
        return {name: Latency(taken[name], 0.9 * taken[name], 1.5 * taken[name], 7) for name in calls}

    monkeypatch.setattr(room, "latencies", latencies)
    monkeypatch.setattr(room, "onnx_file", lambda network, inputs, about: (b"onnx" * 1000, None))
    monkeypatch.setattr(room, "call_of_onnx", lambda content, *inputs, threads, name: lambda: None)


# --- training ---------------------------------------------------------------------------------------


def test_the_table_of_an_update_adds_up(call):
    status, out, _ = call("resnet20", "--training", "--batch", 3)
    assert status == 0
    assert out.startswith("resnet20, input 3x32x32: one update of 3 samples\n")
    figures = re.findall(
        r"^(\S+) .*? ([\d,]+) +([\d,]+) +([\d,]+) +\d+\.\d\d +\S+ \S?B +\S+ \S?B$", out, re.M
    )
    *layers, total = [tuple(int(x.replace(",", "")) for x in row[1:]) for row in figures]
    assert tuple(map(sum, zip(*layers, strict=True))) == total
    stem = 3 * 16 * 9 * 32 * 32  # products of the first layer
    assert total == (3 * 40_551_040, 3 * (40_551_040 - stem), 3 * 40_551_040)
    assert f"MACs              {3 * (3 * 40_551_040 - stem):,} for an update of 3 samples" in out


def test_the_document_of_an_update_has_the_figures_of_python(call):
    one = json.loads(call("lenet5", "--training", "--json")[1])
    assert one["training"] == training_cost_of("lenet5", batch=64).to_dict()
    assert one["macs"] == 326_520 == one["training"]["forward_macs"] // 64
    for figure in (
        "forward_macs",
        "input_gradient_macs",
        "weight_gradient_macs",
        "kept_bytes",
        "moved_bytes",
    ):
        assert one["training"][figure] == sum(layer[figure] for layer in one["training"]["layers"]), figure
    assert one["training"]["backward_macs"] + one["training"]["forward_macs"] == one["training"]["macs"]


def test_several_networks_are_compared(call):
    status, out, _ = call("lenet5", "resnet20", "--training")
    assert (status, out.count("\n\n")) == (0, 2)
    assert re.search(
        r"^resnet20 +3x32x32 +64 +2,595,266,560 +7,757,488,128 +140\.62\d\d +2\.9891 ", out, re.M
    )
    several = json.loads(call("lenet5", "resnet20", "--training", "--json")[1])
    assert [one["training"]["batch"] for one in several] == [64, 64]
    assert "ratios_to_first" in several[1]


def test_an_update_of_one_sample_is_not_one_of_samples(call):
    out = call("lenet5", "--training", "--batch", 1)[1]
    assert out.startswith("lenet5, input 1x28x28: one update of 1 sample\n")
    assert "for an update of 1 sample\n" in out


def test_an_update_without_products_is_not_a_multiple_of_its_forward_pass(call, own):
    (own / "sums.py").write_text(SUMS)
    out = call("sums.py:sums", "--training", "--input", "3x4x4")[1]
    assert re.search(r"^forward pass +0$", out, re.M)
    assert re.search(r"^learned +nothing: the forward pass is all$", out, re.M)


def test_depth_folds_an_update(call):
    out = call("resnet20", "--training", "--depth", 1)[1]
    assert re.search(r"^stages +47 layers ", out, re.M)
    assert "Layers below level 1 of the modules are summed up." in out
    assert re.search(r"^head +Linear +40,960 ", out, re.M)


def test_frozen_parameters_of_own_code_learn_nothing(call):
    size = ("--input", "3x8x8", "--classes", 10, "--batch", 2)
    one = json.loads(call("my_networks:frozen", *size, "--training", "--json")[1])
    rows = {layer["path"]: layer for layer in one["training"]["layers"]}
    assert (rows["0"]["weight_gradient_macs"], rows["0"]["input_gradient_macs"]) == (0, 0)
    assert (rows["2"]["weight_gradient_macs"], rows["2"]["input_gradient_macs"]) == (2 * 1440, 0)
    assert one["training"]["learned_parameters"] == 1450


def test_ids_and_pictures_train_in_one_batch():
    cost = training_cost_of("multimodal_densenet", batch=3)
    assert (cost.batch, cost.inputs, cost.forward_macs) == (3, ((1, 28, 28), (26,)), 3 * 6_470_782)
    assert training_cost_of("char_rnn", torch.zeros(2, 5, dtype=torch.int64)).batch == 2


def test_the_page_has_both_tables(call, own, at_once):
    assert call("lenet5", "--training", "--measured", "--html", "cost.html")[0] == 0
    page = (own / "cost.html").read_text()
    assert "one update of 64 samples" in page
    assert "Measured on this machine" in page


# --- measured ----------------------------------------------------------------------------------------


def test_a_binary_network_stands_beside_float_layers_and_predictions_stand_apart(call, at_once):
    status, out, _ = call("xnor_lenet5", "--measured", "--batch", 2)
    assert status == 0
    predicted, timed = out.split("\n\nMeasured on this machine: ")
    assert "predicted S" in predicted
    assert "predicted" not in timed
    rows = re.findall(
        r"^xnor_lenet5, 1x28x28  (\S.*?)  +(\d+)  +(\S+ ms)  +(\S+ ms)  +(\S+ ms) .* (\S+)$", timed, re.M
    )
    engines = [room.FLOATS, room.TORCH, room.PACKED, room.ONNX]
    assert [row[:5] for row in rows] == [
        (engine, batch, *times)
        for batch in "12"
        for engine, times in zip(
            engines,
            [
                ("8 ms", "7.2 ms", "12 ms"),
                ("4 ms", "3.6 ms", "6 ms"),
                ("1 ms", "0.9 ms", "1.5 ms"),
                ("2 ms", "1.8 ms", "3 ms"),
            ],
            strict=True,
        )
    ]
    assert float(rows[2][5]) > 16  # 433,760 floats against as many bits, nearly


def test_tables_of_predictions_name_their_networks_and_measured_weights_their_kind(call, at_once):
    out = call("xnor_lenet5", "bwn_lenet5", "--measured", "--batch", 1)[1]
    for name in ("xnor_lenet5", "bwn_lenet5"):
        assert out.count(f"Binary layers of {name}: bits, and predictions") == 1
    assert "of onnxruntime those of the ONNX file" in out


def test_the_document_of_a_measurement(call, at_once):
    one = json.loads(call("xnor_lenet5", "--measured", "--json", "--threads", 2)[1])["measured"]
    packed = next(row for row in one["rows"] if row["engine"] == room.PACKED)
    assert (one["threads"], one["versions"]["kernel"], one["versions"]["torch"]) == (
        2,
        state().path,
        version("torch"),
    )
    assert (packed["batch"], packed["median_seconds"], packed["times_as_fast"]) == (1, 1e-3, 8)
    assert {row["batch"] for row in one["rows"]} == {1, 64}
    assert packed["calls"] == 7


def test_a_network_is_measured_for_real():
    before = torch.get_num_threads(), torch.get_rng_state()
    found = measured_of("lenet5", batches=(1, 3), seconds=0.01)
    assert [(row.engine, row.batch) for row in found.rows] == [
        ("torch", 1), ("onnxruntime", 1), ("torch", 3), ("onnxruntime", 3),
    ]  # fmt: skip
    assert all(row.latency.calls >= 5 and row.latency.low <= row.latency.median for row in found.rows)
    assert found.rows[0].weight_bytes == 4 * 60_850
    assert (torch.get_num_threads(), torch.equal(torch.get_rng_state(), before[1])) == (before[0], True)


def test_an_ensemble_in_one_network_is_measured_in_both_engines():
    found = measured_of("batch_ensemble(lenet5, members=2)", batches=(2,), seconds=0.01)
    assert ([row.engine for row in found.rows], found.not_measured) == (["torch", "onnxruntime"], {})


def test_several_inputs_without_names_are_measured_in_torch_alone():
    class Total(torch.nn.Module):
        def forward(self, *inputs):
            return sum(x.sum(1) for x in inputs)

    found = measured_of(Total(), [torch.zeros(3, 4), torch.zeros(3, 5)], seconds=0.01)
    assert [row.engine for row in found.rows] == ["torch"]
    assert found.not_measured == {"onnxruntime": "its forward pass does not name its inputs, as ONNX does"}


def test_what_an_engine_cannot_do_is_said(call, monkeypatch):
    monkeypatch.setattr(
        room, "latencies", lambda calls, *, seconds: dict.fromkeys(calls, Latency(1, 1, 1, 5))
    )
    status, out, _ = call("my_networks:branches", "--input", "3x8x8", "--measured")
    assert status == 0
    assert "my_networks:branches: not measured with onnxruntime: its forward pass branches" in out
    assert " onnxruntime  " not in out


def test_a_tensor_brings_its_batch_to_a_measurement(at_once):
    found = measured_of("lenet5", torch.zeros(5, 1, 28, 28))
    assert {row.batch for row in found.rows} == {5}
    with pytest.raises(UsageError, match="at least 1"):
        measured_of("lenet5", batches=())


# --- wrong use -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lenet5", "--batch", 2), "--batch is for --training and --measured"),
        (("lenet5", "--training", "--threads", 2), "--threads is for --measured"),
        (("lenet5", "--training", "--worked"), "--worked explains the forward pass"),
        (("lenet5", "--measured", "--depth", 2), "--depth is for tables of layers"),
        (("resnet18", "--training", "--batch", 1, "--input", "3x32x32"), "use a larger batch"),
        (("lenet5", "--training", "--input", "1x4x4"), "use --input"),
    ],
)
def test_options_without_effect_and_batches_that_do_not_fit_are_refused(call, arguments, message):
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_a_batch_that_a_network_refuses_is_named_in_python():
    with pytest.raises(ShapeError, match=r"resnet18: layer4.0.bn1 \(BatchNorm2d\) .* use a larger batch"):
        training_cost_of("resnet18", (3, 32, 32), batch=1)
    with pytest.raises(UsageError, match="at least 1 sample, got 0"):
        training_cost_of("lenet5", batch=0)
