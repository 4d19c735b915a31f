"""The predictions that a run keeps of its test set, and what is read from them."""

import json
import shutil

import pytest
import torch
from run_made import FACTORY, Noted, write_npz
from safetensors.torch import load_file, save_file

import concord
from concord.errors import CheckpointError
from concord.files import manifest
from concord.report.views import run_view
from concord.runs import predictions
from concord.runs.folder import RunFolder
from concord.training import evaluate as scoring

CODE = ["kept_net:make"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        (folder / "kept_net.py").write_text(FACTORY)
        write_npz(folder / "data.npz")
        settings = {
            "data": {"source": str(folder / "data.npz")},
            "members": [{"name": name, "network": CODE[0]} for name in ("a", "b")],
            "train": {"epochs": 2, "batch_size": 16, "threads": 1, "precision": "float32"},
        }
        concord.train(settings, folder / "run", allow_code=CODE)
        yield folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def asked(monkeypatch):
    """The sizes of the batches for which members are asked from now on."""
    seen = []
    real = scoring.forward
    monkeypatch.setattr(scoring, "forward", lambda m, x, p: (seen.append(len(x)), real(m, x, p))[1])
    return seen


def test_predictions_are_logits_of_every_member_and_the_labels(run):
    kept = predictions.read(RunFolder(run))
    assert {name: tuple(logits.shape) for name, logits in kept.logits.items()} == {"a": (15, 3), "b": (15, 3)}
    votes = {name: rows.argmax(1) for name, rows in kept.logits.items()}
    result = json.loads((run / "result.json").read_text())
    for name in "ab":
        wrong = (votes[name] != kept.labels).double().mean().item()
        assert result["members"][name]["test_error"] == pytest.approx(wrong)
    together = (kept.logits["a"] + kept.logits["b"]).argmax(1)
    assert torch.equal(kept.votes()["ensemble"].long(), together)


def test_scores_are_read_from_them_and_are_those_of_the_members_to_the_last_digit(run, monkeypatch):
    seen = asked(monkeypatch)
    read = concord.evaluate(run, allow_code=CODE)
    kept = list(seen)
    (run / predictions.FILE).unlink()
    again = concord.evaluate(run, allow_code=CODE)
    assert read.to_dict() == again.to_dict()
    assert sum(seen) - 2 * sum(kept) == 2 * 15  # the validation part twice, the test part of each member once


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_changed_bit_is_noticed_and_they_are_made_again(place, run):
    sound = concord.evaluate(run, allow_code=CODE)
    content = bytearray((run / predictions.FILE).read_bytes())
    content[place] ^= 1
    (run / predictions.FILE).write_bytes(bytes(content))
    noted = Noted()
    assert concord.evaluate(run, allow_code=CODE, observer=noted).to_dict() == sound.to_dict()
    assert any("damaged" in text and "made again" in text for text in noted.notices)
    with pytest.raises(CheckpointError, match="damaged"):
        predictions.read(RunFolder(run))
    assert run_view(run, allow_code=CODE).samples == 15


def test_a_report_without_data_and_with_damaged_predictions_says_both(run, tmp_path):
    (run / predictions.FILE).write_bytes(b"no tensors")
    noted = Noted()
    assert run_view(run, str(tmp_path / "gone.npz"), allow_code=CODE, observer=noted).samples is None
    assert [word for word in ("gone.npz", "damaged") if any(word in text for text in noted.notices)] == [
        "gone.npz",
        "damaged",
    ]


def test_predictions_of_other_labels_are_not_used(run, monkeypatch):
    file = run / predictions.FILE
    tensors = load_file(file)
    tensors["labels"] = tensors["labels"].roll(1)
    save_file(tensors, file)
    sealed = json.loads((run / manifest.FILE).read_text())
    sealed["files"][predictions.FILE] = manifest.entry_of(file.read_bytes())._asdict()
    (run / manifest.FILE).write_text(json.dumps(sealed))
    result = json.loads((run / "result.json").read_text())
    assert (
        concord.evaluate(run, allow_code=CODE)["members"]["a"]["test_error"]
        == result["members"]["a"]["test_error"]
    )


def test_a_run_that_goes_further_loses_what_was_sealed(run):
    concord.resume(run, settings=["train.epochs=3"], allow_changes=True, allow_code=CODE)
    _, entries = manifest.read(run)
    for name, entry in entries.items():
        assert manifest.content(run / name, entry)
    assert json.loads((run / "result.json").read_text())["epochs"] == 3
