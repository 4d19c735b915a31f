"""``concord bench stacked``: members of one network in one pass, beside one pass for each.

Example:
    $ concord bench stacked --network lenet5 --count 8
"""

from typing import Annotated

import typer

from concord.cli.options import Json, print_json


def bench_stacked_command(
    network: Annotated[str, typer.Option(help="Network of all members.")] = "noel2017_st",
    count: Annotated[int, typer.Option(min=2, help="Number of members.")] = 4,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto (default: cuda if there is one).")] = "auto",
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds; each tool is measured once per round.")
    ] = 5,
    each: Annotated[int, typer.Option("--updates", min=1, help="Number of updates per measurement.")] = 20,
    json_: Json = False,
) -> None:
    from concord.bench.stacked import bench_stacked

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
