"""The run folder: made once, held by one process, readable after any kill."""

import json
import os
from pathlib import Path

import pytest
from run_made import file_limit, settings

from concord.errors import CheckpointError, DataError, ResourceError, UsageError
from concord.files.atomic import disk_errors, replace
from concord.runs import folder as run_folder
from concord.runs import toml
from concord.runs.folder import RunFolder, create, locked

CONFIG = toml.parse(settings())
STRANGE = ["with spaces", "ünï 漢字", "new\nline", "-dash", "q'u\"o", "a" * 200, "tab\tand \x1b[2J"]


def make(path):
    return create(path, CONFIG, {"seed": 0}, {"shape": [1, 2, 3]})


@pytest.mark.parametrize("name", STRANGE)
def test_a_folder_of_any_name_holds_what_was_put_in(name, tmp_path):
    made = make(tmp_path / "deep" / name)
    assert made.config() == CONFIG
    assert (made.json("stamp.json"), made.json("interface.json")) == ({"seed": 0}, {"shape": [1, 2, 3]})
    assert made.checkpoints.is_dir()
    assert not made.complete
    made.write_json("result.json", {"x": 1.5})
    assert made.complete
    assert not [p for p in made.path.iterdir() if ".tmp-" in p.name]


def test_a_run_is_not_made_over_another(tmp_path):
    make(tmp_path / "run")
    with pytest.raises(UsageError, match=r"holds a run already: `concord resume .*run` continues it"):
        make(tmp_path / "run")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file; --out takes a folder"):
        make(tmp_path / "file")


