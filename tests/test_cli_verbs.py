"""Every verb, on one small real run."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data_made import write_image
from PIL import Image
from run_made import SETTINGS, Noted, call
from sklearn.datasets import load_digits

import concord
from concord.errors import CheckpointError, DataError, ResourceError, UsageError


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "first"
    return path, concord.train(SETTINGS, path)


@pytest.fixture(scope="session")
def digit_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    images = load_digits().images[:12]
    for i, image in enumerate(images):
        Image.fromarray((image * 255 // 16).astype(np.uint8)).save(folder / f"{i:02}.png")
    return folder


def test_train_gives_what_the_run_folder_holds(run):
    path, result = run
    assert json.loads((path / "result.json").read_text()) == result
    assert set(result) >= {"run", "members", "ensemble", "agreement", "seconds", "samples_per_second"}
    keys = {"test_error", "valid_error", "nll", "ece", "balanced_accuracy", "parameters", "macs"}
    assert all(set(row) >= keys for row in result["members"].values())
    assert result["members"]["ST"]["parameters"] == 44_730


def test_eval_gives_the_figures_of_the_training(run, capsys):
    path, result = run
    status, out, _ = call(capsys, "eval", path, "--json")
    scores = json.loads(out)
    assert status == 0
    assert scores["members"] == result["members"]
    assert scores["ensemble"] == result["ensemble"]


@pytest.mark.fault(15)
def test_eval_tells_the_recall_of_every_class(run, capsys):
    rows = concord.evaluate(run[0])["recall"]
    assert [row["class"] for row in rows] == [str(k) for k in range(10)]
    samples = sum(row["samples"] for row in rows)
    for said, error in (
        ([row["members"]["ST"] for row in rows], run[1]["members"]["ST"]["test_error"]),
        ([row["ensemble"] for row in rows], run[1]["ensemble"]["test_error"]),
    ):
        right = sum(row["samples"] * share for row, share in zip(rows, said, strict=True))
        assert right / samples == pytest.approx(1 - error)
    balanced = sum(row["ensemble"] for row in rows) / 10
    assert balanced == pytest.approx(run[1]["ensemble"]["balanced_accuracy"])

    _, out, _ = call(capsys, "eval", run[0])
    last = out.splitlines()[-1]
    assert last.startswith("balanced accuracy")
    assert last.endswith(f"{100 * balanced:.2f}")


def test_eval_on_other_classes_is_refused(run, tmp_path):
    for name in ("cat", "dog"):
        for i in range(10):
            write_image(tmp_path / name / f"{i}.png", 20 * i)
    with pytest.raises(DataError, match="classes cat, dog"):
        concord.evaluate(run[0], data=str(tmp_path))


def test_predict_keeps_the_order_and_gives_a_bad_image_a_row(run, digit_files, tmp_path, capsys):
    bad = tmp_path / "bad.png"
    bad.write_bytes((digit_files / "00.png").read_bytes()[:50])
    text = tmp_path / "=notes.png"
    text.write_text("no image")
    files = [digit_files / "03.png", bad, digit_files / "01.png", text]
    table = tmp_path / "labels.csv"
    status, out, err = call(capsys, "predict", run[0], *files, "--json", "--csv", table)
    rows = json.loads(out)
    assert status == 0
    assert [row["file"] for row in rows] == list(map(str, files))
    assert [row["label"] is None for row in rows] == [False, True, False, True]
    assert "bad.png" in rows[1]["error"]
    assert "2 of 4 images could not be read" in err
    with table.open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == list(map(str, files))
    assert call(capsys, "predict", run[0], bad, "--strict")[0] == 3


def test_an_argument_that_matches_nothing_gets_a_row_and_the_others_are_answered(run, digit_files, tmp_path):
    rows = concord.predict(run[0], [str(digit_files), str(tmp_path / "gone.png")])
    assert [row.label is None for row in rows] == [False] * 12 + [True]
    assert rows[-1].error == f"{tmp_path / 'gone.png'}: no such file or folder"
    (tmp_path / "empty").mkdir()
    (row,) = concord.predict(run[0], [str(tmp_path / "empty")])
    assert (row.file, row.label) == (str(tmp_path / "empty"), None)
    assert "empty: the folder holds no image (." in row.error


def test_a_line_about_a_bad_file_names_it_once(run, digit_files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("cut.png").write_bytes((digit_files / "00.png").read_bytes()[:50])
    Path("text.png").write_text("no image")
    Path("empty.png").touch()
    Path("folder").mkdir()
    names = ["cut.png", "text.png", "empty.png", "folder", "gone.png", "gone*.png"]
    status, out, err = call(capsys, "predict", run[0], *names)
    assert status == 3
    assert [line.split("  ")[0] for line in out.splitlines()] == names
    assert [line.count(name) for line, name in zip(out.splitlines(), names, strict=True)][:3] == [1] * 3
    assert out.splitlines()[3].startswith("folder  the folder holds no image")
    assert out.splitlines()[4].startswith("gone.png  no such file or folder")
    assert out.splitlines()[5].startswith("gone*.png  no image file matches")
    assert "6 of 6 images could not be read" in err


@pytest.fixture
def typed(monkeypatch):
    """Lets standard input hold these bytes."""

    def hold(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return hold


def test_predict_takes_paths_from_standard_input_in_their_order(run, digit_files, tmp_path, typed, capsys):
    odd = shutil.copy(digit_files / "02.png", os.fsencode(tmp_path) + b"/\xff [1].png")
    paths = [os.fsencode(digit_files / "03.png"), odd, b"gone.png", os.fsencode(digit_files / "01.png")]
    first, last = digit_files / "05.png", digit_files / "00.png"
    typed(b"\n".join(paths) + b"\n\n")
    table = tmp_path / "labels.csv"
    status, out, err = call(capsys, "predict", run[0], first, "-", last, "--json", "--csv", table)
    rows = json.loads(out)
    assert status == 0
    assert [os.fsencode(row["file"]) for row in rows] == [bytes(first), *paths, bytes(last)]
    assert ["error" in row for row in rows] == [False, False, False, True, False, False]
    assert "1 of 6 images could not be read" in err
    alone = concord.predict(run[0], [str(digit_files / "03.png"), str(digit_files / "02.png")])
    assert [row["label"] for row in rows[1:3]] == [row.label for row in alone]
    with table.open(newline="") as file:
        assert [row[1] for row in csv.reader(file)][1:] == [row["label"] or "" for row in rows]


def test_an_empty_list_on_standard_input_gives_no_rows(run, typed, capsys):
    typed(b"")
    status, out, _ = call(capsys, "predict", run[0], "-", "--json")
    assert (status, json.loads(out)) == (0, [])


def test_a_finished_run_that_was_changed_is_refused_and_one_that_was_damaged_is_mended(run, tmp_path, capsys):
    copied = shutil.copytree(run[0], tmp_path / "copy")
    assert concord.resume(copied)["run"] == str(copied)
    config = copied / "config.toml"
    text = config.read_text()
    config.write_text(text.replace("epochs = 2", "epochs = 3"))
    with pytest.raises(CheckpointError, match=r"train\.epochs: 2 -> 3"):
        concord.resume(copied)
    config.write_text(text)
    final = max(copied.glob("ckpt/step-*")) / "member-ST.safetensors"
    whole = final.read_bytes()
    final.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match="concord resume"):
        concord.evaluate(copied)
    assert concord.resume(copied)["members"] == run[1]["members"]
    assert final.read_bytes() == whole


def test_a_resume_stands_in_the_stamp_with_its_changes_and_in_the_report(run, tmp_path):
    copied = shutil.copytree(run[0], tmp_path / "copy")
    before = json.loads((copied / "stamp.json").read_text())
    concord.resume(copied, settings=["train.epochs=3"], allow_changes=True)
    after = json.loads((copied / "stamp.json").read_text())
    (resume,) = after.pop("resumes").values()
    assert after.pop("sha256") != before.pop("sha256")
    assert after == before
    assert resume["changes"] == ["train.epochs: 2 -> 3"]
    page = concord.write_report([copied], tmp_path / "report.html").read_text()
    assert "train.epochs: 2 -&gt; 3" in page


def test_other_data_without_a_test_part_is_scored_whole(run, digit_files, tmp_path):
    labels, images = load_digits().target[:60], load_digits().images[:60]
    for i, (label, image) in enumerate(zip(labels, images, strict=True)):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        pixels = (image * 255 // 16).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / str(label) / f"{i}.png")
    assert concord.evaluate(run[0], data=str(tmp_path))["samples"] == 60
    assert concord.evaluate(run[0])["samples"] == 359


def test_wrong_use_with_json_still_prints_one_document(capsys):
    status, out, err = call(capsys, "train", "--epoch", "1", "--json")
    assert (status, json.loads(out)["status"]) == (2, 2)
    assert "--epochs" in err


def test_an_export_that_cannot_be_written_leaves_an_older_file_alone(run, tmp_path):
    (tmp_path / "st.safetensors").write_text("old")
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot write"):
        concord.export(run[0], tmp_path / "file" / "st.safetensors", member="ST")
    concord.export(run[0], tmp_path / "st.safetensors", member="ST")
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["file", "st.safetensors"]


def test_predictions_are_those_of_the_members_on_the_same_pixels(run, digit_files):
    from concord.runs.loading import load_run

    loaded = load_run(run[0])
    images = load_digits().images[:12]
    pixels = torch.from_numpy((images * 255 // 16).astype(np.uint8)).unsqueeze(1)
    expected = loaded.probabilities(pixels, "ST").max(-1)
    rows = concord.predict(run[0], [str(digit_files)], member="ST")
    assert [int(row.label) for row in rows] == expected.indices.tolist()
    assert [row.confidence for row in rows] == pytest.approx(expected.values.tolist(), rel=1e-5)


def test_the_votes_of_a_run_are_what_its_members_name_for_the_test_samples(run):
    from concord.runs import predictions
    from concord.runs.loading import load_run, same_data

    loaded = load_run(run[0])
    test = same_data(loaded, None)[0].test
    kept = predictions.votes(loaded.folder)
    for column in ("ST", "B", "ensemble"):
        named = loaded.probabilities(test.pixels, column).argmax(-1)
        assert kept[column].tolist() == named.tolist()
    wrong = (kept["ensemble"] != test.labels).double().mean().item()
    assert wrong == pytest.approx(run[1]["ensemble"]["test_error"])


@pytest.mark.fault(25)
def test_a_file_name_that_looks_like_a_formula_is_quoted_in_csv(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("=1+1.png").write_text("no image")
    call(capsys, "predict", run[0], "=1+1.png", "--csv", "out.csv")
    assert "'=1+1.png" in Path("out.csv").read_text()


def test_predict_refuses_an_unknown_member_with_the_nearest_name(run, digit_files):
    with pytest.raises(UsageError, match="did you mean 'ST'"):
        concord.predict(run[0], [str(digit_files)], member="STT")


def test_report_of_a_run_is_one_file(run, tmp_path, capsys):
    status, out, _ = call(capsys, "report", run[0], "--to", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert status == 0
    assert "r.html" in out
    assert "44,730" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_study_makes_the_table_and_goes_on_where_it_stopped(tmp_path, capsys):
    settings = {
        **SETTINGS,
        "consensus": {},
        "train": {**SETTINGS["train"], "epochs": 1},
        "study": {"seeds": [0, 1], "arms": [{"cost": "l2", "weights": [0.1]}], "alone": True},
    }
    figures = concord.study(settings, tmp_path / "study", jobs=1)
    alone = {
        (c["seed"], name): error
        for c in figures["cells"]
        if c["cost"] == "alone"
        for name, error in c["scores"]["test_error"].items()
        if name != "ensemble"
    }
    plain = {
        (c["seed"], name): error
        for c in figures["cells"]
        if c["cost"] == "none"
        for name, error in c["scores"]["test_error"].items()
        if name != "ensemble"
    }
    assert alone == plain  # weight 0 is training alone
    assert len(figures["cells"]) == 8
    assert "l2" in (tmp_path / "study/table.md").read_text()
    noted = Noted()
    assert concord.study(settings, tmp_path / "study", jobs=1, observer=noted)["cells"] == figures["cells"]
    assert noted.notices == ["8 of 8 runs finished already"]
    with pytest.raises(UsageError, match="seeds"):
        concord.study({**settings, "study": {"seeds": [0]}}, tmp_path / "study")


def test_a_member_of_five_lines_and_a_timm_network_train_together(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\n"
        "def net(channels, classes):\n"
        "    layers = nn.Linear(channels * 64, 32), nn.ReLU(), nn.Linear(32, classes)\n"
        "    return nn.Sequential(nn.Flatten(), *layers)\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = {
        **SETTINGS,
        "members": [{"name": "mine", "network": "mine:net"}, {"name": "timm", "network": "timm/test_resnet"}],
        "train": {"epochs": 1, "batch_size": 256, "threads": 1},
        "data": {"size": 8},
    }
    result = concord.train(settings, "run", allow_code=["mine:net"])
    assert result["members"]["mine"]["parameters"] == 64 * 32 + 32 + 32 * 10 + 10
    with pytest.raises(UsageError, match="--allow-code mine:net"):
        concord.evaluate("run")
    assert concord.evaluate("run", allow_code=["mine:net"])["members"].keys() == {"mine", "timm"}


def test_a_member_with_wrong_output_is_refused_before_training(tmp_path, monkeypatch):
    (tmp_path / "wrong.py").write_text(
        "from torch import nn\ndef net(channels, classes):\n    return nn.Flatten()\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = {**SETTINGS, "members": [{"name": "w", "network": "wrong:net"}]}
    with pytest.raises(UsageError, match=r"member w must give logits of shape \(2, 10\)"):
        concord.train(settings, "run", allow_code=["wrong:net"])
    assert not Path("run").exists()


def test_data_check_says_no_with_status_1(tmp_path, capsys):
    status, out, _ = call(capsys, "data", "check", "digits", "--json")
    assert (status, json.loads(out)["ok"]) == (0, True)
    (tmp_path / "cat").mkdir()
    assert call(capsys, "data", "check", tmp_path)[0] == 1


def test_the_result_of_an_unfinished_run_says_how_to_finish_it(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run folder"):
        concord.evaluate(tmp_path)


def test_bench_stacked_measures_both_ways_in_one_run(capsys):
    small = ["--network", "noel2017_st(filters=4)", "--count", "2", "--device", "cpu", "--updates", "1"]
    status, out, _ = call(capsys, "bench", "stacked", *small, "--rounds", "1", "--json")
    assert status == 0
    found = json.loads(out)
    rates = found["samples_per_second"]
    assert rates.keys() == {"default", "float32", "stacked"}
    for name, ratio in found["stacked_over"].items():
        assert ratio == pytest.approx(rates["stacked"] / rates[name])


def test_bench_measures_all_contenders_in_one_run(capsys):
    status, out, _ = call(capsys, "bench", "train", "--rounds", "1", "--updates", "1", "--json")
    assert status == 0
    assert set(json.loads(out)["samples_per_second"]) == {"plain", "bfloat16", "concord", "python"}


def test_the_module_is_a_command_too():
    done = subprocess.run(
        [sys.executable, "-m", "concord", "zoo", "--json"], capture_output=True, text=True, check=True
    )
    assert {row["name"] for row in json.loads(done.stdout)} >= {"noel2017_st", "noel2017_m"}
