"""A study stops on a signal and goes on; its processes end with it, however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from run_made import FACTORY, group, outcome, write_npz

import concord
from concord.errors import ResourceError, StoppedError, UsageError
from concord.studies import study as studies
from concord.training import checkpoint

EPOCHS = 60
TRAINING = {"epochs": EPOCHS, "batch_size": 8, "precision": "float32", "device": "cpu"}
COMMAND = ["study", "--data", "data.npz", "--members", "a=study_net:make,b=study_net:make"]
COMMAND += ["--epochs", EPOCHS, "--seeds", 2, "--jobs", 2, "--json"]
COMMAND += ["--set", "train.batch_size=8", "--set", "train.precision=float32", "--set", "train.device=cpu"]
CELLS = ["study/cells/a+b_none_seed0", "study/cells/a+b_none_seed1"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "study_net.py").write_text(FACTORY)
    write_npz(folder / "data.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture
def start():
    """Starts the study in a group of its own, to be signalled as a whole; nothing outlives the test."""
    begun = []

    def one(out="study"):
        command = [sys.executable, "-m", "concord", *map(str, COMMAND), "--out", out]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        begun.append(process)
        return process

    yield one
    for process in begun:
        for pid in group(process):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def updates(cell):
    steps = checkpoint.steps(Path(cell) / "ckpt")
    return int(steps[-1].name[5:].removesuffix(".old")) if steps else 0


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for_progress(process):
    """Until every cell is further than it was."""
    before = {cell: updates(cell) for cell in CELLS}
    wait_for(lambda: process.poll() is not None or all(updates(c) > n for c, n in before.items()))
    assert process.poll() is None, process.communicate()[1]


@pytest.mark.fault(26)
def test_a_study_stopped_by_signals_and_kills_goes_on_with_the_same_command_and_leaves_no_orphan(here, start):
    process = start()
    wait_for_progress(process)
    os.killpg(process.pid, signal.SIGTERM)  # to all, as a scheduler does; only the study itself reacts
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "the same command continues from here" in err
    assert "Traceback" not in err
    wait_for(lambda: not group(process), 20)
    assert not any((Path(cell) / "result.json").exists() for cell in CELLS)

    process = start()
    wait_for_progress(process)
    process.kill()
    process.wait()
    wait_for(lambda: not group(process), 20)
    assert not any((Path(cell) / "result.json").exists() for cell in CELLS)

    process = start()
    wait_for_progress(process)
    workers = [pid for pid in group(process) if pid != process.pid and is_worker(pid)]
    os.kill(workers[0], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 6, err
    assert "a process of the study was killed" in err
    wait_for(lambda: not group(process), 20)

    for cell, seed in zip(CELLS, (0, 1), strict=True):
        settings = {
            "data": {"source": "data.npz"},
            "members": [{"name": n, "network": "study_net:make"} for n in "ab"],
            "train": TRAINING | {"seed": seed, "threads": 1},
        }
        concord.train(settings, f"straight{seed}", allow_code=["study_net:make"])
        concord.resume(cell, allow_code=["study_net:make"])
        assert outcome(Path(cell)) == outcome(Path(f"straight{seed}"))

    figures = concord.study(study_settings(), "study", jobs=1, allow_code=["study_net:make"], report=False)
    assert [cell["seed"] for cell in figures["cells"]] == [0, 1]


@pytest.mark.fault(21)
def test_of_two_studies_in_one_folder_the_second_names_the_first_and_leaves_it_alone(here, start):
    """Begun at the same moment; then a third while one is at work."""
    pair = [start("twice"), start("twice")]
    wait_for(lambda: any(process.poll() is not None for process in pair))
    refused, at_work = sorted(pair, key=lambda process: process.poll() is None)
    for process in (refused, start("twice")):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 2, err
        said = json.loads(out)["error"]
        assert re.fullmatch(
            rf"twice is in use by process ({at_work.pid}|\?)", said
        )  # ?: not written down yet
        assert err == f"concord: {said}\n"
    wait_for(lambda: any(map(is_worker, group(at_work))) or at_work.poll() is not None)
    assert at_work.poll() is None
    os.killpg(at_work.pid, signal.SIGTERM)
    _, err = at_work.communicate(timeout=60)
    assert at_work.returncode == 75, err


def test_ctrl_c_while_the_processes_start_is_a_stop_like_any_other(here, start):
    process = start("fresh")
    wait_for(lambda: any(map(is_worker, group(process))))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "Traceback" not in err


def study_settings():
    from concord.runs import toml

    return toml.read(Path("study/study.toml"))


def is_worker(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.mark.parametrize("jobs", [0, -1])
def test_a_number_of_processes_below_one_is_refused(jobs, here):
    settings = {"members": [{"name": "a", "network": "noel2017_st"}], "study": {"seeds": [0]}}
    with pytest.raises(UsageError, match="--jobs is a number of processes, at least 1"):
        concord.study(settings, f"jobs{jobs}", jobs=jobs)


def test_only_divergence_is_a_result_of_a_cell(here, monkeypatch):
    """A full disk, a wrong network or a stop end the study; the next ones would fail in the same way."""

    settings = {"members": [{"name": "a", "network": "noel2017_st"}], "study": {"seeds": [0]}}
    for error in (ResourceError("the disk is full"), UsageError("no network"), StoppedError("not started")):
        monkeypatch.setattr(studies, "run_all", lambda f, cells, *a, e=error: ((c, e) for c in cells))
        with pytest.raises(type(error)):
            concord.study(settings, "ends")