def test_a_folder_with_other_files_may_become_a_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert make(tmp_path).config() == CONFIG
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_of_other_folders_such_as_photos_is_left_alone(tmp_path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"photos is a folder with other folders in it, such as cat"):
        make(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat"]


@pytest.mark.parametrize("name", ["file/run", "file/run/deep", "x" * 300, "ok/" + "x" * 300])
def test_a_folder_that_cannot_be_made_is_a_matter_of_resources(name, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match="cannot write"):
        make(tmp_path / name)


def test_no_folder_is_no_run(tmp_path):
    for path, why in ((tmp_path, r"config\.toml is missing"), (tmp_path / "nowhere", "does not exist")):
        with pytest.raises(CheckpointError, match=f"is not a run folder: .*{why}"):
            RunFolder(path).config()
    (tmp_path / "config.toml").write_text("[train")
    with pytest.raises(CheckpointError, match=r"config\.toml: not a TOML file"):
        RunFolder(tmp_path).config()


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"3", b"\xff", b"[" * 100_000, b'{"a": 1'])
def test_a_damaged_json_file_is_named(content, tmp_path):
    for name in ("stamp.json", "result.json"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            RunFolder(tmp_path).json(name)


def test_a_missing_result_comes_with_a_cure(tmp_path):
    with pytest.raises(CheckpointError, match=r"result\.json is missing; `concord resume"):
        RunFolder(tmp_path).json("result.json")
    with pytest.raises(CheckpointError, match=r"stamp\.json is missing$"):
        RunFolder(tmp_path).json("stamp.json")


# Metrics


def test_rows_come_back_in_order_and_exactly(tmp_path):
    run = make(tmp_path)
    assert run.rows() == []
    rows = [{"epoch": 1, "x": 0.1 + 0.2, "text": "é\n"}, {"epoch": 2, "x": None}]
    for row in rows:
        run.append(row)
    assert run.rows() == rows
    assert run.logged() == run.metrics.stat().st_size


@pytest.mark.parametrize("keep", [0, 1, 5, -2, -1])
def test_a_last_line_torn_by_a_kill_is_passed_over_and_cut(keep, tmp_path):
    run = make(tmp_path)
    run.append({"epoch": 1})
    size = run.logged()
    run.append({"epoch": 2})
    os.truncate(run.metrics, size + keep if keep >= 0 else run.logged() + keep)
    assert run.rows() == [{"epoch": 1}]
    run.cut(size)
    run.append({"epoch": 2, "again": True})
    assert run.rows() == [{"epoch": 1}, {"epoch": 2, "again": True}]


@pytest.mark.parametrize("line", [b"nonsense", b"[1]", b"{", b"\xff\xfe", b"3"])
def test_a_damaged_line_among_others_is_named(line, tmp_path):
    run = make(tmp_path)
    run.metrics.write_bytes(b'{"epoch": 1}\n' + line + b'\n{"epoch": 3}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: damaged"):
        run.rows()


def test_metrics_that_were_lost_are_missed(tmp_path):
    run = make(tmp_path)
    run.append({"epoch": 1})
    size = run.logged()
    run.metrics.write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"has 0 bytes and had {size}.*put it back"):
        run.cut(size)
    run.metrics.unlink()
    with pytest.raises(CheckpointError, match="put it back"):
        run.cut(size)
    run.cut(0)


def test_a_full_disk_in_metrics_loses_no_earlier_row(tmp_path):
    run = make(tmp_path)
    run.append({"epoch": 1})
    size = run.logged()
    with file_limit(size + 10), pytest.raises(ResourceError, match=r"metrics\.jsonl: the disk is full"):
        run.append({"epoch": 2, "text": "x" * 1000})
    assert run.logged() == size + 10  # torn
    assert run.rows() == [{"epoch": 1}]
    run.cut(size)
    run.append({"epoch": 2})
    assert run.rows() == [{"epoch": 1}, {"epoch": 2}]


def test_a_number_that_is_none_does_not_get_into_a_file(tmp_path):
    run = make(tmp_path)
    for write in (run.append, lambda row: run.write_json("result.json", row)):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write({"x": float("nan")})
    assert (run.rows(), run.complete) == ([], False)


def test_a_run_that_goes_on_otherwise_has_no_result_and_a_new_configuration(tmp_path):
    run = make(tmp_path)
    run.complete_with({}, {"predictions.safetensors": b"of the epochs before"})
    other = toml.parse(settings(train__epochs=9))
    run.reopen(other)
    assert (run.complete, run.config()) == (False, other)
    assert not (run.path / "predictions.safetensors").exists()


# The lock


@pytest.mark.fault(21)
def test_the_second_process_is_told_who_holds_the_run(tmp_path):
    run = make(tmp_path)
    with (
        locked(run),
        pytest.raises(UsageError, match=f"is in use by process {os.getpid()}$"),
        locked(run),
    ):
        pass
    with locked(run):
        pass


@pytest.mark.fault(21)
def test_a_lock_left_by_a_dead_process_does_not_hold(tmp_path):
    run = make(tmp_path)
    (tmp_path / ".lock").write_text("999999999")
    with locked(run):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


@pytest.mark.parametrize("error", [CheckpointError("c"), DataError("d"), UsageError("u"), OSError(5, "x")])
def test_an_error_while_the_lock_is_held_stays_what_it_is(error, tmp_path):
    run = make(tmp_path)
    with pytest.raises(type(error)) as caught, locked(run):
        raise error
    assert caught.value is error


def test_of_two_that_start_at_once_one_makes_the_run(tmp_path, monkeypatch):
    real, seen = run_folder.refuse_taken, []

    def overtaken(path):
        real(path)
        monkeypatch.undo()  # the first look finds nothing, and then somebody else is quicker
        seen.append(make(path))

    monkeypatch.setattr(run_folder, "refuse_taken", overtaken)
    with pytest.raises(UsageError, match="holds a run already"):
        create(tmp_path / "run", toml.parse(settings(train__epochs=9)), {}, {})
    assert seen[0].config() == CONFIG


def test_a_run_is_held_while_it_is_made(tmp_path, monkeypatch):
    real, seen = RunFolder.write_json, []

    def watched(run, name, content):
        with pytest.raises(UsageError, match="is in use by process"), locked(run):
            pass
        seen.append(name)
        real(run, name, content)

    monkeypatch.setattr(RunFolder, "write_json", watched)
    make(tmp_path / "run")
    assert seen == ["stamp.json", "interface.json"]


# Files that are whole or not there


def test_a_file_is_replaced_as_a_whole(tmp_path):
    file = tmp_path / "x"
    replace(file, b"one")
    with file_limit(100), pytest.raises(ResourceError, match="the disk is full"):
        replace(file, b"x" * 1000)
    assert file.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [file]
    with file.open("rb") as old:
        replace(file, b"two")
        assert old.read() == b"one"  # the old file is not written to, another one takes its name
    assert file.read_bytes() == b"two"


def test_errors_of_concord_pass_through_the_guard_of_the_disk():
    for error in (CheckpointError("x"), DataError("x"), ResourceError("x")):
        with pytest.raises(type(error)) as caught, disk_errors(Path("p")):
            raise error
        assert caught.value is error


def test_json_of_a_run_is_plain_json(tmp_path):
    run = make(tmp_path)
    run.write_json("result.json", {"a": [1, 2]})
    assert json.loads((tmp_path / "result.json").read_text()) == {"a": [1, 2]}
