"""What is kept in the user's cache folder comes back whole or not at all, and never gets in the way."""

import json
import os
from pathlib import Path

import pytest

from concord.errors import ResourceError
from concord.files import cache

KEY = {"name": "x", "sizes": [1, 2]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entry_of(folder):
    (path,) = folder.rglob("*.json")
    return path


def test_the_folder_is_the_first_that_is_given(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("CONCORD_CACHE", "/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache.cache_folder() == Path("/mine")
    monkeypatch.setenv("CONCORD_CACHE", "")
    assert cache.cache_folder() == Path("/caches/concord")
    for nothing in ("", "relative/is/ignored"):
        monkeypatch.setenv("XDG_CACHE_HOME", nothing)
        assert cache.cache_folder() == Path("/home/me/.cache/concord")


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CONCORD_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    cache.keep("things", KEY, {"a": 1})
    assert cache.kept("things", KEY) is None


def test_a_value_comes_back_for_its_key_alone(folder):
    cache.keep("things", KEY, {"a": [1, 2.5, None, "é"]})
    assert cache.kept("things", KEY) == {"a": [1, 2.5, None, "é"]}
    assert cache.kept("things", {**KEY, "sizes": [2, 1]}) is None
    assert cache.kept("others", KEY) is None


def test_an_entry_is_json_that_other_programs_can_read(folder):
    cache.keep("things", KEY, {"a": 1})
    document = json.loads(entry_of(folder).read_text())
    assert (document["key"], document["value"]) == (KEY, {"a": 1})


def test_no_damage_of_one_byte_is_read(folder):
    cache.keep("things", KEY, {"macs": 415_920})
    whole = entry_of(folder).read_bytes()
    for place in range(len(whole)):
        entry_of(folder).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.kept("things", KEY) is None, place
    for part in (b"", whole[:50], whole[:-1], whole + b" "):
        entry_of(folder).write_bytes(part)
        assert cache.kept("things", KEY) is None
    entry_of(folder).write_bytes(whole)
    assert cache.kept("things", KEY) == {"macs": 415_920}


def test_an_entry_under_another_s_name_is_not_read(folder):
    cache.keep("things", KEY, {"a": 1})
    stolen = entry_of(folder).read_bytes()
    other = {**KEY, "name": "y"}
    cache.keep("things", other, {"a": 2})
    for path in folder.rglob("*.json"):
        path.write_bytes(stolen)
    assert cache.kept("things", other) is None


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(folder, make):
    cache.keep("things", KEY, {"a": 1})
    path = entry_of(folder)
    path.unlink()
    make(path)
    assert cache.kept("things", KEY) is None


def test_an_entry_that_is_too_large_is_neither_kept_nor_read(folder, monkeypatch):
    cache.keep("things", KEY, {"a": "x" * 200})
    monkeypatch.setattr(cache, "LARGEST", 300)
    assert cache.kept("things", KEY) is None
    cache.keep("things", {"b": 1}, {"a": "x" * 200})
    assert len(list(folder.rglob("*.json"))) == 1


def aged(folder, number, seconds):
    cache.keep("things", {"n": number}, {"a": "x" * 100})
    newest = max(folder.rglob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    os.utime(newest, (seconds, seconds))


def test_the_oldest_entries_make_room_for_the_newest(folder, monkeypatch):
    monkeypatch.setattr(cache, "ENTRIES", 3)
    for number in range(5):
        aged(folder, number, 1_000 + number)
    assert [n for n in range(5) if cache.kept("things", {"n": n})] == [2, 3, 4]


def test_all_entries_together_have_a_limit_in_bytes(folder, monkeypatch):
    aged(folder, 0, 1_000)
    size = entry_of(folder).stat().st_size
    monkeypatch.setattr(cache, "BYTES", 2 * size)
    for number in range(1, 4):
        aged(folder, number, 1_000 + number)
    assert [n for n in range(4) if cache.kept("things", {"n": n})] == [2, 3]


def test_a_folder_that_cannot_be_made_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "file"))
    cache.keep("things", KEY, {"a": 1})
    assert cache.kept("things", KEY) is None


def test_a_full_disk_is_passed_over_and_leaves_the_old_entry(folder, monkeypatch):
    cache.keep("things", KEY, {"a": 1})

    def full(path, content):
        raise ResourceError(f"{path}: the disk is full")

    monkeypatch.setattr(cache, "replace", full)
    cache.keep("things", KEY, {"a": 2})
    assert cache.kept("things", KEY) == {"a": 1}


def test_only_an_object_is_handed_back(folder):
    cache.keep("things", KEY, [1, 2])
    assert cache.kept("things", KEY) is None
