"""From a configuration to a job: starts, memory, and settings that need a validation split."""

import pytest
import torch

import concord
from concord.cli.assemble import build_members, check_memory
from concord.cli.interface import Interface
from concord.data.batches import Normalise
from concord.errors import ResourceError, UsageError
from concord.training import toml

DIGITS = Interface((1, 8, 8), tuple("0123456789"), Normalise((0.0,), (1.0,)))
LAZY = """
from torch import nn


def net(channels, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, classes))
"""


def starts(seed, name):
    member = {"name": name, "network": "lazy:net"}
    config = toml.parse({"members": [member], "train": {"seed": seed, "device": "cpu"}})
    return build_members(config, DIGITS, ["lazy:net"])[name].state_dict()


def test_layers_that_start_at_the_first_input_follow_the_seed_and_the_name_too(tmp_path, monkeypatch):
    (tmp_path / "lazy.py").write_text(LAZY)
    monkeypatch.chdir(tmp_path)
    first = starts(0, "a")
    torch.rand(5)  # the caller's generator does not matter
    assert all(torch.equal(first[k], starts(0, "a")[k]) for k in first)
    assert not torch.equal(first["1.weight"], starts(1, "a")["1.weight"])
    assert not torch.equal(first["1.weight"], starts(0, "b")["1.weight"])


def test_weights_count_once_whatever_the_batch(monkeypatch):
    from concord.data import memory

    members = {
        "big": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 250_000))
    }  # 64 MB of weights
    monkeypatch.setattr(memory, "available", lambda: 150 * 2**20)
    check_memory(members, (1, 8, 8), 64)  # 64 rows of 64 numbers are kept
    with pytest.raises(ResourceError, match="one update of"):
        check_memory(members, (1, 8, 8), 10**6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"train": {"patience": 2}}, "train.patience"),
        ({"consensus": {"cost": "kdcl_general", "weight": 1.0}}, "kdcl_general"),
        (
            {"consensus": {"cost": "l2", "weight": 1.0, "edges": "disagreement_matching"}},
            "disagreement_matching",
        ),
    ],
)
def test_settings_that_look_at_validation_need_a_validation_split(settings, named, tmp_path):
    members = [{"name": n, "network": "noel2017_st"} for n in "ab"]
    with pytest.raises(UsageError, match=named):
        concord.train({"members": members, "data": {"valid": 0.0}, **settings}, tmp_path / "run")
    assert not (tmp_path / "run").exists()
