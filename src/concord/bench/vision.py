"""What the benchmarks of masks and boxes share: members and updates of concord, and time taken in turns."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from concord.runs import machine, toml
from concord.runs.given import parts_of
from concord.runs.own import own_job
from concord.runs.own_settings import Binding, Choices, config_of
from concord.runs.vision.interface import VisionInterface
from concord.runs.vision.members import build_members
from concord.tasks.task import Task, Tree
from concord.training.fit import fit
from concord.training.loop import Step

Call = Callable[[], object]
ONE = "one"


def member(network: str, interface: VisionInterface) -> nn.Module:
    """A member as a run on the CPU has it."""
    settings = {
        "data": {"source": "made"},
        "members": [{"name": ONE, "network": network}],
        "train": {"task": interface.task, "device": "cpu"},
    }
    return build_members(toml.parse(settings), interface, ())[ONE]


def training(net: nn.Module, data: tuple[Tree, Tree], task: Task[Any], batch: int) -> Call:
    """One update for each call, with everything that ``Ensemble.fit`` does between updates."""
    members = {ONE: net}
    binding, choices = Binding(), Choices(epochs=100_000, batch_size=batch, schedule=None)
    config = config_of(members, binding, choices, task)
    parts = parts_of(data, None, None, task=task, seed=0)
    events = fit(own_job(members, parts, task, binding, choices, config, out=None))

    def update() -> None:
        with machine.settled(config):
            while not isinstance(next(events), Step):
                pass

    return update


def plain_training(net: nn.Module, batches: Iterator[Any], loss: Callable[[Any, Any], torch.Tensor]) -> Call:
    """The plainest loop: one update for each call."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def update() -> None:
        x, y = next(batches)
        net.train()
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()

    return update


def shuffled(count: int, batch: int) -> Iterator[torch.Tensor]:
    """Numbers of the samples of a batch, in another order each time through."""
    while True:
        yield from torch.randperm(count).split(batch)


def in_turns(case: str, engines: Mapping[str, Call], images: int, rounds: int) -> list[dict[str, Any]]:
    """Images per second of processor time on one thread: the best of ``rounds`` in turns, after a first call.

    A call takes ``images`` images. ``concord_over``: how many times as fast the engine concord is.
    """
    best = dict.fromkeys(engines, float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(rounds + 1):
            for name, call in engines.items():
                began = time.process_time()
                call()
                if turn:
                    best[name] = min(best[name], time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    return [
        {
            "case": case,
            "engine": name,
            "images_per_second": images / seconds,
            "concord_over": seconds / best["concord"],
        }
        for name, seconds in best.items()
    ]
