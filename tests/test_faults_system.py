"""Errors of the system that no part of concord foresaw: one sentence and a status, never 1, no traceback."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_made import FACTORY, call, write_npz

import concord
from concord.cli import app

ALLOW = ["--allow-code", "system_net:make"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("system")
    (folder / "system_net.py").write_text(FACTORY)
    (folder / "loop").symlink_to("loop")
    write_npz(folder / "data.npz")
    settings = {
        "data": {"source": "data.npz"},
        "members": [{"name": "own", "network": "system_net:make"}],
        "train": {"epochs": 1, "threads": 1, "precision": "float32"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        concord.train(settings, "run", allow_code=["system_net:make"])
    return folder


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


def failing(monkeypatch, name, number):
    """Reading the files of that name fails as the system would let it fail."""
    real = Path.read_bytes

    def read(path):
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (errno.EACCES, 3, "run/metrics.jsonl: cannot be read or used (Permission denied)"),
        (errno.EIO, 3, "run/metrics.jsonl: cannot be read or used (Input/output error)"),
        (errno.ENOMEM, 6, "run/metrics.jsonl: Cannot allocate memory; make room"),
        (errno.ENOSPC, 6, "run/metrics.jsonl: No space left on device; make room"),
        (errno.EDQUOT, 6, "run/metrics.jsonl: Disk quota exceeded; make room"),
        (errno.EFBIG, 6, "run/metrics.jsonl: File too large; make room"),
        (errno.EROFS, 6, "run/metrics.jsonl: Read-only file system; make it writable"),
    ],
)
def test_a_file_that_the_system_refuses_is_named(number, status, words, here, monkeypatch, capsys):
    failing(monkeypatch, "metrics.jsonl", number)
    given, out, err = call(capsys, "eval", "run", "--json", *ALLOW)
    assert (given, json.loads(out)["status"]) == (status, status)
    assert words in json.loads(out)["error"]
    assert words in err
    assert "Traceback" not in err


def test_debug_shows_where_the_file_was_needed(here, monkeypatch, capsys):
    failing(monkeypatch, "metrics.jsonl", errno.EACCES)
    status, _, err = call(capsys, "eval", "run", *ALLOW, "--debug")
    assert status == 3
    assert "PermissionError" in err.splitlines()[-2]
    assert "Traceback (most recent call last)" in err


def test_a_file_that_fails_while_it_is_read_is_a_data_error(here, tmp_path, capsys):
    """Memory of a process, read from its start, fails for everybody."""
    run = tmp_path / "run"
    run.mkdir()
    for entry in (here / "run").iterdir():
        (run / entry.name).symlink_to(entry if entry.name != "metrics.jsonl" else "/proc/self/mem")
    status, _, err = call(capsys, "eval", run, *ALLOW)
    assert (status, "cannot be read or used (Input/output error); --debug shows where" in err) == (3, True)


def test_a_loop_of_links_is_named(here, capsys):
    status, _, err = call(capsys, "attack", "loop")
    assert (status, "loop" in err, "Traceback" in err) == (3, True, False)


def test_a_fault_of_concord_itself_keeps_its_traceback(here, monkeypatch):
    monkeypatch.setattr(concord.zoo.registry, "networks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        app.main(["zoo"])


def writing(stdout, *command, stderr=subprocess.PIPE):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "concord", *command]
    return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, env=environment)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_onto_a_full_disk_ends_with_6(options):
    with Path("/dev/full").open("w") as full:
        done = writing(full, "zoo", *options)
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("command", [["zoo"], ["zoo", "--json"], ["cost", "resnet152", "--json"]])
def test_output_that_nobody_reads_is_no_answer_no(command):
    read, write = os.pipe()
    os.close(read)
    done = writing(write, *command)
    os.close(write)
    assert (done.returncode, done.stderr) == (6, "")


@pytest.mark.parametrize(
    ("command", "status"), [(["zoo"], 0), (["zoo", "--json"], 0), (["cost", "lenet6"], 2)]
)
def test_a_process_without_standard_output_has_the_status_that_is_due(command, status):
    line = [sys.executable, "-m", "concord", *command]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *line], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, "Traceback" in done.stderr, '"name"' in done.stderr) == (status, False, False)


def test_help_goes_to_standard_output_whatever_stands_beside_it():
    done = writing(subprocess.PIPE, "zoo", "--json", "--help")
    assert (done.returncode, "zoo [OPTIONS]" in done.stdout, done.stderr) == (0, True, "")


def test_a_short_output_onto_a_full_disk_ends_with_6(here):
    """It stays in the buffer until the end."""
    with Path("/dev/full").open("w") as full:
        done = writing(full, "data", "check", "data.npz")
    assert done.returncode == 6
    assert done.stderr == "concord: standard output: cannot write (No space left on device)\n"


def test_the_status_is_told_even_where_no_message_can_be(here):
    with Path("/dev/full").open("w") as full:
        assert writing(full, "eval", "nowhere", "--json", stderr=full).returncode == 4
