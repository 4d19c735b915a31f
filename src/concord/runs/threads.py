"""How many threads a training gets on a machine that others use too: a short trial decides.

Threads meet many times in every update of a small network, and all wait for the one without a core.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from concord.runs.config import Config
from concord.training.evaluate import output_of

BUSY = 0.75  # of a core, on average over the last minute
SAMPLES = 16
ROUNDS = 3
WORTH = 1.25  # times as fast one thread must be


@dataclass(frozen=True)
class Choice:
    """The configuration with its number of threads, and a sentence about it if it is not the usual one."""

    config: Config
    notice: str | None = None


def crowded(config: Config) -> float | None:
    """The load of the last minute, where it leaves fewer cores than the threads want; else None."""
    cores, threads = os.cpu_count() or 1, config.train.threads or 1
    try:
        load = os.getloadavg()[0]
    except OSError:  # where it cannot be told
        return None
    if config.train.device != "cpu" or threads == 1 or load + threads < cores + BUSY:
        return None
    return load


def chosen(
    asked: int | None, config: Config, members: Mapping[str, nn.Module], shape: tuple[int, int, int]
) -> Choice:
    """One thread instead of several where nobody ``asked`` for a number and others keep the cores busy.

    Only where a trial on this machine finds one thread clearly faster; torch has it then, and the run keeps
    it, so that a resume computes the same.
    """
    load, threads = crowded(config), config.train.threads or 1
    if load is None:
        return Choice(config)
    busy = f"other programs use this machine (load {load:.1f} on {os.cpu_count()} cores)"
    if asked is not None:
        return Choice(config, f"{busy}: {threads} threads wait for each other, and 1 may be faster")
    ratio = _times_as_fast(members, torch.zeros(SAMPLES, *shape), threads)
    if ratio < WORTH:
        return Choice(config)
    torch.set_num_threads(1)
    train = config.train.model_copy(update={"threads": 1})
    return Choice(
        config.model_copy(update={"train": train}),
        f"{busy}: this run uses 1 thread, which a short trial found {ratio:.1f} times as fast as {threads};"
        f" --set train.threads={threads} keeps all",
    )


def _times_as_fast(members: Mapping[str, nn.Module], x: Tensor, threads: int) -> float:
    """How many times as fast one thread is, as the two take turns: the best round of each counts."""
    taken: dict[int, list[float]] = {threads: [], 1: []}
    for _ in range(ROUNDS):
        for number, seconds in taken.items():
            torch.set_num_threads(number)
            began = time.perf_counter()
            for member in members.values():
                output_of(member, x)
            seconds.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return min(taken[threads]) / min(taken[1])
