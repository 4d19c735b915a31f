"""What a training shows: a bar on a terminal, lines through a pipe, no colour for those who want none."""

import os
import pty
import re
import subprocess
import sys

import pytest
import torch
from run_made import FACTORY, write_npz

from concord.cli import progress
from concord.training.loop import Step

COMMAND = [sys.executable, "-m", "concord", "train", "--data", "data.npz"]
COMMAND += ["--members", "a=progress_net:make,b=progress_net:make", "--epochs", "1", "--batch-size", "8"]
COMMAND += ["--set", "train.threads=1", "--set", "train.precision=float32"]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SCORES = r"a \d+\.\d\d  b \d+\.\d\d  ensemble \d+\.\d\d  agreement \d+\.\d"
LINE = rf"epoch   1/1  valid error %: {SCORES}  \d+ samples/s"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("progress")
    (folder / "progress_net.py").write_text(FACTORY)
    write_npz(folder / "data.npz")
    return folder


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return kept | {"TERM": "xterm-256color", "COLUMNS": "90"} | more


def on_a_terminal(command, folder, **more):
    """Status and everything that a terminal of 90 columns is sent."""
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        command, stdin=other_end, stdout=other_end, stderr=other_end, cwd=folder, env=environment(**more)
    )
    os.close(other_end)
    sent = b""
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # Linux says so when nobody is left at the other end
            break
        if not piece:
            break
        sent += piece
    os.close(terminal)
    return process.wait(), sent.decode()


def test_a_terminal_shows_a_bar_with_epoch_loss_agreement_and_images_per_second(here):
    status, sent = on_a_terminal([*COMMAND, "--out", "colour"], here)
    assert status == 0
    assert COLOUR.search(sent)
    frames = COLOUR.sub("", sent).split("\r")
    told = r"epoch 1/1 .*━.* 7/7 loss \d\.\d{3} \d\.\d{3}  agree (\d+) %  (\d+) samples/s 0:00:00"
    last = [found for frame in frames if (found := re.search(told, frame))][-1]
    assert int(last[1]) <= 100
    assert int(last[2]) > 0
    assert re.search(LINE, sent.replace("\r\n", "\n"))
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 1  # the cursor is hidden, and there again


def test_no_color_is_respected(here):
    status, sent = on_a_terminal([*COMMAND, "--out", "grey"], here, NO_COLOR="1")
    assert status == 0
    assert "samples/s" in sent
    assert not COLOUR.search(sent)


def test_through_a_pipe_come_plain_lines(here):
    command = [*COMMAND, "--out", "plain"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=here, env=environment())
    assert done.returncode == 0
    assert re.fullmatch(rf"concord: {LINE}\n", done.stderr)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr


class Shown:
    """In place of rich's progress: what it is given."""

    def __init__(self):
        self.fields = {}

    def add_task(self, name, **fields):
        return 0

    def update(self, task, **fields):
        self.fields |= fields


def test_the_bar_by_hand(monkeypatch):
    """Of three images the members name two alike; three images in two seconds, then six in one."""
    clock = iter([0.0, 10.0, 10.0, 10.0, 12.0, 13.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    shown = Shown()
    bar = progress.Bar(shown)
    bar.started(epochs=3, steps=6)
    labels = torch.tensor([0, 1, 0])
    first = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    second = torch.tensor([[1.0, 0.0], [0.0, 5.0], [0.0, 1.0]])
    for index in (0, 9, 10):
        losses = torch.tensor([0.5, 0.25 + index])
        bar.update(Step(index, losses, torch.tensor(0.0), 0.1, (first, second), (labels, labels), 3))
        if index == 0:
            expected = {"completed": 1, "description": "epoch 1/3"}
            assert shown.fields == expected | {"figures": "loss 0.500 0.250  agree 67 %  2 samples/s"}
    expected = {"completed": 11, "description": "epoch 2/3"}
    assert shown.fields == expected | {"figures": "loss 0.500 10.250  agree 67 %  6 samples/s"}


def test_outputs_that_are_read_as_boxes_have_no_classes_to_agree_on():
    shown = Shown()
    bar = progress.Bar(shown)
    bar.started(epochs=1, steps=1)
    target = {"boxes": torch.zeros(4, 1, 4), "labels": torch.zeros(4, 1)}
    numbers = (torch.zeros(4, 30),) * 2  # of YOLO v1, one row for each picture
    bar.update(Step(0, torch.zeros(2), torch.tensor(0.0), 0.0, numbers, (target, target), 4))
    assert shown.fields["figures"].startswith("loss 0.000 0.000")
    assert "agree" not in shown.fields["figures"]


def test_one_member_agrees_with_nobody():
    shown = Shown()
    one = torch.zeros(4, 2)
    bar = progress.Bar(shown)
    bar.started(epochs=1, steps=1)
    bar.update(Step(0, torch.zeros(1), torch.tensor(0.0), 0.0, (one,), (torch.zeros(4),), 4))
    assert "agree" not in shown.fields["figures"]


def test_reading_many_images_is_told_every_ten_seconds_and_not_when_quiet(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    for shown in (progress.Lines(), progress.Quiet()):
        for done in range(1, 31):
            clock[0] += 0.9
            shown.counted(1000 * done, 30_000)
    assert capsys.readouterr().err.splitlines() == [
        "concord: read 12,000 of 30,000",
        "concord: read 24,000 of 30,000",
    ]


def test_on_a_terminal_the_lines_of_parts_have_their_numbers_too():
    class Shown:
        def __init__(self):
            self.lines, self.console = [], self

        def add_task(self, name, total):
            return 0

        def update(self, task, completed, total):
            self.state = (completed, total)

        def print(self, text, **_):
            self.lines.append(text)

    shown = Shown()
    bar = progress.TallyBar(shown)
    bar.counted(0, 2)
    bar.notice("before the first")
    bar.counted(1, 2)
    bar.notice("small at eps 0.1")
    assert shown.state == (1, 2)
    assert shown.lines[0] == "before the first"
    assert shown.lines[1].startswith("  1/2  small at eps 0.1  (about ")


def test_the_next_stage_of_a_job_has_a_time_left_of_its_own(monkeypatch):
    """The first stage took 100 s; of the second, one of four was there already and the next took 5 s."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = progress.Tally()
    for now, done, total in ((0.0, 0, 4), (100.0, 4, 4), (100.0, 1, 4), (105.0, 2, 4)):
        clock[0] = now
        shown.counted(done, total)
    assert shown.left() == 2 * 5


def test_the_time_left_is_that_of_what_was_done_since_the_beginning(monkeypatch, capsys):
    """A study of 11 runs continues after 2: its next three take 12 seconds, so the other six take 24."""
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = progress.Tally()
    clock[0] = 107.0  # the two are found, which takes time
    shown.counted(2, 11)
    shown.notice("two are there already")
    for done, seconds, left in ((3, 2.0, 16), (4, 6.0, 21), (5, 12.0, 24), (11, 30.0, 0)):
        clock[0] = 107.0 + seconds
        shown.counted(done, 11)
        assert shown.left() == left
        shown.notice(f"run {done}")
        shown.notice("a notice without a run")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "concord: two are there already",
        "concord:   3/11  run 3  (about 16 s left)",
        "concord: a notice without a run",
    ]
    assert lines[-2] == "concord:  11/11  run 11  (about 0 s left)"
