"""``concord corrupt``: figures against predictions made here, the file, the report, what is refused."""

import json

import pytest
import torch
from run_made import MEMBERS, Noted, after, call, copied

import concord
from concord.data.images.corrupt import CORRUPTIONS, corrupted
from concord.errors import CheckpointError, StoppedError, UsageError
from concord.runs import corruptions
from concord.runs.folder import RunFolder
from concord.runs.loading import load_run, same_data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("corrupt") / "run"
    train = {"epochs": 2, "batch_size": 32, "threads": 1, "precision": "float32"}
    concord.train({"members": MEMBERS, "data": {"limit": 600}, "train": train}, path)
    return path


@pytest.fixture(scope="module")
def found(run):
    return concord.corrupt(run, seed=3)


@pytest.mark.parametrize(("name", "strength"), [("impulse_noise", 5), ("snow", 2), ("contrast", 4)])
def test_an_error_is_that_of_the_predictions_for_the_corrupted_images(run, found, name, strength):
    loaded = load_run(run)
    test = same_data(loaded, None)[0].test
    pixels = corrupted(test.pixels, name, strength, seed=3, samples=torch.arange(len(test)))
    for member in ("ST", "ensemble"):
        wrong = loaded.probabilities(pixels, member).argmax(-1) != test.labels
        assert found.networks[member].errors[name][strength - 1] == pytest.approx(
            wrong.double().mean().item()
        )


def test_means_are_over_all_corruptions_and_strengths(found):
    row = found.networks["ensemble"]
    errors = [error for strengths in row.errors.values() for error in strengths]
    assert len(errors) == 75
    assert row.mean_error == pytest.approx(sum(errors) / 75)
    weather = [error for name in ("snow", "frost", "fog", "brightness") for error in row.errors[name]]
    assert row.family("weather") == pytest.approx(sum(weather) / 20)
    assert row.clean_error < row.mean_error


def test_a_limit_takes_images_of_the_test_part_with_the_draws_that_they_have_there(run):
    few = corruptions.corrupt(run, limit=20, seed=3)
    assert few.samples == 20
    loaded = load_run(run)
    test = same_data(loaded, None)[0].test
    index = torch.as_tensor(corruptions.cut(test, 20, "corruptions")[1])
    pixels = corrupted(test.pixels, "fog", 4, seed=3, samples=torch.arange(len(test)))[index]
    wrong = loaded.probabilities(pixels, "B").argmax(-1) != test.labels[index]
    assert few.networks["B"].errors["fog"][3] == pytest.approx(wrong.double().mean().item())


def test_the_file_reads_back_and_the_report_shows_it(run, found, tmp_path):
    loaded = load_run(run)
    again = corruptions.read(RunFolder(run), loaded.weights)
    assert again.to_dict() == found.to_dict() == json.loads((run / "corruptions.json").read_text())
    text = concord.write_report(run, tmp_path / "page.html").read_text()
    section = text.partition('id="corruptions"')[2].partition("<section")[0]
    assert f"{100 * found.networks['ensemble'].mean_error:.2f}" in section
    assert "not comparable" in section


def test_the_command_prints_tables_or_json(run, capsys):
    status, out, _ = call(capsys, "corrupt", run, "--limit", 20)
    assert status == 0
    assert "Error of ensemble in %" in out
    ensemble = corruptions.read(RunFolder(run), load_run(run).weights).networks["ensemble"]
    (row,) = [line.replace("*", "") for line in out.splitlines() if line.startswith("ensemble")]
    assert row.split()[-2:] == [f"{ensemble.clean_ece:.4f}", f"{ensemble.mean_ece:.4f}"]  # as eval writes ECE
    assert all(name.replace("_", " ") in out for name in CORRUPTIONS)
    status, out, _ = call(capsys, "corrupt", run, "--limit", 20, "--json")
    assert json.loads(out)["samples"] == 20


def test_an_edited_figure_is_not_shown(run, found, tmp_path):
    copied(run, tmp_path / "run")
    corruptions.write(found, tmp_path / "run")
    file = tmp_path / "run/corruptions.json"
    file.write_text(file.read_text().replace('"samples": 359', '"samples": 360'))
    with pytest.raises(CheckpointError, match="concord corrupt"):
        concord.write_report(tmp_path / "run", tmp_path / "page.html")


def test_a_damaged_file_is_a_checkpoint_error(run, tmp_path):
    copied(run, tmp_path / "run")
    (tmp_path / "run/MANIFEST.json").unlink()
    for wrong in ({}, {"networks": {"B": {"errors": {}}}}, {"networks": 3}):
        (tmp_path / "run/corruptions.json").write_text(json.dumps(wrong))
        with pytest.raises(CheckpointError, match="damaged"):
            corruptions.read(RunFolder(tmp_path / "run"), "x")


def test_figures_of_other_weights_are_left_out_with_a_notice(run, found):
    corruptions.write(found, run)
    noted = Noted()
    assert corruptions.read(RunFolder(run), "other", noted) is None
    assert "of other weights" in noted.notices[0]


def test_a_stop_writes_nothing(run, tmp_path):
    copied(run, tmp_path / "run")
    (tmp_path / "run/corruptions.json").unlink(missing_ok=True)
    with pytest.raises(StoppedError):
        concord.corrupt(tmp_path / "run", limit=20, stop=after(9))
    assert not (tmp_path / "run/corruptions.json").exists()


def test_what_is_refused(run, tmp_path):
    with pytest.raises(UsageError, match="at least 1, got 0"):
        concord.corrupt(run, limit=0)
    with pytest.raises(CheckpointError):
        concord.corrupt(tmp_path)


def test_a_limit_of_nothing_is_answered_with_the_option(run, capsys):
    status, _, err = call(capsys, "corrupt", run, "--limit", 0)
    assert status == 2
    assert "--limit must be at least 1, got '0'" in err
