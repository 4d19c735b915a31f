"""What the verbs report of a run that is finished, and of one that is not."""

import pytest
from data_made import write_image
from run_made import Noted, call

import concord
from concord.errors import CheckpointError, StoppedError, UsageError

EPOCHS = 3
LINE = ["--members", "noel2017_text_st", "--batch-size", "256", "--set", "train.threads=1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(finished, stopped after its first epoch)."""
    folder = tmp_path_factory.mktemp("runs")
    config = {
        "data": {"limit": 100},
        "members": [{"name": "a", "network": "noel2017_text_st"}],
        "train": {"epochs": EPOCHS, "batch_size": 50, "threads": 1, "precision": "float32"},
    }
    concord.train(config, folder / "finished")
    seen = []

    class Counting(Noted):
        def epoch(self, epoch):
            seen.append(epoch)

    with pytest.raises(StoppedError):
        concord.train(config, folder / "stopped", observer=Counting(), stop=lambda: bool(seen))
    write_image(folder / "a.png", 3)
    return folder


@pytest.mark.parametrize(
    "line", [["eval"], ["predict", "a.png"], ["export", "--to", "a.safetensors"], ["report"]]
)
def test_every_verb_notes_that_a_run_is_not_finished(line, runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    verb, *rest = line
    more = ["--member", "a"] if verb == "export" else []
    for run, words in (
        ("stopped", f"stopped is not finished: the weights are those after 1 of {EPOCHS} epochs"),
    ):
        status, _, err = call(capsys, verb, run, *rest, *more)
        assert (status, words in err, "`concord resume stopped` continues it" in err) == (0, True, True), err
    status, _, err = call(capsys, verb, "finished", *rest, *more)
    assert (status, "not finished" in err) == (0, False)


def test_resume_of_a_finished_run_reports_that_nothing_was_trained(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    status, out, err = call(capsys, "resume", "finished")
    assert (status, "test error" in out) == (0, True)
    assert "finished is finished already: nothing was trained" in err


def test_training_into_a_run_is_answered_by_its_state(runs):
    config = {"members": [{"name": "a", "network": "noel2017_text_st"}]}
    with pytest.raises(
        UsageError, match=r"finished; give another --out.*resume .*finished --set train\.epochs=N"
    ):
        concord.train(config, runs / "finished")
    with pytest.raises(UsageError, match=r"`concord resume .*stopped` continues it"):
        concord.train(config, runs / "stopped")


def test_a_finished_run_is_trained_longer_by_the_command_that_is_named(runs):
    with pytest.raises(CheckpointError, match="--allow-changes"):
        concord.resume(runs / "finished", settings=["train.epochs=4"])
    longer = concord.resume(runs / "finished", settings=["train.epochs=4"], allow_changes=True)
    assert longer.result.epochs == EPOCHS + 1
