"""Where results may be written: no verb makes a tree of folders of a mistyped path, or works long for it."""

from pathlib import Path

import pytest
from run_made import call

from concord.errors import UsageError
from concord.files.place import require_folder_of

FILES = {  # without a run, a network or data: the path is looked at first
    "predict --csv": ["predict", "{run}", "x.png", "--csv", "{here}/rusn/labels.csv"],
    "export --to": ["export", "{run}", "--to", "{here}/rusn/a.onnx"],
    "export --script": ["export", "{run}", "--to", "{here}/a.onnx", "--script", "{here}/rusn/a.py"],
    "report --to": ["report", "{run}", "--to", "{here}/rusn/report.html"],
    "cost --html": ["cost", "lenet5", "--html", "{here}/rusn/cost.html"],
    "baseline --out": ["baseline", "knn", "--out", "{here}/rusn/table.md"],
}


@pytest.mark.parametrize("line", FILES.values(), ids=FILES)
def test_a_path_in_a_folder_that_does_not_exist_is_refused_first_and_makes_nothing(line, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    before = sorted(tmp_path.rglob("*"))
    given = [text.format(run="no-run", here=tmp_path) for text in line]
    status, out, err = call(capsys, *given)
    assert (status, out) == (2, "")
    assert (
        "does not exist (did you mean 'runs'?); correct the path, or make the folder first: mkdir -p" in err
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_relative_file_lies_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_folder_of(Path("a.csv"))
    with pytest.raises(UsageError, match=r"mkdir -p '.*a b'"):
        require_folder_of(Path("a b/a.csv"))


def test_what_lies_in_a_file_is_left_to_who_writes_it(tmp_path):
    (tmp_path / "file").touch()
    require_folder_of(tmp_path / "file" / "sub" / "a.csv")


def test_a_study_of_a_wrong_number_of_jobs_makes_no_folder(tmp_path, capsys):
    line = ["study", "--members", "lenet5,lenet5", "--jobs", "0", "--out", tmp_path / "study"]
    status, _, err = call(capsys, *line)
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert "--jobs is a number of processes, at least 1, got 0" in err


def test_pictures_to_decode_that_are_not_there_are_named(tmp_path, capsys):
    status, _, err = call(capsys, "bench", "decode", tmp_path / "none")
    assert (status, "none: expected a folder that holds a folder of pictures" in err) == (3, True)
