"""One thread or several: a trial decides where other programs keep the cores busy."""

import os

import pytest
import torch
from torch import nn

from concord.runs import threads, toml
from concord.runs.threads import chosen, crowded

SHAPE = (1, 6, 6)


def config(number, device="cpu"):
    train = {"device": device, "threads": number}
    return toml.parse({"members": [{"name": "a", "network": "x"}], "train": train})


@pytest.fixture
def busy(monkeypatch):
    def at(load):
        monkeypatch.setattr(os, "cpu_count", lambda: 4)
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))

    before = torch.get_num_threads()
    yield at
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("load", "number", "device", "found"),
    [
        (2.75, 2, "cpu", True),  # 4 cores: 1.25 are left for 2 threads
        (2.5, 2, "cpu", False),
        (0.9, 4, "cpu", True),
        (9.0, 1, "cpu", False),  # one thread waits for no other
        (9.0, 4, "cuda", False),
    ],
)
def test_cores_are_short_where_load_and_threads_are_more_than_there_are(load, number, device, found, busy):
    busy(load)
    assert (crowded(config(number, device)) is not None) is found


class Waiting(nn.Module):
    """Computes for as long as it is told for the number of threads that torch has."""

    def __init__(self, monkeypatch, **seconds):
        super().__init__()
        self.clock, self.seconds = 0.0, seconds
        monkeypatch.setattr(threads.time, "perf_counter", lambda: self.clock)

    def forward(self, x):
        self.clock += self.seconds["one" if torch.get_num_threads() == 1 else "several"]
        return x


@pytest.mark.parametrize(("one", "several", "number"), [(1.0, 8.0, 1), (1.0, 1.2, 2), (1.0, 0.5, 2)])
def test_the_trial_takes_one_thread_where_it_is_clearly_faster(one, several, number, busy, monkeypatch):
    busy(9.0)
    torch.set_num_threads(2)
    member = Waiting(monkeypatch, one=one, several=several)
    choice = chosen(None, config(2), {"a": member}, SHAPE)
    assert (choice.config.train.threads, torch.get_num_threads()) == (number, number)
    assert (choice.notice is not None) is (number == 1)
    if choice.notice:
        assert "8.0 times as fast as 2; --set train.threads=2 keeps all" in choice.notice


def test_a_number_that_was_asked_for_is_kept(busy, monkeypatch):
    busy(9.0)
    choice = chosen(2, config(2), {"a": Waiting(monkeypatch, one=1.0, several=8.0)}, SHAPE)
    assert choice.config.train.threads == 2
    assert "load 9.0 on 4 cores" in choice.notice


def test_nothing_is_tried_where_the_cores_are_free(busy, monkeypatch):
    busy(0.0)
    member = Waiting(monkeypatch, one=1.0, several=8.0)
    assert chosen(None, config(2), {"a": member}, SHAPE).notice is None
    assert member.clock == 0
