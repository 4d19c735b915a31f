"""The examples of docs/python.md: they run as one program, and their types are complete."""

import subprocess
import sys

import pytest
from python_made import EXAMPLES, START, quicker, write_photos

REVEALED = """
reveal_type(ensemble.evaluate((x_test, y_test)).members["small"].error)
reveal_type(scores.ensemble)
reveal_type(history.best_epoch)
reveal_type(history.test.members["small"].nll)
reveal_type(run.result)
reveal_type(run.result.members["st"].test_error)
reveal_type(again.evaluate((x, y)).members["small"].ece)
reveal_type(ensemble["small"])
reveal_type(small.evaluate((x, y)).error)
reveal_type(step.losses)
reveal_type(concord.load("runs/a"))
reveal_type(page)
"""
TYPES = [
    "float",
    "concord.tasks.classify.Figures",
    "int",
    "float",
    "concord.runs.result.Result | concord.runs.sequences.result.SequenceResult"
    " | concord.runs.vision.result.VisionResult[Any]",
    "float | Any",
    "float",
    "torch.nn.modules.module.Module",
    "float",
    "torch._tensor.Tensor",
    "concord.api.run.Run",
    "pathlib.Path",
]


def test_the_examples_run_in_one_file(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="one example exports to ONNX: needs the extra export")
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos/cat")
    names = {"__name__": "examples"}
    exec(compile(quicker(START + "\n".join(EXAMPLES)), "docs/python.md", "exec"), names)
    assert names["p"].shape == (5, 3)
    assert names["p"].sum(1).tolist() == pytest.approx([1] * 5)
    assert len(names["labels"]) == 3
    assert {path.name for path in tmp_path.glob("runs/*/report.html")} == {"report.html"}
    assert (tmp_path / "st.onnx").is_file()
    assert not capsys.readouterr().err  # what the examples print themselves is on stdout


def test_the_examples_are_typed(tmp_path):
    program = "\n".join([START, *EXAMPLES, REVEALED])
    (tmp_path / "examples.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "examples.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    shown = [
        line.partition('Revealed type is "')[2][:-1] for line in done.stdout.splitlines() if "Rev" in line
    ]
    assert [line for line in done.stdout.splitlines() if "error" in line] == []
    assert [kind.removeprefix("builtins.") for kind in shown] == TYPES
    assert done.returncode == 0
