"""The stamp of a run, and the warning on a crowded machine."""

import os
import shutil
import subprocess

import pytest
import torch
from run_made import call

from concord.runs import toml
from concord.runs.machine import commit, elsewhere, resolved, settled, stamp


@pytest.fixture
def repository(tmp_path):
    """A repository whose package lies beside other files."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "package"], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    return package


@pytest.mark.fault(29)
def test_what_numbers_depend_on_is_compared_with_the_stamp():
    config = resolved(toml.parse({"members": [{"name": "a", "network": "x"}], "train": {"device": "cpu"}}))
    here = stamp(config, "")
    assert elsewhere(here, config) == []
    assert elsewhere({}, config) == []  # a stamp that says nothing
    other = here | {"processor": "ANCIENT", "versions": here["versions"] | {"torch": "2.0.0"}}
    now = torch.backends.cpu.get_cpu_capability()
    assert elsewhere(other, config) == [
        f"torch: 2.0.0 -> {torch.__version__.partition('+')[0]}",
        f"processor: ANCIENT -> {now}",
    ]


def test_a_stamp_names_every_device_that_is_used(monkeypatch):
    cards = {"cuda": "small card", "cuda:1": "large card"}
    monkeypatch.setattr(torch.cuda, "get_device_name", cards.__getitem__)
    homes = [None, "cuda:1", "cpu", "cuda:1"]
    members = [{"name": f"m{i}", "network": "x"} | ({"device": d} if d else {}) for i, d in enumerate(homes)]
    config = toml.parse({"members": members, "train": {"device": "cuda"}})
    here = stamp(config, "")
    assert here["device"] == "small card, large card, cpu"
    cards["cuda:1"] = "other card"
    changed = "device: small card, large card, cpu -> small card, other card, cpu"
    assert elsewhere(here, config) == [changed]


@pytest.mark.parametrize(
    ("device", "deterministic", "fast"), [("cpu", True, True), ("cuda", True, False), ("cuda", False, True)]
)
def test_attention_without_a_reproducible_gradient_is_switched_off_on_a_gpu(device, deterministic, fast):
    member = {"name": "a", "network": "x", "device": device}
    train = {"device": "cpu", "threads": 1, "deterministic": deterministic}
    with settled(toml.parse({"members": [member], "train": train})):
        assert torch.backends.cuda.flash_sdp_enabled() is fast
        assert torch.backends.cuda.mem_efficient_sdp_enabled() is fast
        assert torch.backends.cuda.cudnn_sdp_enabled() is fast
        assert torch.backends.cuda.math_sdp_enabled()  # what is left
    assert torch.backends.cuda.flash_sdp_enabled()


def test_a_training_with_more_threads_than_cores_are_free_says_so(tmp_path, monkeypatch, capsys):
    def unknown():
        raise OSError("no /proc")

    line = ["train", "--members", "noel2017_st(filters=1)", "--epochs", 1, "--set", "train.threads=2"]
    line += ["--set", "data.limit=20", "--set", "train.device=cpu", "--out"]
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    status, _, err = call(capsys, *line, tmp_path / "busy")
    assert (status, err.count("other programs use this machine")) == (0, 1)
    status, _, err = call(capsys, *line, tmp_path / "quiet", "--quiet")
    assert (status, err.count("other programs use this machine")) == (0, 1)  # quiet hides progress alone
    monkeypatch.setattr(os, "getloadavg", unknown)
    status, _, err = call(capsys, *line, tmp_path / "unknown")
    assert (status, err.count("other programs use this machine")) == (0, 0)


def head(folder):
    return subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_is_gits_and_says_whether_the_package_was_changed_since(repository):
    (repository.parent / "notes.txt").touch()  # outside the package
    assert commit(repository) == head(repository)
    (repository / "__init__.py").write_text("x = 2\n")
    assert commit(repository) == head(repository) + "-dirty"


def test_a_new_file_of_the_package_is_a_change(repository):
    (repository / "new.py").touch()
    assert commit(repository) == head(repository) + "-dirty"


def test_asking_does_not_write_to_the_repository(repository):
    index = repository.parent / ".git/index"
    (repository / "__init__.py").touch()  # git would like to refresh its index
    before = index.read_bytes(), index.stat().st_mtime_ns
    commit(repository)
    assert (index.read_bytes(), index.stat().st_mtime_ns) == before


def test_a_package_that_the_repository_does_not_track_has_no_commit(repository):
    (repository.parent / "venv").mkdir()
    (repository.parent / "venv" / "__init__.py").touch()
    assert commit(repository.parent / "venv") is None


def test_without_repository_or_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").touch()
    assert commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path) is None
