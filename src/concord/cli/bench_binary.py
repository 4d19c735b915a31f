"""``concord bench binary``: binary convolutions beside those of PyTorch and OpenVINO.

Example:
    $ concord bench binary --batch 1,64 --json
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from concord.cli.options import Json, print_json
from concord.errors import UsageError


def binary_command(
    batch: Annotated[str, typer.Option(help="Batch sizes of the layers, with commas between them.")] = "1",
    whole: Annotated[bool, typer.Option(help="Measure the whole xnor_resnet18 too, with one image.")] = True,
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds for each engine and layer.")] = 0.7,
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds that these seconds are divided into.")
    ] = 5,
    json_: Json = False,
) -> None:
    from concord.bench.binary import bench_binary

    measured = bench_binary(_numbers(batch), whole, seconds, rounds)
    if json_:
        print_json(measured)
        return
    print(f"path {measured['path']}, torch {measured['torch']}, one thread; microseconds of a layer")
    print(f"{'layer':12}{'images':>7}  {'engine':18}{'microseconds':>13}{'concord is':>12}")
    for row in measured["rows"]:
        over = "" if row["engine"] == "concord" else f"{row['concord_over']:10.2f} x"
        print(f"{row['layer']:12}{row['batch']:>7}  {row['engine']:18}{row['microseconds']:13.1f}{over:>12}")
    _print_bound(measured["bound"])
    print(f"overhead of a call: {measured['overhead_microseconds']:.1f} microseconds")
    for engine, why in measured["not_measured"].items():
        print(f"not measured: {engine} ({why})")


def _print_bound(bound: Mapping[str, Any]) -> None:
    if bound["products_per_second"] is None:
        return
    rate = bound["products_per_second"]
    layers = ", ".join(f"{layer} {least:.1f}" for layer, least in bound["microseconds"].items())
    print(f"the instructions alone make {rate:.3g} bit products a second: {layers} microseconds")


def _numbers(batch: str) -> list[int]:
    try:
        numbers = [int(part) for part in batch.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise UsageError(f"--batch takes whole numbers of at least 1, such as 1,64; got {batch!r}")
    return numbers
