"""From a configuration to a job: starts, memory, and settings that need a validation split."""

import subprocess
import sys

import pytest
import torch
import torchvision

import concord
from concord.data.batches import Normalise
from concord.errors import ResourceError, UsageError
from concord.runs import toml
from concord.runs.assemble import build_members, check_memory
from concord.runs.interface import Interface

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


@pytest.mark.parametrize(
    ("network", "side", "cure"),
    [
        ("lenet5", 8, "--set data.size=28 makes all images 28x28"),
        ("lenet5", 31, "--set data.size=32 makes"),  # the nearer of two
        ("noel2017_st", 70, "--set data.size=64 makes"),
        ("squeezenet1_0", 8, "--set data.size=28 makes"),  # refused by a kernel, not by concord
        ("three_layer(side=100)", 8, None),  # takes no usual side
        ("multimodal_densenet", 8, None),  # the size is not what it lacks
    ],
)
def test_a_member_that_cannot_take_the_images_is_refused_with_a_usual_side_that_it_takes(network, side, cure):
    config = toml.parse({"members": [{"name": "a", "network": network}], "train": {"device": "cpu"}})
    images = Interface((1, side, side), tuple("0123456789"), Normalise((0.0,), (1.0,)))
    with pytest.raises(UsageError, match="member a") as refused:
        build_members(config, images, [])
    assert ("data.size" in str(refused.value)) is bool(cure)
    assert cure is None or cure in str(refused.value)


def test_memory_of_an_update_is_what_is_kept_of_a_batch_and_three_numbers_a_parameter(monkeypatch):
    from concord.data import memory

    members = {"big": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 250_000))}
    numbers = 65 * 250_000  # parameters; 64 inputs are kept of an image
    for optimizer, states in (({"kind": "adam"}, 2), ({"kind": "sgd"}, 1)):
        need = 4 * (numbers * (1 + states) + 64 * 100)
        train = {"batch_size": 100, "device": "cpu", "optimizer": optimizer}
        config = toml.parse({"members": [{"name": "big", "network": "x"}], "train": train})
        monkeypatch.setattr(memory, "available", lambda need=need: need)
        check_memory(config, members, (1, 8, 8), 1000)
        monkeypatch.setattr(memory, "available", lambda need=need: need - 1)
        with pytest.raises(ResourceError, match=r"one pass over 100 images needs .* train.micro_batch"):
            check_memory(config, members, (1, 8, 8), 1000)
        check_memory(config, members, (1, 8, 8), 99)  # there are no more images than these
        train = train | {"micro_batch": 99}
        config = toml.parse({"members": [{"name": "big", "network": "x"}], "train": train})
        check_memory(config, members, (1, 8, 8), 1000)


def test_a_member_on_another_device_needs_no_memory_of_the_processor(monkeypatch):
    from concord.data import memory

    here = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    elsewhere = torch.nn.Linear(10**6, 10**6, device="meta")
    config = toml.parse({"members": [{"name": "here", "network": "x"}], "train": {"device": "cuda"}})
    asked = []
    monkeypatch.setattr(memory, "require", lambda need, what, cure: asked.append(need))
    for members in ({"here": here, "elsewhere": elsewhere}, {"here": here}, {"elsewhere": elsewhere}):
        check_memory(config, members, (1, 8, 8), 1000)
    assert len(asked) == 2  # the last needs none
    assert asked[0] == asked[1] > 0


def test_a_limit_on_the_address_space_of_the_process_ends_in_a_sentence(tmp_path):
    """A batch that no machine under the limit could hold, told before training: no traceback, exit 6."""
    code = (
        "import resource, concord.cli.app as app\n"
        "resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30,) * 2)\n"
        "app.main(['train', '--members', 'vgg16', '--batch-size', '1000', '--set', 'data.size=64',"
        f" '--set', 'train.threads=1', '--device', 'cpu', '--out', {str(tmp_path / 'run')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 6, done.stderr
    assert "one pass over 1000 images needs" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_with_pretrained_weights_is_read_and_resumed_without_fetching_them(tmp_path, monkeypatch):
    from concord.errors import StoppedError

    state = torchvision.models.get_model("squeezenet1_1").state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    member = {"name": "m", "network": "squeezenet1_1", "pretrained": True}
    train = {"epochs": 1, "batch_size": 64, "device": "cpu", "threads": 1}
    tables = {"members": [member], "data": {"limit": 128, "size": 32}, "train": train}
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.train(tables, tmp_path / "run", stop=lambda: next(polls) == 1)

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    result = concord.resume(tmp_path / "run")
    assert concord.evaluate(tmp_path / "run")["members"]["m"]["nll"] == result["members"]["m"]["nll"]
    with pytest.raises(UsageError, match="no route to host"):
        concord.train(tables, tmp_path / "other")


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
