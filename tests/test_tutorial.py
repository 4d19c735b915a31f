"""The tutorial, followed but for the number of epochs: its commands run and print what it shows."""

import io
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from concord.cli import app

TEXT = (Path(__file__).parent.parent / "docs/tutorial.md").read_text()
SHOWN = re.findall(r"```console\n\$ concord (.*?)\n```\n(?:\n```text\n(.*?)```)?", TEXT, re.DOTALL)
EPOCHS = 1  # in place of 20


def run(command):
    """Standard output of one command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        app.main(shlex.split(command))
    assert left.value.code == 0, err.getvalue()
    return out.getvalue()


def shape(line, command):
    """The line without its numbers; of a prediction the file alone: the label depends on the training."""
    if command.startswith("predict"):
        return line.split(" ")[0]
    return re.sub(r"[0-9.,]*[0-9]", "#", re.sub(r"-+", "-", re.sub(r" +", " ", line)))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def printed(home):
    """Command -> what it printed, all in one folder and in the order of the tutorial."""
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        exec(compile(code, "docs/tutorial.md", "exec"), {})
        for command, text in SHOWN:
            if text:
                found[command] = run(re.sub("--epochs [0-9]+", f"--epochs {EPOCHS}", command))
    return found


def test_the_tutorial_shows_seven_commands_with_their_output():
    verbs = [command.split()[0] for command, text in SHOWN if text]
    assert verbs == ["data", "train", "eval", "predict", "cost", "report", "export"]


@pytest.mark.parametrize(("command", "text"), [(c, t) for c, t in SHOWN if t], ids=lambda value: value[:9])
def test_commands_print_what_the_tutorial_shows(printed, command, text):
    lines = [shape(line, command) for line in text.splitlines()]
    given = [shape(line, command) for line in printed[command].splitlines()]
    if "..." in lines:
        given = [*given[: lines.index("...")], "..."]
    assert given == lines


def test_what_does_not_depend_on_a_training_is_shown_to_the_letter(printed):
    for command, text in SHOWN:
        if command.startswith(("data", "cost")):
            assert printed[command].rstrip() == text.rstrip()


def test_the_script_gives_the_labels_that_predict_gives(printed, home):
    """With the files of the tutorial, by an interpreter that has nothing of concord loaded."""
    pictures = ["photos/lake/00.png", "photos/trees/00.png"]
    done = subprocess.run(
        [sys.executable, "label.py", *pictures], cwd=home, capture_output=True, text=True, check=True
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert done.stdout == run(f"predict runs/photos {' '.join(pictures)} --member small")
