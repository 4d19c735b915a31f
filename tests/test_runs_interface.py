"""Classes and normalisation of a run: kept under the manifest, compared on resume, checked when read."""

import json

import pytest
from run_made import Noted, call

import concord
from concord.errors import CheckpointError
from concord.runs.interface import Interface
from concord.runs.loading import load_run

TRAIN = {"epochs": 1, "batch_size": 256, "threads": 1, "precision": "float32", "device": "cpu"}
GOOD = {"shape": [2, 4, 4], "classes": ["a", "b"], "mean": [1.0, 2.0], "std": [3.0, 4.0]}


@pytest.fixture
def run(tmp_path):
    member = {"name": "m", "network": "noel2017_st(filters=4)"}
    concord.train({"members": [member], "data": {"limit": 256}, "train": TRAIN}, tmp_path / "run")
    return tmp_path / "run"


def tamper(run, **changes):
    file = run / "interface.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    "changes", [{"classes": list("1023456789")}, {"mean": [77.0]}], ids=["classes", "mean"]
)
def test_a_tampered_copy_changes_no_prediction_and_is_told(changes, run):
    noted = Noted()
    before, scores = load_run(run).interface, concord.evaluate(run, observer=noted)
    assert noted.notices == []
    tamper(run, **changes)
    assert load_run(run).interface == before
    assert concord.evaluate(run, observer=noted) == scores
    assert "interface.json is not as the run was made with" in noted.notices[0]


@pytest.mark.parametrize("lost", [False, True])
def test_a_resume_normalises_as_before_whatever_the_copy_says(lost, tmp_path):
    from concord.errors import StoppedError

    member = {"name": "m", "network": "noel2017_st(filters=4)"}
    tables = {"members": [member], "data": {"limit": 256}, "train": TRAIN | {"batch_size": 64}}
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.train(tables, tmp_path / "run", stop=lambda: next(polls) == 2)
    if lost:
        (tmp_path / "run/interface.json").unlink()
        (tmp_path / "run/stamp.json").unlink()  # nothing depends on it either
    else:
        tamper(tmp_path / "run", std=[1.0])
    noted = Noted()
    resumed = concord.resume(tmp_path / "run", observer=noted)
    assert any("interface.json is not as the run was made with" in text for text in noted.notices)
    whole = concord.train(tables, tmp_path / "whole")
    assert resumed["members"] == whole["members"]


def test_a_strict_resume_of_a_finished_run_keeps_its_result(run, capsys):
    file = next(run.glob("ckpt/step-*/member-m.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    status, _, err = call(capsys, "resume", str(run), "--strict")
    assert status == 4
    assert "damaged" in err
    assert (run / "result.json").is_file()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"std": [3.0, 0.0]}, "standard deviations above 0"),
        ({"std": [3.0]}, "2 means and 2 standard deviations"),
        ({"mean": [1.0, 2.0, 3.0]}, "2 means"),
        ({"shape": [2, 0, 4]}, "images of 2x0x4"),
        ({"classes": []}, "0 class names"),
        ({"shape": [4, 4]}, "interface.json is damaged"),
        ({"mean": ["x", "y"]}, "interface.json is damaged"),
    ],
)
def test_what_cannot_be_an_interface_is_refused(changes, reason):
    assert Interface.from_plain(GOOD).plain() == GOOD
    with pytest.raises(CheckpointError, match=reason):
        Interface.from_plain(GOOD | changes)


def test_a_checkpoint_without_an_interface_is_read_with_the_file(run):
    """As those of older versions are."""
    from concord.training import checkpoint

    found = checkpoint.newest(run / "ckpt")[0]
    state = {k: v for k, v in found.state.items() if k != "interface"}
    checkpoint.save(run / "ckpt", int(found.path.name.removeprefix("step-")), found.tensors, state)
    assert load_run(run).interface.plain() == json.loads((run / "interface.json").read_text())
