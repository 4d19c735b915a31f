"""``concord bench stacked``: members of one network in one pass beside a pass for each, in one run.

Example:
    $ concord bench stacked --network lenet5 --count 8
"""

import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from concord.cli.bench_updates import BATCH, in_turns, noise, over, updates
from concord.cli.options import Json, print_json

WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "float32": {"precision": "float32"},
    "stacked": {"stacked": True},
}


def bench_stacked(
    network: str = "noel2017_st", count: int = 4, device: str = "auto", rounds: int = 5, each: int = 20
) -> dict[str, Any]:
    """Samples per second of ``count`` members of a network, three ways in turns: median over rounds.

    default: a pass for each member, in the precision of the machine. float32: the same in the precision of
    the third, stacked: one pass for all.
    """
    import torch

    images = noise()
    members = [{"name": f"m{i}", "network": network} for i in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        contenders = {}
        for name, settings in WAYS.items():
            tables = {"members": members, "consensus": {"cost": "l2", "weight": 0.01}}
            tables["train"] = {"device": device} | settings
            contenders[name] = updates(tables, images, Path(folder) / name)
        rates = in_turns(contenders, rounds, each)
    on_gpu = torch.cuda.is_available() and device != "cpu"
    return {
        "network": f"{count} x {network}, 1x28x28, batch {BATCH}, l2 0.01",
        "device": torch.cuda.get_device_name(None if device == "auto" else device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "samples_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "stacked_over": {name: over(rates, "stacked", name) for name in ("default", "float32")},
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
        ratio = measured["stacked_over"].get(name)
        beside = f"   stacked is {ratio:.2f} times as fast" if ratio else ""
        print(f"{name:10}{rate:8.0f} images/s{beside}")
