"""A member whose weights come from a finished run and stay: offline distillation."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import concord
from concord.errors import CheckpointError, DataError, UsageError
from concord.runs import toml
from concord.runs.teachers import run_and_member

SMALL = {"name": "small", "network": "noel2017_st(filters=4)"}
TRAIN = {"epochs": 1, "batch_size": 256, "threads": 1, "precision": "float32"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "teacher"
    concord.train({"members": [{"name": "big", "network": "noel2017_st"}], "train": TRAIN}, path)
    return path


def settings(teacher, **train):
    return {
        "members": [SMALL, {"name": "master", "network": "noel2017_st", "teacher": str(teacher)}],
        "consensus": {"cost": "kl", "weight": 1.0, "temperature": 2.0, "edges": "one_way"},
        "train": TRAIN | train,
    }


def weights(run, member):
    return load_file(max(run.glob("ckpt/step-*")) / f"member-{member}.safetensors")


@pytest.mark.parametrize("update", ["simultaneous", "alternating"])
def test_a_teacher_stays_as_it_is_and_the_student_learns_from_it(teacher, tmp_path, update):
    result = concord.train(settings(teacher, update=update), tmp_path / "taught")
    before, after = weights(teacher, "big"), weights(tmp_path / "taught", "master")
    assert all(torch.equal(before[k], after[k]) for k in before)  # running statistics too
    taught = concord.evaluate(teacher)["members"]["big"]["test_error"]
    assert result["members"]["master"]["test_error"] == taught
    concord.train({"members": [SMALL], "train": TRAIN}, tmp_path / "alone")
    own, alone = weights(tmp_path / "taught", "small"), weights(tmp_path / "alone", "small")
    assert not torch.equal(own["head.weight"], alone["head.weight"])


def test_a_run_that_is_gone_or_other_is_refused(teacher, tmp_path):
    with pytest.raises(CheckpointError, match="is not a run folder"):
        concord.train(settings(tmp_path / "nothing"), tmp_path / "run")
    with pytest.raises(CheckpointError, match="no member 'sma'; there are: big"):
        concord.train(settings(f"{teacher}:sma"), tmp_path / "run")
    other = settings(teacher) | {"data": {"seed": 5}}  # other training images, so another normalisation
    with pytest.raises(DataError, match="images of another shape"):
        concord.train(other, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("teacher", "run", "member"),
    [
        ("runs/a", "runs/a", ""),
        ("runs/a:big", "runs/a", "big"),
        ("/at 12:30/runs/a:big", "/at 12:30/runs/a", "big"),
        ("/at 12:30/runs/a", "/at 12:30/runs/a", ""),
    ],
)
def test_the_path_of_a_teacher_may_hold_colons(teacher, run, member):
    assert run_and_member(teacher) == (Path(run), member)


def test_somebody_must_learn():
    member = {"name": "a", "network": "noel2017_st", "teacher": "runs/a"}
    with pytest.raises(UsageError, match="no member learns"):
        toml.parse({"members": [member]})
