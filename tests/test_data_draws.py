"""Random bits by number, text made safe to show, and memory asked for before it is taken."""

import numpy as np
import pytest

from concord.data import memory
from concord.data.draws import bits, permutation, seed_of, splitmix64
from concord.errors import ResourceError
from concord.files.text import printable


def test_splitmix64_gives_its_published_numbers():
    # The test vector of Rosetta Code, "Pseudo-random numbers/Splitmix64", seed 1234567.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(1234567, np.arange(5)).tolist() == published


def test_bits_depend_on_the_number_and_not_on_its_neighbours():
    assert bits(np.array([7, 3]), "a", 1).tolist() == bits(np.arange(9), "a", 1)[[7, 3]].tolist()


@pytest.mark.parametrize("other", [("b", 1, 2), ("a", 2, 1), ("a", 12), ("a", 1, 2, 0)])
def test_another_key_gives_other_bits(other):
    assert not (bits(np.arange(50), "a", 1, 2) == bits(np.arange(50), *other)).any()


def test_a_seed_of_any_size_or_sign_is_a_key():
    assert len({seed_of("order", seed) for seed in (-1, 0, 1, 2**64, 2**64 + 1)}) == 5


def test_every_place_of_a_permutation_is_equally_likely():
    first = [int(permutation(4, "place", seed)[0]) for seed in range(2000)]
    counts = np.bincount(first, minlength=4)
    assert ((counts - 500) ** 2 / 500).sum() < 16.3  # chi-square with 3 degrees of freedom, p = 0.001


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.png", "plain name.png"),
        ("naïve 猫 🐈", "naïve 猫 🐈"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("two\nlines\ttab", r"two\nlines\ttab"),
        ("right\u202eleft", r"right\u202eleft"),
        ("zero\u200bwidth\x7f\x9b", r"zero\u200bwidth\x7f\x9b"),
        ("bytes \udcff", r"bytes \udcff"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text, shown):
    assert printable(text) == shown
    shown.encode()


def test_memory_is_the_least_of_machine_and_container(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:   500 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available() == 512_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.available() == 512_000
    (tmp_path / "memory.max").write_text("301000\n")
    assert memory.available() == 300_000


def test_a_need_above_what_there_is_names_both_and_the_way_out(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1_500_000)
    memory.require(1_500_000, "it", "buy more")
    with pytest.raises(ResourceError, match=r"it needs 3\.2 GB of memory, 1\.5 MB are available; buy more"):
        memory.require(3_200_000_000, "it", "buy more")


def test_memory_that_no_one_knows_of_is_not_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: None)
    memory.require(10**18, "it", "buy more")
