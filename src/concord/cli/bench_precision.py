"""``concord bench precision``: COCO's average precision here, in pycocotools and in faster-coco-eval.

Example:
    $ concord bench precision --detections 100 --rounds 1
"""

from typing import Annotated

import typer

from concord.cli.options import Json, print_json


def precision_command(
    images: Annotated[int, typer.Option(min=1, help="Number of images, with about 7 truths each.")] = 5000,
    detections: Annotated[int, typer.Option(min=1, help="Number of detections per image.")] = 20,
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds; each tool is measured once per round.")
    ] = 3,
    json_: Json = False,
) -> None:
    from concord.bench.precision import bench_precision

    measured = bench_precision(images, detections, rounds)
    if json_:
        print_json(measured)
        return
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    print(
        f"{images:,} images, {measured['truths']:,} truths, {measured['detections']:,} detections; {versions}"
    )
    print(f"{'seconds of one thread':22}{'loading':>10}{'evaluation':>12}{'difference':>12}")
    for row in measured["rows"]:
        times = f"{row['loading']:10.2f}{row['evaluation']:12.2f}"
        print(f"{row['engine']:22}{times}{row['largest_difference']:12.0e}")
    if measured["fastest_over_concord"]:
        print(f"concord is {measured['fastest_over_concord']:.1f} times as fast as the fastest other tool")
        print(f"and {measured['fastest_evaluation_over_concord']:.1f} times, loading left out")
    if measured["not_installed"]:
        print(f"not installed: pip install {' '.join(measured['not_installed'])}")
