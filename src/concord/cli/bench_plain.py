"""``concord bench plain``: a training step of the USTH CNN's network beside loops as the source writes them.

Example:
    $ concord bench plain --rounds 5
"""

from typing import Annotated

import typer

from concord.cli.options import Json, print_json


def bench_plain_command(
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds; each tool is measured once per round.")
    ] = 5,
    json_: Json = False,
) -> None:
    from concord.bench.plain import bench_plain

    found = bench_plain(rounds)
    if json_:
        print_json(found)
        return
    print(f"Python {found['python']}, {rounds} rounds, one step on a 120x120x3 picture")
    for name, seconds in found["seconds"].items():
        print(f"  {name.replace('_', ' '):20} {1000 * seconds:8.1f} ms")
    print(f"plain is {found['times_faster']:.1f} times faster than the naive loops,")
    print(f"{found['times_faster_weights_only']:.1f} times where these leave out the gradient of the picture")
    print(f"largest difference between the weights afterwards: {found['largest_difference']:.1e}")
