"""Data of a run that have moved, changed or are others; and results of which no weights are left."""

import json
import shutil

import numpy as np
import pytest
from run_made import FACTORY, call, images, write_npz

from concord.training import checkpoint

ALLOW = ["--allow-code", "moved_net:make"]
TRAIN = ["train", "--members", "a=moved_net:make", "--batch-size", "8", "--quiet"]
TRAIN += ["--set", "train.threads=1", "--set", "train.precision=float32"]


def write_one_part(path, count, seed=0):
    pixels, labels = images(count, seed)
    np.savez(path, images=pixels[:, 0], labels=labels)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data-of-a-run")
    (folder / "moved_net.py").write_text(FACTORY)
    write_npz(folder / "data.npz")
    write_one_part(folder / "one.npz", 60)
    write_one_part(folder / "others.npz", 40, seed=9)
    return folder


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    shutil.copytree(home, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def result(run):
    return json.loads((run / "result.json").read_text())


@pytest.mark.fault(22)
def test_a_run_is_scored_and_goes_on_after_its_data_have_moved(here, capsys):
    assert call(capsys, *TRAIN, "--data", "data.npz", "--epochs", "2", "--out", "run")[0] == 0
    assert call(capsys, *TRAIN, "--data", "data.npz", "--epochs", "2", "--out", "half")[0] == 0
    last = checkpoint.steps(here / "half" / "ckpt")[-1]
    shutil.rmtree(last)
    (here / "half" / "result.json").unlink()
    (here / "data.npz").rename(here / "moved.npz")
    status, _, err = call(capsys, "eval", "run", *ALLOW)
    assert status == 3
    assert "That path is relative to the folder in which the run was started. If they have moved," in err
    assert "give the new path with --data PATH" in err
    status, out, err = call(capsys, "eval", "run", "--data", "moved.npz", "--json", *ALLOW)
    assert (status, err) == (0, "")
    assert json.loads(out)["members"] == result(here / "run")["members"]

    status, _, err = call(capsys, "resume", "half", *ALLOW)
    assert (status, "give the new path with --set data.source=PATH" in err) == (3, True)
    status, _, _ = call(capsys, "resume", "half", "--set", "data.source=moved.npz", "--quiet", *ALLOW)
    assert status == 0
    assert result(here / "half")["members"] == result(here / "run")["members"]
    assert call(capsys, "eval", "half", *ALLOW)[0] == 0  # where the data lie is kept


def test_a_run_that_has_no_checkpoint_yet_finds_its_moved_data_and_no_others(here, capsys):
    for out in ("whole", "begun"):
        assert call(capsys, *TRAIN, "--data", "data.npz", "--epochs", "1", "--out", out)[0] == 0
    shutil.rmtree(here / "begun" / "ckpt")
    (here / "begun" / "result.json").unlink()
    (here / "begun" / "metrics.jsonl").unlink()
    (here / "data.npz").rename(here / "moved.npz")
    going_on = ["resume", "begun", "--quiet", *ALLOW, "--set"]
    status, _, err = call(capsys, *going_on, "data.source=one.npz")
    assert (status, "\n  data: " in err) == (4, True)
    assert call(capsys, *going_on, "data.source=moved.npz")[0] == 0
    assert result(here / "begun")["members"] == result(here / "whole")["members"]


def test_a_run_that_went_on_with_other_data_belongs_to_those(here, capsys):
    assert call(capsys, *TRAIN, "--data", "one.npz", "--epochs", "1", "--out", "run")[0] == 0
    more = ["--set", "data.source=others.npz", "--set", "train.epochs=2", "--allow-changes", "--quiet"]
    assert call(capsys, "resume", "run", *more, *ALLOW)[0] == 0
    for named in ([], ["--data", "others.npz"]):
        status, out, err = call(capsys, "eval", "run", *named, "--json", *ALLOW)
        assert (status, err) == (0, "")
        assert (json.loads(out)["samples"], json.loads(out)["members"]) == (
            8,
            result(here / "run")["members"],
        )
    status, out, err = call(capsys, "eval", "run", "--data", "one.npz", "--json", *ALLOW)
    assert "one.npz is not the data that run was trained on: scored is all of it (60 images)" in err
    assert json.loads(out)["samples"] == 60


def test_the_limit_of_a_training_does_not_cut_other_data(here, capsys):
    limited = [*TRAIN, "--set", "data.limit=30", "--data", "one.npz", "--epochs", "1", "--out", "run"]
    assert call(capsys, *limited)[0] == 0
    samples = {}
    for name in ("one.npz", "others.npz"):
        samples[name] = json.loads(call(capsys, "eval", "run", "--data", name, "--json", *ALLOW)[1])[
            "samples"
        ]
    assert samples == {"one.npz": 12, "others.npz": 40}


def test_without_a_stamp_a_run_is_scored_and_reported(here, capsys):
    assert call(capsys, *TRAIN, "--data", "data.npz", "--epochs", "1", "--out", "run")[0] == 0
    (here / "run" / "stamp.json").unlink()
    assert call(capsys, "eval", "run", *ALLOW)[0] == 0
    status, _, err = call(capsys, "report", "run", *ALLOW)
    assert (status, "the report leaves out where the run was made" in err) == (0, True)


def test_a_result_stays_where_no_checkpoint_is_left_to_make_it_anew(here, capsys):
    assert call(capsys, *TRAIN, "--data", "data.npz", "--epochs", "2", "--out", "run")[0] == 0
    before = (here / "run" / "result.json").read_bytes()
    for step in checkpoint.steps(here / "run" / "ckpt"):
        (step / "member-a.safetensors").write_bytes(b"")
    status, _, err = call(capsys, "eval", "run", *ALLOW)
    assert (status, "Train again with another --out" in err, "goes back" in err) == (4, True, False)
    assert call(capsys, "resume", "run", *ALLOW)[0] == 4
    assert (here / "run" / "result.json").read_bytes() == before
