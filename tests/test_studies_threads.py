"""Processes of a study share the cores."""

import pytest

from concord.errors import UsageError
from concord.studies import processes


@pytest.mark.parametrize(
    ("cores", "cells", "jobs", "threads"),
    [
        (12, 5, 2, 6),  # two at a time
        (12, 5, None, 2),  # five at a time, 12 / 5 rounded down
        (12, 100, None, 1),  # as many as there are cores
        (12, 100, 5, 2),
        (12, 3, 100, 4),  # never more processes than cells
        (12, 100, 30, 1),  # more processes than cores: one thread each
        (12, 1, None, 12),
        (12, 0, None, 12),  # nothing to do divides by nothing
        (None, 7, None, 1),  # the system does not know
    ],
)
def test_threads_of_each_run(cores, cells, jobs, threads, monkeypatch):
    monkeypatch.setattr(processes.os, "cpu_count", lambda: cores)
    assert processes.threads_each(cells, jobs) == threads


@pytest.mark.parametrize("jobs", [0, -3])
def test_less_than_one_process_is_refused(jobs):
    with pytest.raises(UsageError, match=f"at least 1, got {jobs}"):
        processes.threads_each(5, jobs)
