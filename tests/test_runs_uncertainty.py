"""Temperatures and sets of labels of a run: what it keeps, eval, predict, exported files, reports."""

import csv
import json
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
import torch
from PIL import Image
from run_made import MEMBERS, call, copied
from sklearn.datasets import load_digits

import concord
from concord.errors import CheckpointError, UsageError
from concord.report.uncertainty import sets_table
from concord.runs import predictions
from concord.runs.folder import RunFolder
from concord.runs.loading import load_run, same_data
from concord.runs.tested import logits_of
from concord.runs.uncertainty import Uncertainty
from concord.training.observer import SILENT
from concord.uncertainty.temperature import temperature


def trained(path, **changes):
    settings = {
        "members": MEMBERS,
        "data": {"valid": 0.2, "limit": 600, **changes.pop("data", {})},
        "train": {"epochs": 3, "batch_size": 32, "threads": 1, "precision": "float32", **changes},
    }
    return concord.train(settings, path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("sure") / "run"
    trained(path)
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    for i, image in enumerate(load_digits().images[:40]):
        Image.fromarray((image * 255 // 16).astype(np.uint8)).save(folder / f"{i:02}.png")
    return folder


def kept(run):
    return json.loads((run / "result.json").read_text())["uncertainty"]


def test_the_result_keeps_what_the_validation_part_gives_computed_here_again(run):
    found, loaded = kept(run), load_run(run)
    splits, _ = same_data(loaded, None)
    samples = [(loaded.interface.normalise(splits.valid.pixels), splits.valid.labels)]
    valid, labels = logits_of(loaded, samples)["B"].double(), splits.valid.labels
    assert found["samples"] == len(labels) > 100
    row = found["members"]["B"]
    losses = {
        t: torch.nn.functional.cross_entropy(valid / t, labels).item()
        for t in (row["temperature"] * factor for factor in (0.98, 1, 1.02))
    }
    assert min(losses, key=losses.get) == row["temperature"]
    true = (1 - valid.softmax(-1))[torch.arange(len(labels)), labels].sort().values
    assert row["sets"]["lac"]["threshold"] == pytest.approx(true[ceil((len(labels) + 1) * 0.9) - 1].item())


def test_figures_of_the_test_part_are_those_of_its_kept_predictions(run):
    row, test = kept(run)["ensemble"], predictions.read(RunFolder(run))
    logits = torch.stack(list(test.logits.values())).mean(0).double()
    scaled = torch.nn.functional.cross_entropy(logits / row["temperature"], test.labels).item()
    assert row["nll"] == pytest.approx(scaled, abs=1e-6)
    p = logits.softmax(-1)
    inside = (1 - p <= row["sets"]["lac"]["threshold"]) | torch.nn.functional.one_hot(p.argmax(-1), 10).bool()
    assert row["sets"]["lac"]["size"] == pytest.approx(inside.sum(-1).double().mean().item())
    hits = inside[torch.arange(len(p)), test.labels]
    assert row["sets"]["lac"]["coverage"] == pytest.approx(hits.double().mean().item())


def test_calibration_improves_members_that_were_not_sure_enough(run):
    result = json.loads((run / "result.json").read_text())
    for name, row in result["uncertainty"]["members"].items():
        assert row["temperature"] < 1
        assert row["nll"] < result["members"][name]["nll"]
    assert result["uncertainty"]["ensemble"]["ece"] < result["ensemble"]["ece"] / 2


def test_eval_shows_what_the_run_keeps(run, capsys):
    assert concord.evaluate(run).to_dict()["uncertainty"] == kept(run)
    status, out, _ = call(capsys, "eval", run)
    assert status == 0
    assert "Temperature scaling" in out
    assert "Sets of labels for a coverage of 90 %" in out


def test_a_coverage_close_to_one_is_not_rounded_to_it(run):
    found = Uncertainty.within(json.loads((run / "result.json").read_text()))
    caption = sets_table(replace(found, coverage=0.995)).caption
    assert caption == "Sets of labels for a coverage of 99.5 %"


def test_other_data_are_judged_by_what_the_run_found_on_its_own(run, tmp_path):
    images, labels = load_digits(return_X_y=True)
    pixels = (images.reshape(-1, 8, 8) * 255 // 16).astype(np.uint8)[:300]
    np.savez(tmp_path / "other.npz", x_train=255 - pixels, y_train=labels[:300])
    found = concord.evaluate(run, data=str(tmp_path / "other.npz")).to_dict()["uncertainty"]
    assert found["ensemble"]["temperature"] == kept(run)["ensemble"]["temperature"]
    assert found["ensemble"]["sets"]["lac"]["threshold"] == kept(run)["ensemble"]["sets"]["lac"]["threshold"]
    assert found["ensemble"]["sets"]["lac"]["coverage"] < 0.7  # inverted digits are not exchangeable


def test_averages_of_weights_and_snapshots_have_figures_of_their_own(tmp_path):
    settings = {"epochs": 2, "cycles": 2, "ema": 0.9, "schedule": "cosine"}
    trained(tmp_path / "run", **settings)
    found, loaded = kept(tmp_path / "run"), load_run(tmp_path / "run")
    splits, _ = same_data(loaded, None)
    samples = [(loaded.interface.normalise(splits.valid.pixels), splits.valid.labels)]
    valid = logits_of(loaded, samples)  # of the averages, which the run stands for
    again = temperature(valid["B"], splits.valid.labels)
    assert found["members"]["B"]["temperature"] == pytest.approx(again, rel=1e-4)
    shots = concord.evaluate(tmp_path / "run", snapshots=True).uncertainty
    assert {*shots.members} == {"ST@1", "ST@2", "B@1", "B@2"}
    assert shots.members["B@1"].temperature != shots.members["B@2"].temperature


def test_a_document_reads_back_as_it_was_written(run):
    assert Uncertainty.within({"uncertainty": kept(run)}).to_dict() == kept(run)
    assert concord.load(run).result.uncertainty.to_dict() == kept(run)


def test_without_a_validation_part_there_is_nothing_to_keep(tmp_path, digits):
    result = trained(tmp_path / "run", epochs=1, data={"valid": 0.0}).result
    assert result.uncertainty is None
    assert concord.evaluate(tmp_path / "run").uncertainty is None
    with pytest.raises(UsageError, match=r"Train with data\.valid above 0"):
        concord.predict(tmp_path / "run", digits, sets="lac")


def test_too_small_a_validation_part_gives_sets_of_all_labels_and_says_so(tmp_path, digits, capsys):
    trained(tmp_path / "run", epochs=1, coverage=0.999)
    found = kept(tmp_path / "run")
    assert found["members"]["B"]["sets"]["raps"] == {"threshold": None, "coverage": 1.0, "size": 10.0}
    assert "too few for a coverage of 0.999" in found["notes"][0]
    assert "Use at least 999" in found["notes"][0]
    status, out, err = call(capsys, "predict", tmp_path / "run", digits / "00.png", "--sets", "lac", "--json")
    assert (status, len(json.loads(out)[0]["set"])) == (0, 10)
    assert "too few for a coverage of 0.999: every set has all labels" in err


def test_early_stopping_is_named_because_it_saw_the_same_samples(tmp_path):
    trained(tmp_path / "run", epochs=2, patience=2)
    assert any("train.patience" in note for note in kept(tmp_path / "run")["notes"])


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_predicted_sets_cover_and_are_the_same_every_time(run, digits, method):
    rows = concord.predict(run, digits, sets=method, probabilities=True)
    assert rows == concord.predict(run, digits, sets=method, probabilities=True)
    truth = map(str, load_digits().target[:40])
    assert sum(label in row.label_set for label, row in zip(truth, rows, strict=True)) >= 33
    for row in rows:
        ranked = sorted(row.probabilities, key=row.probabilities.get, reverse=True)
        assert list(row.label_set) == ranked[: len(row.label_set)]  # the likeliest ones, in this order
    if method == "lac":
        least = 1 - kept(run)["ensemble"]["sets"]["lac"]["threshold"]
        for row in rows:
            assert len(row.label_set) == max(1, sum(p >= least for p in row.probabilities.values()))


def test_sets_on_the_command_line(run, digits, tmp_path, capsys):
    status, out, _ = call(capsys, "predict", run, digits / "00.png", "--sets", "lac")
    assert status == 0
    assert out.rstrip().endswith("}")
    call(capsys, "predict", run, digits, "--sets", "raps", "--csv", tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert json.loads(rows[0]["set"])[0] == rows[0]["label"]
    status, _, err = call(capsys, "predict", run, digits, "--sets", "topk")
    assert status == 2
    assert "lac, aps, raps, got 'topk'" in err


def test_an_unfinished_run_has_no_sets(run, digits, tmp_path):
    copied(run, tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    (tmp_path / "run/MANIFEST.json").unlink()
    with pytest.raises(UsageError, match="is not finished"):
        concord.predict(tmp_path / "run", digits, sets="lac")


@pytest.mark.parametrize("wrong", [{}, {"members": 3}, [1], {"coverage": "x"}])
def test_a_damaged_document_is_a_checkpoint_error(run, tmp_path, wrong):
    copied(run, tmp_path / "run")
    file = tmp_path / "run/result.json"
    plain = json.loads(file.read_text())
    plain["uncertainty"] = {**plain["uncertainty"], **wrong} if wrong and isinstance(wrong, dict) else wrong
    file.write_text(json.dumps(plain))
    (tmp_path / "run/MANIFEST.json").unlink()
    with pytest.raises(CheckpointError, match="uncertainty is not what concord writes"):
        concord.evaluate(tmp_path / "run")


def test_a_calibrated_file_gives_the_probabilities_at_the_temperature_of_the_run(run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
    written = concord.export(run, tmp_path / "net.onnx", calibrated=True)
    assert written.largest_difference < 1e-4
    session, row = onnxruntime.InferenceSession(written.file), kept(run)["ensemble"]
    loaded = load_run(run)
    pixels = (torch.from_numpy(load_digits().images[:30]) * 255 // 16).byte()[:, None]
    (given,) = session.run(None, {"pixels": pixels.numpy()})
    power = loaded.probabilities(pixels).double() ** (1 / row["temperature"])
    expected = power / power.sum(-1, keepdim=True)
    np.testing.assert_allclose(given, expected.numpy(), atol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["temperature"]) == row["temperature"]
    assert json.loads(about["set_threshold"]) == row["sets"]["lac"]["threshold"]
    assert json.loads(about["set_coverage"]) == 0.9


def test_a_file_that_is_not_calibrated_says_a_temperature_of_one(run, tmp_path):
    written = concord.export(run, tmp_path / "net.safetensors", member="B")
    content = written.file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    assert json.loads(header["temperature"]) == 1
    assert json.loads(header["set_threshold"]) == kept(run)["members"]["B"]["sets"]["lac"]["threshold"]


def test_weights_alone_are_not_calibrated(run, tmp_path):
    with pytest.raises(UsageError, match="weights give no probabilities"):
        concord.export(run, tmp_path / "net.safetensors", member="B", calibrated=True)


def test_no_temperature_no_calibrated_file(run, tmp_path):
    copied(run, tmp_path / "run")
    file = tmp_path / "run/result.json"
    plain = json.loads(file.read_text())
    plain["uncertainty"]["members"]["B"]["temperature"] = None
    file.write_text(json.dumps(plain))
    (tmp_path / "run/MANIFEST.json").unlink()
    with pytest.raises(UsageError, match="no temperature for B"):
        concord.export(tmp_path / "run", tmp_path / "net.pt2", member="B", calibrated=True)


def test_the_report_has_both_tables(run, tmp_path):
    text = concord.write_report(run, tmp_path / "page.html", observer=SILENT).read_text()
    section = text.partition('id="uncertainty"')[2].partition("<section")[0]
    assert f"{kept(run)['ensemble']['temperature']:.3f}" in section
    assert "raps coverage %" in section


def test_an_ensemble_of_modules_of_ones_own_keeps_them_too(tmp_path):
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images / 16).float()
    torch.manual_seed(0)
    ensemble = concord.Ensemble({"a": torch.nn.Linear(64, 10), "b": torch.nn.Linear(64, 10)})
    ensemble.fit((x[:900], torch.from_numpy(labels[:900])), valid=0.2, epochs=2, out=tmp_path / "own")
    found = kept(tmp_path / "own")
    assert found["samples"] == 180
    assert found["ensemble"]["sets"]["aps"]["coverage"] > 0.8
    text = concord.write_report(tmp_path / "own", tmp_path / "page.html").read_text()
    assert "Temperature scaling" in text
