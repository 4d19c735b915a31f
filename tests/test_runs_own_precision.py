"""Members that pass in float32 and fail in bfloat16 are refused before the first update, with the cure."""

import pytest
import torch
from run_made import write_npz
from torch import nn

import concord
from concord.errors import UsageError

NETS = """
import torch
from torch import nn

class Gathering(nn.Module):
    # index_add_ takes a source of the type of what it adds to, and autocast changes that of the layer
    def __init__(self, channels, classes):
        super().__init__()
        self.dense = nn.Linear(channels * 36 if channels else 4, classes)
    def forward(self, x):
        scores = self.dense(x.flatten(1))
        if not self.training:
            return scores
        return torch.zeros(scores.shape).index_add_(0, torch.arange(len(scores)), scores)
"""
CURE = r"member 'm' failed when it was tried.*index_add.*It passes in float32: choose train.precision=float32"
made: dict[str, type[nn.Module]] = {}
exec(NETS, made)


def fit(precision):
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    member = made["Gathering"](0, 3)
    given = (x, x[:, :3].argmax(1))
    concord.Ensemble({"m": member}).fit(given, epochs=1, batch_size=10, precision=precision)


def train(folder, precision):
    tables = {
        "data": {"source": str(folder / "data.npz")},
        "members": [{"name": "m", "network": "nets_gathering:Gathering"}],
        "train": {"epochs": 1, "threads": 1, "device": "cpu", "precision": precision},
    }
    concord.train(tables, folder / precision, allow_code=["nets_gathering:Gathering"])


def test_a_module_that_fails_in_bfloat16_alone_is_refused_with_the_cure_and_the_cure_works():
    with pytest.raises(UsageError, match=CURE):
        fit(torch.bfloat16)
    fit(torch.float32)


def test_an_own_file_that_fails_in_bfloat16_alone_is_refused_with_the_cure_and_the_cure_works(
    tmp_path, monkeypatch
):
    (tmp_path / "nets_gathering.py").write_text(NETS)
    write_npz(tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=CURE):
        train(tmp_path, "bfloat16")
    assert not (tmp_path / "bfloat16").exists()
    train(tmp_path, "float32")
