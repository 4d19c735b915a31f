"""A run that is being written is read once, by every verb: what was read may be gone a moment later."""

import shutil

import pytest
from data_made import write_image
from run_made import FACTORY, call, write_npz

from concord.cli import app
from concord.training import checkpoint

ALLOW = ["--allow-code", "own_net:make"]
VERBS = {
    "eval": ["eval", "run"],
    "predict": ["predict", "run", "one.png"],
    "report": ["report", "run", "--to", "report.html"],
    "export": ["export", "run", "--member", "a", "--to", "a.safetensors"],
    "attack": ["attack", "run", "--out", "attacked"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    (folder / "own_net.py").write_text(FACTORY)
    write_npz(folder / "data.npz")
    write_image(folder / "one.png", 1, size=(6, 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = ["train", "--data", "data.npz", "--members", "a=own_net:make,b=own_net:make"]
        with pytest.raises(SystemExit) as left:
            app.main([*line, "--epochs", "2", "--set", "train.threads=1", "--out", "whole", "--quiet"])
    assert left.value.code == 0
    return folder


@pytest.mark.fault(21)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_reads_the_checkpoint_of_a_run_in_progress_once(verb, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    shutil.rmtree("run", ignore_errors=True)
    shutil.copytree("whole", "run")
    for name in ("result.json", "MANIFEST.json", "predictions.safetensors"):
        (home / "run" / name).unlink()
    real = checkpoint.load

    def load(path):
        found = real(path)
        shutil.rmtree(path)  # as a training does that has saved two newer ones
        return found

    monkeypatch.setattr(checkpoint, "load", load)
    status, _, err = call(capsys, *VERBS[verb], *ALLOW)
    assert status == 0, err
    assert "damaged" not in err
