"""Twenty kills at random moments, twenty exact resumes (``pytest --soak -s tests/test_soak_kills.py``)."""

import hashlib
import os
import random
import subprocess
import sys
import time

import pytest

from concord.training import checkpoint

RUNS = 20  # with one kill at least
EPOCHS = 4
TRAIN = ["train", "--members", "st=noel2017_st,m=noel2017_m", "--consensus", "l2", "--weight", "0.01"]
TRAIN += ["--epochs", EPOCHS, "--set", "train.checkpoint_seconds=0.5", "--set", "train.threads=1"]
TRAIN += ["--set", "data.valid=0.2"]


def tell(text):
    print(text, flush=True)  # noqa: T201 - the table is what this test is for


def start(*arguments):
    command = [sys.executable, "-m", "concord", *map(str, arguments), "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, err = process.communicate()
    assert process.returncode == 0, err


def begun(run):
    """What changes as soon as a training has saved something."""
    return [p.name for p in checkpoint.steps(run / "ckpt")]


def kill(process, run, seconds, in_training):
    """Kill after so many seconds, counted from the first new checkpoint if ``in_training``.

    Gives whether it was still running then.
    """
    before = begun(run)
    while in_training and process.poll() is None and begun(run) == before:
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    return process.returncode == -9


def weights(run):
    """SHA-256 over all members of the last checkpoint."""
    last = checkpoint.steps(run / "ckpt")[-1]
    digest = hashlib.sha256()
    for file in sorted(last.glob("member-*.safetensors")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def state_of(run):
    """Where a killed run stood, for the table."""
    if not (run / "config.toml").exists():
        return "no run yet"
    steps = checkpoint.steps(run / "ckpt")
    left = [p.name for p in (run / "ckpt").glob("*.tmp-*")]
    at = f"{steps[-1].name}" if steps else "no checkpoint yet"
    return f"{at}{'  in a save' if left else ''}{'  complete' if (run / 'result.json').exists() else ''}"


def go_on(run):
    return start("resume", run) if (run / "config.toml").exists() else start(*TRAIN, "--out", run)


def uninterrupted(run):
    """Seconds from the start, and from the first checkpoint, to the end of a training."""
    start_time = time.monotonic()
    process = start(*TRAIN, "--out", run)
    while not begun(run):
        time.sleep(0.01)
    first = time.monotonic()
    finish(process)
    return time.monotonic() - start_time, time.monotonic() - first


@pytest.mark.fault(2)
@pytest.mark.soak
def test_twenty_kills_at_random_moments_are_twenty_exact_resumes(tmp_path):
    whole, training = uninterrupted(tmp_path / "straight")
    expected = weights(tmp_path / "straight")
    numbers = random.Random(int(os.environ.get("CONCORD_SOAK_SEED", "0")))
    tell(f"\nuninterrupted: {whole:.1f} s, {training:.1f} s of it in training; weights {expected[:16]}")

    kills = trial = exact = 0
    while exact < RUNS:
        trial += 1
        run = tmp_path / f"run{trial}"
        killed = 0
        for _ in range(1 + (numbers.random() < 0.4)):  # some are killed again while they resume
            in_training = numbers.random() < 0.7  # the imports take most of the time and are dull
            moment = numbers.uniform(0, training if in_training else whole)
            place = f"{moment:5.2f} s after {'its first save' if in_training else 'the start'}"
            if kill(go_on(run), run, moment, in_training):
                killed += 1
                tell(f"run {trial:2}, killed {place:28} {state_of(run)}")
            else:
                tell(f"run {trial:2}, done   {place:28}")
        finish(go_on(run))
        assert weights(run) == expected, f"run {trial} ended with other weights"
        exact += killed > 0
        kills += killed
    tell(f"{kills} kills in {exact} runs; {exact} of {exact} ended with the weights of the uninterrupted one")
