"""The benchmark of sequences: its engines compute the same, and its JSON has the promised rows."""

import json

import pytest
import torch

from concord.bench.sequence import plain_loop
from concord.cli import app
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent


def test_the_plain_loop_is_the_same_network():
    cell = LSTM(4, 6, peephole="diagonal").double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 9, 4, dtype=torch.float64)
    torch.testing.assert_close(plain_loop(cell, x), Recurrent(lambda *_: cell, 4, 6)(x)[0])


def test_the_rows_are_as_promised_and_threads_are_put_back(capsys, monkeypatch):
    monkeypatch.setattr("concord.bench.sequence.CASES", {"H128": (2, 3, 4), "H10": (2, 3, 2)})
    threads = torch.get_num_threads()
    with pytest.raises(SystemExit, match="0"):
        app.main(["bench", "sequence", "--rounds", "1", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert torch.get_num_threads() == threads
    assert [(row["case"], row["engine"]) for row in rows] == [
        (case, engine) for case in ("H128", "H10") for engine in ("concord", "naive", "torch")
    ]
    assert all(row["milliseconds"] > 0 for row in rows)
