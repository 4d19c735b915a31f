"""Trainings on masks and boxes, killed within an epoch: the resume gives the same bits."""

import json
import os
import signal
import subprocess
import sys

import pytest
from run_made import call, outcome
from vision_runs_made import tables, write_data

import concord
from concord.training import checkpoint

# a process of its own that kills itself at an update, with no chance to save anything
KILLED = """
import json, os, signal, sys
import concord
from concord.training.observer import Silent

class Kill(Silent):
    def update(self, step):
        if step.index == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

concord.train(json.loads(sys.argv[1]), sys.argv[2], observer=Kill())
"""
STEPS = 4  # of an epoch, at least
KINDS = {
    "masks": ("segment", {"augment": {"deform": 2.0, "flip": True}, "segment": {"border": 5.0}, "ema": 0.9}),
    "masks, with processes": ("segment", {"data": {"workers": 2}}),
    "boxes": ("detect", {"augment": {"mosaic": 0.5, "jitter": 0.1}}),
    "boxes at scales, with processes": ("detect", {"data": {"workers": 2}, "detect": {"scales": True}}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_within_an_epoch_ends_with_the_same_bits(kind, tmp_path, capsys):
    task, more = KINDS[kind]
    settings = tables(task, write_data(tmp_path, task), batch_size=2, checkpoint_seconds=0.0, **more)
    concord.train(settings, tmp_path / "whole")
    command = [sys.executable, "-c", KILLED, json.dumps(settings), str(tmp_path / "parts"), str(STEPS + 2)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    last = checkpoint.steps(tmp_path / "parts/ckpt")[-1]
    position = json.loads((last / "state.json").read_text())["position"]
    assert position["step"] > 0, position  # within an epoch
    assert not (tmp_path / "parts/result.json").exists()
    status, _, err = call(capsys, "resume", tmp_path / "parts", "--quiet")
    assert status == 0, err
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")
