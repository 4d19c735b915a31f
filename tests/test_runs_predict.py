"""Labels for files: records, top K, probabilities, tables, statuses, and one precision for all."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from run_made import call
from sklearn.datasets import load_digits

import concord
from concord.errors import UsageError
from concord.runs.loading import load_run
from concord.runs.predict import Prediction


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Trained in bfloat16, as the default is where the processor has it."""
    path = tmp_path_factory.mktemp("predict") / "run"
    members = [{"name": "st", "network": "noel2017_st"}, {"name": "b", "network": "noel2017_text_st"}]
    train = {"epochs": 2, "batch_size": 64, "threads": 1, "precision": "bfloat16"}
    concord.train({"members": members, "train": train, "data": {"limit": 600}}, path)
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    for i, image in enumerate(load_digits().images[:70]):  # more than one batch
        Image.fromarray((image * 255 // 16).astype(np.uint8)).save(folder / f"{i:02}.png")
    return folder


@pytest.mark.parametrize("member", ["st", "ensemble"])
def test_probabilities_are_those_of_float32_whatever_the_training_computed_in(run, digits, member):
    loaded = load_run(run)
    assert set(loaded.precisions.values()) == {torch.bfloat16}
    pixels = torch.from_numpy((load_digits().images[:70] * 255 // 16).astype(np.uint8))[:, None]
    mean, std = loaded.interface.normalise.mean[0], loaded.interface.normalise.std[0]
    with torch.no_grad():
        logits = [m.eval()((pixels.float() - mean) / std) for m in loaded.chosen(member).values()]
    expected = torch.stack(logits).mean(0).softmax(-1)
    rows = concord.predict(run, digits, member=member, probabilities=True)
    given = torch.tensor([list(row.probabilities.values()) for row in rows])
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-6)


def test_a_prediction_has_the_likeliest_classes_and_all_probabilities_if_asked_for(run, digits):
    (row,) = concord.predict(run, digits / "03.png", top=3, probabilities=True)
    assert list(row.probabilities) == [str(k) for k in range(10)]
    assert sum(row.probabilities.values()) == pytest.approx(1)
    ranked = sorted(row.probabilities.items(), key=lambda pair: -pair[1])
    assert row.top == tuple(ranked[:3])
    assert (row.label, row.confidence) == ranked[0]
    (plain,) = concord.predict(run, digits / "03.png")
    assert plain == Prediction(str(digits / "03.png"), row.label, row.confidence)
    (all_of_them,) = concord.predict(run, digits / "03.png", top=99)
    assert len(all_of_them.top) == 10
    with pytest.raises(UsageError, match="top must be at least 1, got 0"):
        concord.predict(run, digits, top=0)


def test_json_rows_have_what_was_asked_for_and_no_more(run, digits, capsys):
    one = digits / "00.png"
    status, out, _ = call(capsys, "predict", run, one, "--json")
    assert (status, list(json.loads(out)[0])) == (0, ["file", "label", "confidence"])
    _, out, _ = call(capsys, "predict", run, one, "--json", "--top", 2, "--probabilities")
    (row,) = json.loads(out)
    assert list(row) == ["file", "label", "confidence", "top", "probabilities"]
    assert row["top"][0] == {"label": row["label"], "confidence": row["confidence"]}
    assert row["top"][1]["confidence"] == sorted(row["probabilities"].values())[-2]
    _, out, _ = call(capsys, "predict", run, one, "gone.png", "--json", "--top", 2)
    assert list(json.loads(out)[1]) == ["file", "label", "confidence", "error"]


def test_the_text_has_top_and_probabilities_in_its_lines(run, digits, capsys):
    (row,) = concord.predict(run, digits / "00.png", top=2, probabilities=True)
    _, out, _ = call(capsys, "predict", run, digits / "00.png", "--top", 2)
    shown = "  ".join(f"{label}  {share:.3f}" for label, share in row.top)
    assert out == f"{digits / '00.png'}  {shown}\n"
    _, out, _ = call(capsys, "predict", run, digits / "00.png", "--probabilities")
    every = ", ".join(f"{label} {share:.3f}" for label, share in row.probabilities.items())
    assert out == f"{digits / '00.png'}  {row.label}  {row.confidence:.3f}  ({every})\n"


def test_a_table_has_the_same_and_a_line_says_what_was_written(run, digits, tmp_path, capsys):
    table = tmp_path / "labels.csv"
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    command = ["predict", run, bad, digits, "--csv", table]
    status, out, err = call(capsys, *command, "--top", 2, "--probabilities")
    assert (status, out) == (0, f"{table}: labels of 70 images; 1 could not be read\n")
    assert "1 of 71 images could not be read" in err
    rows = concord.predict(run, [bad, digits], top=2, probabilities=True)
    with table.open(newline="", encoding="utf-8") as file:
        header, first, *others = csv.reader(file)
    ten = [f"probability of {k}" for k in range(10)]
    assert header == ["file", "label", "confidence", "error", "label_2", "confidence_2", *ten]
    assert first[:3] == [str(bad), "", ""]
    assert first[4:] == [""] * 12
    for cells, row in zip(others, rows[1:], strict=True):
        assert cells[:2] == [row.file, row.label]
        assert (cells[4], float(cells[5])) == row.top[1]
        assert list(map(float, cells[6:])) == list(row.probabilities.values())
    status, out, err = call(capsys, *command, "--json")
    assert json.loads(out)[0]["file"] == str(bad)
    assert f"{table}: labels of 70 images" in err


def test_the_status_is_3_when_no_image_could_be_read(run, digits, tmp_path, capsys):
    for i in range(2):
        (tmp_path / f"{i}.png").write_text("no image")
    status, out, err = call(capsys, "predict", run, tmp_path, "--json")
    assert (status, [row["label"] for row in json.loads(out)]) == (3, [None, None])
    assert "2 of 2 images could not be read" in err
    assert call(capsys, "predict", run, tmp_path, digits)[0] == 0
    assert call(capsys, "predict", run, tmp_path, digits, "--strict")[0] == 3


def test_a_gpu_computes_in_float32_too_and_its_switch_is_put_back(run):
    """By default torch lets convolutions on a GPU compute in TF32, with 10 bits."""
    loaded, seen = load_run(run), []
    hook = loaded.members["st"].register_forward_pre_hook(
        lambda *_: seen.append(torch.backends.cudnn.allow_tf32)
    )
    before = torch.backends.cudnn.allow_tf32
    loaded.probabilities(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    hook.remove()
    assert (seen, torch.backends.cudnn.allow_tf32) == ([False], before)
