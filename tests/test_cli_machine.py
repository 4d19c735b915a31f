"""The stamp of a run."""

import shutil
import subprocess

import pytest

from concord.cli.machine import commit


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "code.py").write_text("x = 1\n")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "code.py"], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    return tmp_path


def head(folder):
    return subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_is_gits_and_says_whether_files_changed_since(repository):
    assert commit(repository / "code.py") == head(repository)
    (repository / "code.py").write_text("x = 2\n")
    assert commit(repository / "code.py") == head(repository) + "-dirty"


def test_a_file_that_the_repository_does_not_track_has_no_commit(repository):
    (repository / "venv").mkdir()
    (repository / "venv" / "code.py").touch()
    assert commit(repository / "venv" / "code.py") is None


def test_without_repository_or_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / "code.py").touch()
    assert commit(tmp_path / "code.py") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path / "code.py") is None
