"""``concord bench cost``: how long building and counting a network takes here and with other tools.

Example:
    $ concord bench cost --rounds 3
"""

from typing import Annotated

import typer

from concord.cli.options import Json, print_json


def cost_command(
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds; each tool is measured once per round.")
    ] = 5,
    json_: Json = False,
) -> None:
    from concord.bench.cost import LARGE, SIDE, bench_cost

    measured = bench_cost(rounds)
    if json_:
        print_json(measured)
        return
    print(f"build + count, milliseconds, median of {rounds} rounds; torch {measured['torch']}")
    for network, row in measured["networks"].items():
        print(f"\n{network}")
        for name, milliseconds in row["milliseconds"].items():
            print(f"  {name:16}{milliseconds:10.1f}   {row['macs'][name]:>18,} MACs")
        print(f"  at 3x{LARGE}x{LARGE} {row['large_over_small']:.2f} times the time of 3x{SIDE}x{SIDE}")
        if row["times_faster_than_the_fastest"]:
            print(f"  {row['times_faster_than_the_fastest']:.1f} times as fast as the fastest of the others")
    if measured["not_installed"]:
        print(f"\nnot installed: pip install {' '.join(measured['not_installed'])}")
