"""Ensembles on disk: saved and read back, run folders that survive SIGKILL, and the command line on them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from python_made import Big, data, members, same, states
from run_made import call
from torch import nn

import concord

NURSERY = """
import os, sys, traceback
sys.path.insert(0, {tests!r})
import torch
from python_made import data, members
import concord

torch.set_num_threads(1)

def train(folder, seconds):
    ensemble = concord.Ensemble(members(), consensus="l2", weight=0.1)
    ensemble.fit(data(256), epochs=8, batch_size=8, out=folder, checkpoint_seconds=float(seconds))
    ensemble.save(folder + "/final")

concord.Ensemble(members()).fit(data(8), epochs=1)  # what is imported late is imported once
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            train(*line.split())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
FIT = {"epochs": 3, "batch_size": 16}


def ensemble(seed=0, **options):
    return concord.Ensemble(members(seed), consensus="l2", weight=0.1, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, and the ensemble that it trained."""
    folder = tmp_path_factory.mktemp("own") / "run"
    made = ensemble()
    made.fit(data(), **FIT, test=data(40, seed=1), out=folder)
    return folder, made


def test_what_is_saved_is_read_back_bit_for_bit(run, tmp_path):
    _, made = run
    made.save(tmp_path / "own")
    again = concord.load(tmp_path / "own", members=members(5))
    assert same(states(again), states(made))
    assert repr(again) == repr(made)
    assert torch.equal(again.predict_proba(data()[0]), made.predict_proba(data()[0]))
    made.save(tmp_path / "own")  # over the older one
    assert same(states(concord.load(tmp_path / "own", members(6))), states(made))


def test_label_smoothing_is_read_back_and_a_run_does_not_go_on_with_another(tmp_path):
    soft = concord.Ensemble(members(), task=concord.Classify(3, label_smoothing=0.1))
    soft.fit(data(), **FIT, out=tmp_path / "run")
    soft.save(tmp_path / "own")
    for kept in ("run", "own"):
        assert concord.load(tmp_path / kept, members()).task == concord.Classify(3, label_smoothing=0.1)
    with pytest.raises(concord.CheckpointError, match="label_smoothing"):
        concord.Ensemble(members(), task=concord.Classify(3)).fit(data(), **FIT, out=tmp_path / "run")


def test_edges_and_which_of_them_are_detached_are_read_back(tmp_path):
    from concord.consensus.edges import table

    edges = table([[0, 2], [1, 0]], [[True, False], [True, True]])
    made = concord.Ensemble(members(), consensus="l1", weight=0.5, edges=edges, task=concord.Classify(3))
    made.save(tmp_path / "own")
    again = concord.load(tmp_path / "own", members())
    assert again.binding.settings() == made.binding.settings()
    assert concord.Ensemble(members(), edges="mean").binding.settings().edges == "mean"


def test_a_run_is_read_back_as_an_ensemble_and_as_a_run(run):
    folder, made = run
    assert same(states(concord.load(folder, members(3))), states(made))
    result = concord.load(folder).result
    scores = made.evaluate(data(40, seed=1))
    assert result.ensemble.test_error == scores.ensemble.error
    assert result.members["small"].nll == pytest.approx(scores.members["small"].nll)
    assert result.members["big"].parameters == sum(p.numel() for p in Big().parameters())
    assert result.members["small"].macs == 12


def test_a_run_that_is_complete_gives_its_final_weights_without_training(run):
    folder, made = run
    before = sorted(path.name for path in folder.rglob("*"))
    again = ensemble(seed=9)
    history = again.fit(data(), **FIT, test=data(40, seed=1), out=folder)
    assert same(states(again), states(made))
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3]
    assert sorted(path.name for path in folder.rglob("*")) == before


CHANGED = {
    "train.epochs": {"epochs": 4},
    "train.batch_size": {"batch_size": 8},
    "train.optimizer": {"optimizer": concord.Adam(lr=0.5)},
    "the data differ": {"data": data(60)},
}


@pytest.mark.parametrize("what", CHANGED)
def test_another_training_in_the_same_folder_is_refused(what, run):
    folder, _ = run
    options = FIT | {"test": data(40, seed=1), "data": data()} | CHANGED[what]
    given = options.pop("data")
    with pytest.raises(concord.CheckpointError, match="data" if "data" in what else what) as refused:
        ensemble().fit(given, **options, out=folder)
    assert "give another out" in str(refused.value)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(concord.UsageError, match="is a file: out is a folder"):
        ensemble().fit(data(), **FIT, out=tmp_path / "file")


def test_other_modules_in_the_same_folder_are_refused(run):
    folder, _ = run
    other = concord.Ensemble(members() | {"third": nn.Linear(4, 3)}, consensus="l2", weight=0.1)
    with pytest.raises(concord.CheckpointError, match="members"):
        other.fit(data(), **FIT, test=data(40, seed=1), out=folder)


@pytest.fixture(scope="module")
def nursery():
    """A program that trains in a child for each folder it reads; it prints the number
    and then the exit status of the child."""
    code = NURSERY.format(tests=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


def begin(nursery, folder, seconds):
    nursery.stdin.write(f"{folder} {seconds}\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


def newest(folder):
    return max((int(path.name[5:13]) for path in folder.glob("ckpt/step-????????")), default=-1)


@pytest.mark.fault(2)
def test_ten_kills_at_random_moments_change_nothing(nursery, tmp_path):
    """After each the program is started again. SIGKILL is seen by no handler."""
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    draws = random.Random(0)
    for _ in range(10):
        child, steps = begin(nursery, killed, 0), newest(killed)
        deadline = time.monotonic() + 60
        while newest(killed) == steps and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(draws.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert int(nursery.stdout.readline()) == -signal.SIGKILL
    assert 0 < newest(killed) < 8 * 29  # of 230 samples to train on, in batches of 8
    for folder, seconds in ((killed, 0), (straight, 60)):
        begin(nursery, folder, seconds)
        assert int(nursery.stdout.readline()) == 0
    one, other = (concord.load(folder / "final", members()) for folder in (killed, straight))
    assert same(states(one), states(other))
    rows = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (killed, straight)]
    assert [json.loads(row)["valid"] for row in rows[0]] == [json.loads(row)["valid"] for row in rows[1]]


def test_the_command_line_reports_on_a_run_without_its_modules(run, tmp_path, capsys):
    folder = shutil.copytree(run[0], tmp_path / "run")
    status, _, err = call(capsys, "report", folder)
    assert status == 0, err
    page = (folder / "report.html").read_text()
    assert all(word in page for word in ("small", "big", "Confusion", "Learning curves", "python_made.Big"))
    assert page.count("<svg") >= 3
    result = concord.load(folder).result
    assert f"{100 * result.ensemble.test_error:.2f}" in page


@pytest.mark.parametrize(
    "verb",
    [
        ("eval",),
        ("predict", "x.png"),
        ("resume", "--set", "train.epochs=5"),
        ("export", "--member", "small", "--to", "x.onnx"),
        ("attack",),
        ("report", "--to", "card.md"),
    ],
    ids=lambda verb: verb[0],
)
def test_the_command_line_says_what_to_do_in_python_where_it_needs_the_modules(verb, run, capsys):
    status, out, err = call(capsys, verb[0], run[0], *verb[1:])
    assert status == 4
    assert not out
    assert "concord.load(" in err
    assert "small, big" in err
    assert "Traceback" not in err


def test_resume_of_a_complete_run_gives_its_result(run, capsys):
    status, out, _ = call(capsys, "resume", run[0], "--json")
    assert status == 0
    assert json.loads(out)["ensemble"]["test_error"] == concord.load(run[0]).result.ensemble.test_error


def damaged(folder):
    file = folder / "member-big.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def without_document(folder):
    (folder / "ensemble.json").unlink()


def torn_document(folder):
    (folder / "ensemble.json").write_text("{")


REFUSED = {
    "another shape": (lambda f: None, {"small": nn.Linear(4, 3), "big": Big()}, "small.*Linear"),
    "another size": (
        lambda f: None,
        {"small": members()["small"], "big": nn.Sequential(nn.Linear(4, 3))},
        "big",
    ),
    "other names": (
        lambda f: None,
        {"small": members()["small"], "large": Big()},
        "small, big.*small, large",
    ),
    "a member too few": (lambda f: None, {"small": members()["small"]}, "small, big"),
    "damage": (damaged, members(), "member-big.safetensors: damaged"),
    "no document": (without_document, members(), "neither a saved ensemble nor a run"),
    "a torn document": (torn_document, members(), "ensemble.json"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_saved_ensemble_that_does_not_fit_is_refused(what, run, tmp_path):
    change, made, words = REFUSED[what]
    run[1].save(tmp_path / "own")
    change(tmp_path / "own")
    with pytest.raises(concord.CheckpointError, match=words):
        concord.load(tmp_path / "own", made)


def test_nothing_is_read_where_nothing_is(tmp_path):
    for options in ({}, {"members": members()}):
        with pytest.raises(concord.CheckpointError, match="nothing"):
            concord.load(tmp_path / "nothing", **options)


def test_a_saved_ensemble_needs_its_modules(run, tmp_path):
    run[1].save(tmp_path / "own")
    with pytest.raises(concord.CheckpointError, match="members="):
        concord.load(tmp_path / "own")
    with pytest.raises(concord.UsageError, match="lazy"):
        concord.load(tmp_path / "own", {"small": nn.LazyLinear(3), "big": Big()})


def test_an_ensemble_is_not_saved_over_something_else(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(concord.UsageError, match="not a saved ensemble"):
        run[1].save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_run_folder_in_use_is_refused(run):
    from concord.runs.folder import RunFolder, locked

    with locked(RunFolder(run[0])), pytest.raises(concord.UsageError, match="in use"):
        ensemble().fit(data(), **FIT, test=data(40, seed=1), out=run[0])
