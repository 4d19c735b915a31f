"""Run folders that older versions wrote: scores, votes, an end, and a continuation from within an epoch.

``stored/run_before_rooms`` was written before the rooms runs and files were there:

    concord train --config settings.toml --out run_before_rooms --allow-code kept_net:make

with ``FACTORY`` as kept_net.py, ``write_npz("data.npz")``, two members, l2 0.1, 3 epochs of 6 updates.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from run_made import FACTORY, Noted, write_npz
from safetensors.torch import load_file

import concord
from concord.report.views import run_view
from concord.runs.folder import RunFolder
from concord.training.checkpoint import steps

STORED = Path(__file__).parent / "stored" / "run_before_rooms"
CODE = ["kept_net:make"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "kept_net.py").write_text(FACTORY)
    write_npz(tmp_path / "data.npz")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(STORED, tmp_path / "run")


def cut(run):
    """The same run as a kill within the last epoch would have left it."""
    shutil.rmtree(run / "ckpt" / "step-00000018")
    for name in ("result.json", "votes.safetensors"):
        (run / name).unlink()
    return run


def test_its_scores_are_those_of_its_result(run):
    result = json.loads((STORED / "result.json").read_text())
    found = concord.evaluate(run, allow_code=CODE).to_dict()
    for name, row in result["members"].items():
        assert found["members"][name] == pytest.approx(row, rel=1e-5)
    assert found["ensemble"]["nll"] == pytest.approx(result["ensemble"]["nll"], rel=1e-5)
    assert found["agreement"] == result["agreement"]


def test_it_is_complete_and_a_report_shows_its_votes(run):
    noted = Noted()
    assert concord.resume(run, allow_code=CODE, observer=noted)["epochs"] == 3
    assert noted.notices == [f"{run} is finished already: nothing was trained"]
    assert run_view(run, str(run / "gone.npz"), allow_code=CODE, observer=Noted()).samples == 15
    page = concord.write_report([run], run / "report.html", allow_code=CODE)
    assert "66.67" in page.read_text()


def test_what_a_kill_left_of_it_goes_on_within_the_epoch_to_the_same_weights(run):
    concord.resume(cut(run), allow_code=CODE)
    ended, wanted = (steps(folder / "ckpt")[-1] for folder in (run, STORED))
    assert ended.name == wanted.name == "step-00000018"
    for file in ("member-a.safetensors", "member-b.safetensors", "optimizer.safetensors"):
        found = load_file(ended / file)
        for key, value in load_file(wanted / file).items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)  # another processor
    result, before = (json.loads((folder / "result.json").read_text()) for folder in (run, STORED))
    assert before.keys() <= result.keys()
    assert result["fingerprint"] == before["fingerprint"]
    assert [row["epoch"] for row in RunFolder(run).rows()] == [1, 2, 3]


def test_it_trains_further_with_a_changed_setting(run):
    settings = ["train.epochs=4"]
    assert concord.resume(run, settings=settings, allow_changes=True, allow_code=CODE)["epochs"] == 4
    assert not (run / "votes.safetensors").exists()
