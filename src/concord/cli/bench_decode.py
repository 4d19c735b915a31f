"""``concord bench decode``: images per second decoded on the way, beside ImageFolder and DataLoader.

Example:
    $ concord bench decode photos --workers 2
"""

from typing import Annotated

import typer

from concord.cli.options import Json, print_json


def decode_command(
    source: Annotated[str, typer.Argument(help="Folder with a folder of pictures for each class.")],
    size: Annotated[int, typer.Option(min=1, help="Side of the images in pixels.")] = 224,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes of each contender.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which the contenders take turns.")] = 5,
    each: Annotated[int, typer.Option("--batches", min=1, help="Batches of 64 per turn.")] = 20,
    json_: Json = False,
) -> None:
    from concord.bench.decode import bench_decode

    found = bench_decode(source, size=size, workers=workers, rounds=rounds, each=each)
    if json_:
        print_json(found)
        return
    versions = f"torch {found['torch']}, torchvision {found['torchvision']}, Pillow {found['pillow']}"
    print(f"{found['source']} at {size}x{size}, {workers} workers; {versions}")
    for name, rate in found["images_per_second"].items():
        print(f"{name:12}{rate:8.0f} images/s")
    print(f"concord is {found['concord_over_torchvision']:.2f} times as fast")
