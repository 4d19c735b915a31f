"""Updates of concord as ``concord train`` does them, for benchmarks to time."""

import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concord.data.images.images import Images

Updates = Iterator[None]  # one update of all members per step
BATCH = 64
IMAGES = 6400


def noise() -> "Images":
    """Noise with labels: what is in the images does not change the time."""
    import torch

    from concord.data.images.images import Images
    from concord.data.images.stores import InMemory

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES, 1, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (IMAGES,), generator=generator)
    return Images(InMemory(pixels), labels, tuple("0123456789"), range(IMAGES))  # type: ignore[arg-type]


def timed(contender: Updates, updates: int) -> float:
    """Seconds for so many updates, with all that they leave the device to do."""
    import torch

    began = time.perf_counter()
    for _ in range(updates):
        next(contender)
    for gpu in range(torch.cuda.device_count()):
        torch.cuda.synchronize(gpu)
    return time.perf_counter() - began


def in_turns(contenders: Mapping[str, Updates], rounds: int, each: int) -> dict[str, list[float]]:
    """Samples per second of every contender, ``rounds`` times; each does so many updates in its turn."""
    for contender in contenders.values():
        timed(contender, 3)  # first calls choose kernels
    taken = [{name: timed(c, each) for name, c in contenders.items()} for _ in range(rounds)]
    return {name: [each * BATCH / row[name] for row in taken] for name in contenders}


def over(rates: Mapping[str, list[float]], one: str, other: str) -> float:
    """How many times as fast one is as the other: median over the rounds."""
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))


def updates(settings: Mapping[str, Any], images: "Images", run: Path) -> Updates:
    """Updates of a training with these settings, and with everything that lies between them."""
    from concord.data.splits import Splits
    from concord.runs import assemble, machine, toml
    from concord.runs import folder as run_folder
    from concord.runs.interface import Interface
    from concord.runs.job import make_job
    from concord.training.fit import fit
    from concord.training.loop import Step

    train = {"epochs": 1000, "batch_size": BATCH} | dict(settings["train"])
    config = machine.resolved(toml.parse({**settings, "train": train, "data": {"valid": 0.0}}))
    splits = Splits(images, images.subset(images.labels[:0]), images, "", ())
    interface = Interface.of(splits)
    members = assemble.build_members(config, interface, ())
    folder = run_folder.create(run, config, {}, interface.plain())
    job = make_job(folder, config, splits, members, interface)
    with machine.settled(config):
        for event in fit(job):
            if isinstance(event, Step):
                yield
