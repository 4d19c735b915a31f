"""A process of a study that dies, whatever it is doing, is told; the others end, and nothing hangs."""

import multiprocessing
import os
import signal

import pytest
import study_made

from concord.errors import ResourceError, StoppedError
from concord.studies import processes
from concord.studies.processes import Processes


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """An executor with a process for each of these cells; none of them is left afterwards."""
    monkeypatch.setattr(processes, "serve", study_made.serve)
    before = set(multiprocessing.active_children())

    def begin(*cells, stop=lambda: False):
        executor = Processes(tmp_path, workers=len(cells), threads=1, stop=stop)
        for cell in cells:
            executor.submit(cell)
        return executor

    yield begin
    assert set(multiprocessing.active_children()) == before


def pid_of(executor, cell):
    return next(w.process.pid for w in executor._workers if w.cell == cell)


@pytest.mark.fault(26)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_an_idle_process_that_is_killed_ends_the_study(number, begun):
    with begun("short", "long") as executor:
        idle = pid_of(executor, "short")
        finished = executor.finished()
        assert next(finished) == ("short", {"cell": "short"})
        os.kill(idle, number)
        with pytest.raises(ResourceError, match=f"was killed by {number.name}.*smaller --jobs"):
            next(finished)


@pytest.mark.fault(26)
def test_a_process_at_work_that_is_killed_is_the_outcome_of_its_cell(begun):
    with begun("long", "other") as executor:
        os.kill(pid_of(executor, "long"), signal.SIGKILL)
        cell, outcome = next(executor.finished())
    assert cell == "long"
    assert isinstance(outcome, ResourceError)


def test_a_process_that_ends_by_itself_is_told_with_its_status(begun):
    with begun("exits") as executor:
        _, outcome = next(executor.finished())
    assert "ended with status 3" in str(outcome)


def test_after_a_stop_a_death_is_told_before_what_stopped_in_good_order(begun):
    with begun("long", "dies while it saves", stop=lambda: True) as executor:
        executor._waiting.append("never")
        outcomes = list(executor.finished())
    first, outcome = outcomes[0]
    assert first == "dies while it saves"
    assert isinstance(outcome, ResourceError)
    assert {cell: type(outcome) for cell, outcome in outcomes[1:]} == {
        "long": StoppedError,
        "never": StoppedError,
    }
