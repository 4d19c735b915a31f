"""SIGTERM and Ctrl-C: saved within one step whatever is going on, and the resume is exact."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from data_made import write_image
from run_made import FACTORY, call, outcome, write_npz

from concord.cli import app, progress
from concord.data.images import pictures
from concord.errors import amount
from concord.runs import assemble, folder, machine
from concord.training import checkpoint, fit

EPOCHS = 4
ARGUMENTS = ["--data", "data.npz", "--members", "a=own_net:make,b=own_net:make", "--consensus", "l2"]
ARGUMENTS += ["--weight", "0.1", "--epochs", EPOCHS, "--batch-size", "8", "--set", "train.threads=1"]
ARGUMENTS += ["--set", "train.precision=float32", "--set", "augment.shift=1"]
ALLOW = ["--allow-code", "own_net:make"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with data, a network with dropout, and what an uninterrupted run leaves."""
    folder = tmp_path_factory.mktemp("signals")
    (folder / "own_net.py").write_text(FACTORY)
    write_npz(folder / "data.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as left:
            app.main(["train", *map(str, ARGUMENTS), "--out", "straight", "--quiet"])
    assert left.value.code == 0
    return folder


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


def once(number, *, at=1):
    """A function that sends this process a signal at its n-th call."""
    calls = 0

    def act():
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), number)

    return act


def before(monkeypatch, place, name, act):
    real = getattr(place, name)

    def wrapped(*arguments, **options):
        act()
        return real(*arguments, **options)

    monkeypatch.setattr(place, name, wrapped)


PHASES = {
    "start-up": (assemble, "load_data", 1, 0),
    "members are built": (assemble, "build_members", 1, 0),
    "first update": (progress.Quiet, "update", 1, 1),
    "mid-epoch": (progress.Quiet, "update", 10, 10),
    "last update of an epoch": (progress.Quiet, "update", 7, 7),
    "evaluation": (fit, "evaluate", 2, 14),
    "last evaluation": (fit, "evaluate", EPOCHS + 1, 28),
    "saving": (checkpoint, "save", 2, 15),
    "writing metrics": (folder.RunFolder, "append", 1, 8),
}


@pytest.mark.fault(3)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_at_any_phase_is_saved_within_one_step_and_resumes_exactly(
    phase, number, here, tmp_path, monkeypatch, capfd
):
    place, name, at, updates = PHASES[phase]
    run = tmp_path / "run"
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        before(patch, place, name, once(number, at=at))
        status, out, err = call(capfd, "train", *ARGUMENTS, "--out", run, "--quiet")
    assert (status, out) == (75, "")
    assert "stopping after this step; a second Ctrl-C quits without saving" in err
    assert f"stopped after {amount(updates, 'update')}, saved: `concord resume" in err
    assert checkpoint.steps(run / "ckpt")[-1].name == f"step-{updates:08d}"
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    status, _, _ = call(capfd, "resume", run, "--quiet", *ALLOW)
    assert status == 0
    assert outcome(run) == outcome(here / "straight")


