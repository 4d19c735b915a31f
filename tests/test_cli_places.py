"""Where results may be written: no verb makes a tree of folders of a mistyped path, or works long for it."""

import pytest
from run_made import call

from concord.errors import UsageError
from concord.files.place import require_folder_of, require_near

FILES = {  # without a run, a network or data: the path is looked at first
    "predict --csv": ["predict", "{run}", "x.png", "--csv", "{here}/rusn/labels.csv"],
    "export --to": ["export", "{run}", "--to", "{here}/rusn/a.onnx"],
    "export --script": ["export", "{run}", "--to", "{here}/a.onnx", "--script", "{here}/rusn/a.py"],
    "report --to": ["report", "{run}", "--to", "{here}/rusn/report.html"],
    "cost --html": ["cost", "lenet5", "--html", "{here}/rusn/cost.html"],
    "baseline --out": ["baseline", "knn", "--out", "{here}/rusn/table.md"],
}
TRAIN = ["--data", "nowhere", "--members", "lenet5"]
FOLDERS = {
    "train --out": ["train", *TRAIN, "--out", "{here}/rusn/sub/first"],
    "study --out": ["study", *TRAIN, "--out", "{here}/rusn/sub/first"],
    "data get": ["data", "get", "mnist", "--into", "{here}/rusn/sub/mnist"],
}


@pytest.mark.parametrize("line", [*FILES.values(), *FOLDERS.values()], ids=[*FILES, *FOLDERS])
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


def test_one_new_folder_above_a_new_folder_is_made_and_no_more(tmp_path, monkeypatch):
    require_near(tmp_path / "first")
    require_near(tmp_path / "runs" / "first")
    with pytest.raises(UsageError, match=r"deep/runs/first: the folder .*deep does not exist"):
        require_near(tmp_path / "deep" / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    require_near(type(tmp_path)("runs/first"))
    require_folder_of(type(tmp_path)("a.csv"))
    with pytest.raises(UsageError, match=r"mkdir -p '.*a b'"):
        require_folder_of(type(tmp_path)("a b/a.csv"))


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
