"""Ctrl-C and SIGTERM at moments spread over a whole command: few, or with ``--soak`` forty of every verb."""

import os
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest
from data_made import write_image
from run_made import FACTORY, group, write_npz

from concord.cli import app, signals

NUMBERS = (signal.SIGINT, signal.SIGTERM)
MOMENTS = 40  # of every verb, with --soak
FEW = 2  # of the first verbs, without
PATIENCE = 60  # seconds after which an end is no answer to the signal any more
TRAIN = ["train", "--data", "data.npz", "--members", "a=own_net:make,b=own_net:make", "--epochs", "2"]
TRAIN += ["--set", "train.threads=1"]
STUDY = ["study", *TRAIN[1:-2], "--seeds", "2", "--jobs", "2"]
ALLOW = ["--allow-code", "own_net:make"]
VERBS = {
    "train": [*TRAIN, "--out", "{new}"],
    "predict": ["predict", "run", "photos", *ALLOW],
    "report": ["report", "run", "--to", "{new}/report.html", *ALLOW],
    "export": ["export", "run", "--member", "a", "--to", "{new}/a.onnx", *ALLOW],
}
MORE = {
    "study": [*STUDY, "--out", "{new}"],
    "eval": ["eval", "run", *ALLOW],
    "attack": ["attack", "run", "--out", "{new}", *ALLOW],
    "cost": ["cost", "resnet18"],
    "data check": ["data", "check", "photos"],
    "baseline": ["baseline", "svm_linear", "knn", "--data", "data.npz"],
    "doctor": ["doctor"],
    "train with workers": [*TRAIN, "--set", "data.workers=2", "--out", "{new}"],
}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moments")
    (folder / "own_net.py").write_text(FACTORY)
    write_npz(folder / "data.npz")
    for i in range(20):
        write_image(folder / "photos" / "ab"[i % 2] / f"{i}.png", i, size=(6, 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as left:
            app.main([*TRAIN, "--out", "run", "--quiet"])
        assert left.value.code == 0
        yield folder


def begin(verb, new):
    """The command in a group of its own, from the moment at which it hears signals."""
    new.mkdir(exist_ok=True)  # a file is not written into a folder that does not exist
    line = [part.format(new=new) for part in (VERBS | MORE)[verb]]
    process = subprocess.Popen(
        [sys.executable, "-m", "concord", *line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not hears(process):
        time.sleep(0.001)
    return process


def hears(process):
    """Whether the process has handlers of its own for both signals; Python begins with one for Ctrl-C."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return all(caught >> (number - 1) & 1 for number in NUMBERS)


def uninterrupted(verb, new):
    began = time.monotonic()
    process = begin(verb, new)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return time.monotonic() - began


def struck(verb, new, moment, number):
    """Seconds from the signal to the end, after a look at how the command ended."""
    process = begin(verb, new)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    sent = time.monotonic()
    _, err = process.communicate(timeout=PATIENCE)
    took = time.monotonic() - sent
    assert process.returncode in (0, 75, 130), err
    assert "Traceback" not in err
    if process.returncode:
        assert err.splitlines()[-1].startswith("concord: "), err
    while group(process):
        assert time.monotonic() - sent < PATIENCE, "a process of the command is left"
        time.sleep(0.05)
    assert not [path for path in new.rglob("*.tmp-*") if process.returncode == 130]
    return took


def strike(verb, folder, moments):
    """The longest answer to a signal at one of so many moments."""
    whole = uninterrupted(verb, folder / "whole")
    numbers = cycle(NUMBERS)
    places = [(i + 0.5) / moments * whole for i in range(moments)]
    return max(struck(verb, folder / f"new{i}", place, next(numbers)) for i, place in enumerate(places))


@pytest.mark.fault(3)
@pytest.mark.parametrize("verb", VERBS)
def test_a_signal_at_any_moment_ends_the_command_without_a_traceback(verb, here, tmp_path):
    strike(verb, tmp_path, FEW)


@pytest.mark.fault(3)
@pytest.mark.soak
@pytest.mark.parametrize("verb", [*VERBS, *MORE])
def test_forty_moments_of_every_verb(verb, here, tmp_path):
    longest = strike(verb, tmp_path, MOMENTS)
    print(f"{verb}: the longest answer took {longest:.2f} s")  # noqa: T201 - what --soak -s is for


def test_importing_the_command_line_installs_nothing():
    code = "import signal, concord.cli.app, concord.__main__; print(signal.getsignal(signal.SIGTERM))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert found.stdout.strip() == str(signal.SIG_DFL), found.stderr


def test_what_is_half_written_is_removed_and_links_are_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    half = tmp_path / "half"
    (half / "deep").mkdir(parents=True)
    (half / "deep" / "part").touch()
    (half / "link").symlink_to(kept)
    code = "import sys\nfrom pathlib import Path\n"
    code += "from concord.cli import signals\nfrom concord.files import atomic\n"
    code += "atomic.UNFINISHED.update(map(Path, sys.argv[1:]))\nsignals.quit_at_once(130, 'told')\n"
    lone = tmp_path / "lone"
    lone.touch()
    command = [sys.executable, "-c", code, str(half), str(lone), str(tmp_path / "gone")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (130, "concord: told\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (kept / "file").exists()


def listening(code, *, cwd=None):
    """What a process does that hears signals as the command does, and then runs this code."""
    head = "import atexit, gc, os, signal, sys, threading, time\nfrom concord.cli import signals\n"
    command = [sys.executable, "-c", head + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=cwd)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_that_comes_before_the_thread_of_signals_runs_is_not_lost(number):
    code = "start = threading.Thread.start\n"
    code += f"def struck(thread):\n    os.kill(os.getpid(), {int(number)})\n    start(thread)\n"
    code += "threading.Thread.start = struck\nsignals.listen()\ntime.sleep(30)\nprint('deaf')"
    found = listening(code)
    assert (found.returncode, found.stdout) == (130, ""), found.stderr
    assert found.stderr == f"concord: {signals.NOTHING_SAVED}\n"


def test_importing_torch_makes_no_full_collection():
    found = listening("signals.listen()\nimport torch\nprint(gc.get_stats()[2]['collections'])")
    assert found.stdout == "0\n", found.stderr


@pytest.mark.parametrize(("asked", "shown"), [(False, "taken down"), (True, "")])
def test_a_command_that_was_stopped_is_not_taken_down_piece_by_piece(asked, shown):
    code = f"signals.listen()\natexit.register(print, 'taken down')\nsignals.PROCESS.asked = {asked}\n"
    found = listening(code + "signals.PROCESS.leaving(75)\nsys.exit(75)")
    assert (found.returncode, found.stdout.strip()) == (75, shown)


@pytest.mark.fault(3)
def test_a_signal_after_an_early_stop_ends_the_process_with_everything_saved(here, tmp_path):
    line = [*TRAIN[:-4], "--epochs", "90", "--set", "train.threads=1", "--set", "train.patience=1"]
    line += ["--set", "train.optimizer.lr=1e-5", "--out", str(tmp_path / "run"), "--quiet"]
    code = "from concord.runs import assemble\n"
    code += "def count(*given):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(30)\n"
    code += f"assemble.costs = count\nsys.argv[1:] = {line!r}\nfrom concord.__main__ import main\nmain()"
    found = listening(code, cwd=here)
    assert (found.returncode, found.stdout) == (75, ""), found.stderr
    assert found.stderr.splitlines()[-1] == f"concord: {signals.ALL_SAVED}"
    epochs = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(epochs) < 90
