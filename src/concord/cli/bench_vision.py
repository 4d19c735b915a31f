"""``concord bench segment`` and ``concord bench detect``: masks and boxes beside plain PyTorch.

Example:
    $ concord bench detect --json
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from concord.cli.options import Json, print_json

Rounds = Annotated[int, typer.Option(min=1, help="Number of rounds; each engine is measured once per round.")]


def segment_command(
    rounds: Rounds = 5,
    side: Annotated[
        int,
        typer.Option(min=256, max=8192, help="Side of the picture that is predicted in tiles, in pixels."),
    ] = 2048,
    json_: Json = False,
) -> None:
    from concord.bench.segment import bench_segment

    _print(bench_segment(rounds, side), json_)


def detect_command(rounds: Rounds = 5, json_: Json = False) -> None:
    from concord.bench.detect import bench_detect

    _print(bench_detect(rounds), json_)


def _print(measured: Mapping[str, Any], json_: bool) -> None:
    if json_:
        print_json(measured)
        return
    height, width = measured["size"]
    about = f"{measured['network']}, {measured['batch']} images of {height}x{width} at once"
    print(f"{about}; torch {measured['torch']}, one thread")
    for row in measured["rows"]:
        case = f"{row['case']} {row.get('padding', '')}".rstrip()
        beside = (
            "" if row["engine"] == "concord" else f"   concord is {row['concord_over']:.2f} times as fast"
        )
        print(f"{case:14}{row['engine']:15}{row['images_per_second']:8.2f} images/s{beside}")
    for padding, cut in measured.get("tiles", {}).items():
        side = measured["picture"][0]
        tiles = f"{cut['count']} tiles of {cut['side']}x{cut['side']}, one by one"
        print(f"{side}x{side} pixels, {padding} padding: {tiles}")
