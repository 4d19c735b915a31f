"""Images per second of a whole run: each epoch counts as long as it took."""

import pytest
from run_made import SETTINGS

import concord
from concord.runs.folder import RunFolder

# 10 images in the first second, 150 in the next three: 160 in 4 seconds; the mean of the rates is 30
ROWS = [{"seconds": 1.0, "samples_per_second": 10.0}, {"seconds": 3.0, "samples_per_second": 50.0}]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("rates") / "run"
    concord.train({**SETTINGS, "train": {**SETTINGS["train"], "epochs": 1}}, path)
    return path


def test_an_evaluation_reports_the_rate_weighted_by_seconds(run, monkeypatch):
    monkeypatch.setattr(RunFolder, "rows", lambda *_: ROWS)
    found = concord.evaluate(run)
    assert (found["seconds"], found["samples_per_second"]) == (4.0, 40.0)


def test_a_run_without_epochs_has_a_rate_of_zero(run, monkeypatch):
    monkeypatch.setattr(RunFolder, "rows", lambda *_: [])
    found = concord.evaluate(run)
    assert (found["seconds"], found["samples_per_second"]) == (0, 0.0)
