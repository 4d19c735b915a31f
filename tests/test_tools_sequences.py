"""The programs of the sequence experiments: what they do beside the package, at small sizes."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from data_made import write_idx

from concord.layers.recurrent.omega import omega
from concord.layers.recurrent.probe import state_gradients

TOOLS = Path(__file__).parent.parent / "tools"


def tool(name, monkeypatch):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # where a dataclass looks for its types
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def mnist(folder):
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20)):
        pixels = generator.integers(0, 256, (count, 28, 28))
        write_idx(folder, prefix, pixels, np.arange(count) % 10)
    return folder


def test_omega_is_added_to_the_gradient_of_the_recurrent_weights_alone(monkeypatch):
    made = tool("temporal_order", monkeypatch)
    torch.manual_seed(0)
    net = made.Reader(7)
    x, y = made.drawn(5, 20, torch.Generator().manual_seed(1))
    plain = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
    gradients = state_gradients(net.cell, x, lambda states: F.cross_entropy(net.head(states[-1]), y))
    states = torch.cat([torch.zeros(1, 5, 7), net.cell(x)[0]])
    (of_omega,) = torch.autograd.grad(omega(net.cell, states, gradients), net.cell.weight_h)
    net.zero_grad()
    loss = made.with_omega(net, 3.0, x, y)
    assert loss.item() == pytest.approx(F.cross_entropy(net(x), y).item())
    for (name, parameter), expected in zip(net.named_parameters(), plain, strict=True):
        more = 3 * of_omega if name == "cell.weight_h" else 0
        torch.testing.assert_close(parameter.grad, expected + more)


def test_an_update_is_a_clipped_step(monkeypatch):
    made = tool("temporal_order", monkeypatch)
    net = made.Reader(5)
    before = torch.cat([p.detach().flatten().clone() for p in net.parameters()])
    made.update(net, made.Variant(clip=0.001), 0.5, *made.drawn(4, 20, torch.Generator().manual_seed(1)))
    after = torch.cat([p.detach().flatten() for p in net.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.5 * 0.001, rel=1e-3)


def test_temporal_order_writes_a_line_for_each_seed(tmp_path, monkeypatch):
    made, out = tool("temporal_order", monkeypatch), tmp_path / "order.jsonl"
    made.main(["--seeds", "1", "--units", "4", "--updates", "3", "--out", str(out)])
    assert [row["variant"] for row in lines(out)] == list(made.VARIANTS)
    assert {row["updates"] for row in lines(out)} == {3}


@pytest.mark.parametrize(("problem", "chance"), [("copy", 0.04), ("adding", 1 / 6)])
def test_memory_tasks_score_every_network(problem, chance, tmp_path, monkeypatch):
    made, out = tool("memory_tasks", monkeypatch), tmp_path / "rows.jsonl"
    monkeypatch.setattr(made, "TRAIN", 40)
    monkeypatch.setattr(made, "TEST", 20)
    made.main([problem, "--seeds", "0", "--epochs", "1", "--out", str(out)])
    rows = lines(out)
    assert [row["network"] for row in rows] == ["tcn", "lstm", "gru", "rnn"]
    sizes = [row["parameters"] for row in rows]
    assert max(sizes) < 1.1 * min(sizes)
    for row in rows:
        assert row["chance"] == pytest.approx(chance, rel=1e-3)
        assert row["times_below_chance"] == pytest.approx(row["chance"] / row["loss"])


def test_sequential_mnist_scores_all_test_pictures(tmp_path, monkeypatch):
    made, out = tool("sequential_mnist", monkeypatch), tmp_path / "rows.jsonl"
    data = str(mnist(tmp_path / "mnist"))
    made.main(["--data", data, "--epochs", "1", "--width", "4", "--levels", "2", "--out", str(out)])
    (row,) = lines(out)
    assert (row["test_pictures"], row["pictures"]) == (20, 54)
    assert row["test_accuracy"] == pytest.approx(1 - row["test_error"])


def test_moving_mnist_scores_networks_and_baselines_and_draws_a_strip(tmp_path, monkeypatch):
    made, out, picture = tool("moving_mnist", monkeypatch), tmp_path / "rows.jsonl", tmp_path / "strip.png"
    monkeypatch.setattr(made, "TEST", 6)
    data = str(mnist(tmp_path / "mnist"))
    made.main(["--data", data, "--updates", "1", "--out", str(out), "--picture", str(picture)])
    rows = {row["network"]: row for row in lines(out)}
    assert set(rows) == {"truth", "constant", "last_frame", "convlstm", "fc_lstm"}
    assert min(rows.values(), key=lambda row: row["nll"])["network"] == "truth"
    with made.Image.open(picture) as opened:
        assert opened.size == (10 * 36, 4 * 36)
    assert rows["convlstm"]["parameters"] == 154_336
