"""``concord bench stacked``: members of one network in one pass beside a pass for each, in one run.

Example:
    $ concord bench stacked --network lenet5 --count 8
"""

import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from concord.cli.bench_updates import BATCH, noise, timed, updates
from concord.cli.options import Json, print_json


def bench_stacked(
    network: str = "noel2017_st", count: int = 4, device: str = "auto", rounds: int = 5, each: int = 20
) -> dict[str, Any]:
    """Samples per second of ``count`` members of a network, stacked and not: median over rounds in turns."""
    import torch

    images = noise()
    with tempfile.TemporaryDirectory() as folder:
        contenders = {}
        for name, stacked in (("apart", False), ("stacked", True)):
            settings = {
                "members": [{"name": f"m{i}", "network": network} for i in range(count)],
                "consensus": {"cost": "l2", "weight": 0.01},
                "train": {"device": device, "stacked": stacked},
            }
            contenders[name] = updates(settings, images, Path(folder) / name)
        for contender in contenders.values():
            timed(contender, 3)  # first calls choose kernels
        taken = [{name: timed(c, each) for name, c in contenders.items()} for _ in range(rounds)]
    return {
        "network": f"{count} x {network}, 1x28x28, batch {BATCH}, l2 0.01",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() and device != "cpu" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "samples_per_second": {
            name: statistics.median(each * BATCH / row[name] for row in taken) for name in contenders
        },
        "stacked_over_apart": statistics.median(row["apart"] / row["stacked"] for row in taken),
    }


def bench_stacked_command(
    network: Annotated[str, typer.Option(help="What all members are.")] = "noel2017_st",
    count: Annotated[int, typer.Option(min=2, help="How many members.")] = 4,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="How often each takes its turn.")] = 5,
    each: Annotated[int, typer.Option("--updates", min=1, help="Updates per turn.")] = 20,
    json_: Json = False,
) -> None:
    measured = bench_stacked(network, count, device, rounds, each)
    if json_:
        print_json(measured)
        return
    where = f"{measured['device']}, torch {measured['torch']}, {measured['threads']} threads"
    print(f"{measured['network']}; {where}")
    for name, rate in measured["samples_per_second"].items():
        print(f"{name:10}{rate:8.0f} images/s")
    print(f"stacked is {measured['stacked_over_apart']:.2f} times as fast as a pass for each member")