def test_a_signal_before_anything_runs_is_an_interruption(here, monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(assemble, "load_data", interrupt)
    assert call(capsys, "train", *ARGUMENTS, "--out", "never", "--quiet")[0] == 130
    assert not Path("never").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_while_images_are_decoded_ends_that_and_changes_nothing(
    number, here, tmp_path, monkeypatch, capfd
):
    for i in range(40):
        write_image(tmp_path / "photos" / "ab"[i % 2] / f"{i}.png", i, size=(6, 6))
    run, line = tmp_path / "run", ["--data", tmp_path / "photos", *ARGUMENTS[2:], "--quiet"]
    with monkeypatch.context() as patch:
        before(patch, pictures.decode, "image", once(number, at=3))
        status, out, err = call(capfd, "train", *line, "--out", run)
    assert (status, out, run.exists()) == (75, "", False)
    assert "of 40 images; nothing was changed, and the same command starts over" in err
    with monkeypatch.context() as patch:
        before(patch, progress.Quiet, "update", once(number, at=6))
        assert call(capfd, "train", *line, "--out", run)[0] == 75
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        before(patch, pictures.decode, "image", once(number, at=3))
        status, _, err = call(capfd, "resume", run, "--quiet", *ALLOW)
    assert (status, "nothing was changed" in err) == (75, True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == files
    assert call(capfd, "resume", run, "--quiet", *ALLOW)[0] == 0


def test_outside_the_main_thread_no_signal_is_asked_for():
    from concurrent.futures import ThreadPoolExecutor

    def ask():
        with progress.stop_flag() as stop:
            return stop()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result() is False


class Backwards(datetime):
    """A clock that stands an hour earlier at every look."""

    hours = 0

    @classmethod
    def now(cls, tz=None):
        cls.hours += 1
        return datetime(2030, 1, 1, tzinfo=tz) - timedelta(hours=cls.hours)


@pytest.mark.fault(22)
def test_a_clock_that_runs_backwards_changes_nothing(here, tmp_path, monkeypatch, capsys):
    """Before the stop and after it; the checkpoints seem to be made in the future, the newest one first."""
    run = tmp_path / "run"
    monkeypatch.setattr(time, "time", lambda: Backwards.now().timestamp())
    monkeypatch.setattr(machine, "datetime", Backwards)
    with monkeypatch.context() as patch:
        before(patch, progress.Quiet, "update", once(signal.SIGTERM, at=17))
        assert call(capsys, "train", *ARGUMENTS, "--out", run, "--quiet")[0] == 75
    steps = checkpoint.steps(run / "ckpt")
    assert len(steps) > 1
    for age, path in enumerate(steps):
        for file in (*path.iterdir(), path):
            os.utime(file, (4e9 - age, 4e9 - age))
    started = json.loads((run / "stamp.json").read_text())["started"]
    status, out, err = call(capsys, "resume", run, "--json", *ALLOW)
    assert status == 0
    assert json.loads((run / "stamp.json").read_text())["started"] == started
    assert started.startswith("2029-12-31T")
    assert outcome(run) == outcome(here / "straight")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    said = json.loads(out)
    assert said["seconds"] == pytest.approx(sum(row["seconds"] for row in rows))
    assert all(row["seconds"] > 0 and row["samples_per_second"] > 0 for row in [*rows, said])
    assert err.count("epoch ") == 2  # of the two epochs after the stop, with no line of waiting in between


# Real processes


def start(*arguments, home=None):
    environment = os.environ | {"HOME": home or os.environ.get("HOME", "/")}
    return subprocess.Popen(
        [sys.executable, "-m", "concord", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def listens(process):
    """Whether the process has a handler for SIGTERM by now."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1


@pytest.mark.fault(22)
def test_a_real_process_is_stopped_before_torch_is_imported_then_in_training_and_ends_exactly(
    here, tmp_path, capsys
):
    """In a folder with a name of spaces, letters and a line break, without a home that can be written to."""
    run = tmp_path / "run ü 漢\n1"
    long = ["--set", "train.checkpoint_seconds=0.0"]
    process = start("train", *ARGUMENTS, *long, "--out", run, home="/proc/nowhere")
    wait_for(lambda: listens(process), process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert err == "concord: interrupted; nothing was being saved\n"
    assert not run.exists()

    process = start("train", *ARGUMENTS, *long, "--out", run, home="/proc/nowhere")
    wait_for(lambda: checkpoint.steps(run / "ckpt"), process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (75, ""), err
    assert re.search(r"stopped after \d+ updates, saved", err)
    assert f"concord resume '{run}'" in err  # quoted for a shell
    assert err.count("a second Ctrl-C quits without saving") == 1
    assert "Traceback" not in err

    process = start("resume", run, *ALLOW, home="/proc/nowhere")
    wait_for(lambda: (run / ".lock").read_text() == str(process.pid), process)
    os.kill(process.pid, signal.SIGSTOP)
    status, _, err = call(capsys, "resume", run, *ALLOW)
    assert (status, f"is in use by process {process.pid}" in err) == (2, True)
    os.kill(process.pid, signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (75, 0)

    assert call(capsys, "resume", run, "--quiet", *ALLOW)[0] == 0
    name, files, rows = outcome(here / "straight")
    assert outcome(run)[:2] == (name, files)
    assert outcome(run)[2][1:] == rows[1:]


SLEEPING = """
import time

class Slow(nn.Flatten):
    def forward(self, x):
        if self.training and len(x) > 2:  # not while it is tried on two samples
            time.sleep(60)
        return super().forward(x)

def make"""
SLOW = FACTORY.replace("def make", SLEEPING).replace("nn.Flatten(),", "Slow(),")


@pytest.mark.fault(3)
def test_the_second_signal_ends_the_process_at_once(here):
    (here / "slow_net.py").write_text(SLOW)
    process = start("train", "--data", "data.npz", "--members", "slow_net:make", "--out", "slow")
    wait_for(lambda: Path("slow/.lock").exists() and Path("slow/.lock").read_text(), process)
    time.sleep(0.3)  # now it sleeps in its first update
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    assert err.count("a second Ctrl-C quits without saving") == 1
    assert checkpoint.steps(Path("slow/ckpt")) == []


def test_a_verb_that_is_done_ends_with_its_status_and_all_that_was_registered_for_the_end():
    code = "import atexit, sys, threading, time\nfrom concord.cli import signals\nsignals.listen()\n"
    code += "atexit.register(print, 'registered')\n"
    code += "threading.Thread(target=lambda: (time.sleep(0.1), print('a thread'))).start()\n"
    code += "class Slow:\n    def __del__(self):\n        print('taken down')\n"
    code += "kept = Slow()\nkept.itself = kept\n"
    code += "signals.PROCESS.leaving(3)\nsys.exit(3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.split("\n") == ["a thread", "registered", ""]
