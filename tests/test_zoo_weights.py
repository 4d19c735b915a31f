"""Weights from a file: the network they were made for, other numbers of classes and channels, bad files."""

import os
import time

import pytest
import torch
import torchvision
from run_made import call, write_npz
from safetensors.torch import save_file

from concord.errors import CheckpointError, UsageError
from concord.zoo import foreign
from concord.zoo.build import build
from concord.zoo.weights import load_weights


@pytest.fixture(scope="module")
def given():
    return torchvision.models.resnet18(weights=None).state_dict()


FORMS = {
    "safetensors": lambda state, path: save_file(state, path),
    "pth": lambda state, path: torch.save(state, path),
    "pt": lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path),
    "tar": lambda state, path: torch.save({f"module.{k}": v for k, v in state.items()}, path),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_the_library_gives_what_its_download_gives(form, given, tmp_path, monkeypatch):
    FORMS[form](given, file := tmp_path / f"weights.{form}")
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: given)
    fetched = build("resnet18", channels=1, classes=7, pretrained=True).state_dict()
    network = build("resnet18", channels=1, classes=7)
    head = network.fc.weight.clone()
    load_weights(network, file)
    filled = network.state_dict()
    assert {k for k in filled if not torch.equal(filled[k], fetched[k])} <= {"fc.weight", "fc.bias"}
    assert torch.equal(filled["fc.weight"], head)


def test_the_same_numbers_of_classes_and_channels_take_everything(given, tmp_path):
    save_file(given, tmp_path / "w.safetensors")
    network = build("resnet18", channels=3, classes=1000)
    load_weights(network, tmp_path / "w.safetensors")
    assert all(torch.equal(value, given[key]) for key, value in network.state_dict().items())


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def bad_files(folder, given):
    save_file({k: v for k, v in given.items() if k != "layer1.0.conv1.weight"}, folder / "lacks.safetensors")
    save_file(given | {"more": torch.zeros(1)}, folder / "more.safetensors")
    save_file(given | {"bn1.weight": torch.zeros(3)}, folder / "shape.safetensors")
    torch.save([1, 2], folder / "list.pth")
    torch.save({"a": 1}, folder / "numbers.pth")
    torch.save({"a": Evil(str(folder / "made"))}, folder / "evil.pth")
    (folder / "empty.pth").touch()
    (folder / "text.safetensors").write_text("no weights")
    (folder / "folder.pth").mkdir()


WORDS = {
    "lacks.safetensors": "another network than this: it lacks layer1.0.conv1.weight",
    "more.safetensors": "another network than this: it has more",
    "shape.safetensors": r"bn1.weight is \(3,\), expected \(64,\)",
    "list.pth": "holds no state dict",
    "numbers.pth": "holds no state dict",
    "evil.pth": "cannot be read as a state dict of torch",
    "empty.pth": "cannot be read as a state dict of torch",
    "text.safetensors": "cannot be read as a file of weights",
    "folder.pth": "cannot be read as a file of weights",
    "gone.pth": "no such file of weights",
}


@pytest.mark.fault(18)
@pytest.mark.parametrize("name", WORDS)
def test_a_file_that_does_not_fit_is_refused_and_runs_nothing(name, given, tmp_path):
    bad_files(tmp_path, given)
    with pytest.raises(CheckpointError, match=rf"{name}.*{WORDS[name]}"):
        load_weights(build("resnet18", channels=3, classes=7), tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_a_member_starts_from_the_file_that_the_command_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "data.npz")
    save_file(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "w.safetensors")
    line = ["train", "--data", "data.npz", "--members", "s=squeezenet1_1", "--epochs", "1"]
    line += ["--set", "data.size=32", "--set", "train.threads=1", "--set", "train.optimizer.lr=1e-5"]
    status, _, err = call(capsys, *line, "--pretrained", "s=w.safetensors", "--quiet", "--out", "run")
    assert status == 0, err
    from concord.training import checkpoint

    found = checkpoint.newest(tmp_path / "run" / "ckpt")[0].tensors["member-s"]
    file = torchvision.models.squeezenet1_1(weights=None)
    load_weights(file, tmp_path / "w.safetensors")
    kernel = file.features[3].squeeze.weight.detach()
    torch.testing.assert_close(
        found["features.3.squeeze.weight"], kernel, rtol=0, atol=1e-4
    )  # few steps of 1e-5
    (tmp_path / "w.safetensors").unlink()  # the run has its weights now
    assert call(capsys, "eval", "run")[0] == 0
    status, _, err = call(capsys, *line, "--pretrained", "s=gone.pth", "--out", "other")
    assert (status, "gone.pth: no such file of weights" in err) == (4, True)


def test_without_a_network_timm_is_not_asked_again_and_again(monkeypatch, tmp_path):
    """Its client waits between tries; no wait may happen, and the message names the way out."""
    pytest.importorskip("timm")

    def unreachable(*given, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(foreign, "urlopen", unreachable)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waits {seconds} s"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match=r"cannot be reached.* name a file of weights"):
        build("timm/resnet10t", channels=3, classes=7, pretrained=True)
