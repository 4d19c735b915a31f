"""``concord bench train``: how fast the pair ST + M trains here, beside plain PyTorch loops, in one run.

Example:
    $ concord bench train --json
"""

from typing import Annotated

import typer

from concord.cli import (
    bench_binary,
    bench_cost,
    bench_decode,
    bench_plain,
    bench_precision,
    bench_sequence,
    bench_stacked,
    bench_vision,
)
from concord.cli.options import Json, print_json


def add_to(app: typer.Typer) -> None:
    verbs = typer.Typer(help="Measure the speed of concord beside other tools.", no_args_is_help=True)
    verbs.command(
        "train",
        help="Measure training (samples per second of ST + M) beside plain PyTorch loops.\n\n"
        "Example: concord bench train",
    )(train_command)
    verbs.command(
        "cost",
        help="Measure building and counting five networks beside torchinfo, fvcore, ptflops and thop.\n\n"
        "Example: concord bench cost --rounds 3",
    )(bench_cost.cost_command)
    verbs.command(
        "plain",
        help="Measure one training step in plain Python beside the loops of the USTH CNN.\n\n"
        "Example: concord bench plain",
    )(bench_plain.bench_plain_command)
    verbs.command(
        "stacked",
        help="Measure stacked members (one pass for all) beside one pass for each member.\n\n"
        "Example: concord bench stacked --network lenet5 --count 8",
    )(bench_stacked.bench_stacked_command)
    verbs.command(
        "sequence",
        help="Measure an LSTM with peepholes beside a plain loop and torch.nn.LSTM.\n\n"
        "Example: concord bench sequence",
    )(bench_sequence.bench_sequence_command)
    verbs.command(
        "decode",
        help="Images per second decoded on the way beside ImageFolder and DataLoader.\n\n"
        "Example: concord bench decode photos --workers 2",
    )(bench_decode.decode_command)
    verbs.command(
        "precision",
        help="Measure COCO's average precision beside pycocotools and faster-coco-eval.\n\n"
        "Example: concord bench precision --detections 100",
    )(bench_precision.precision_command)
    verbs.command(
        "segment",
        help="Measure a small U-Net beside plain PyTorch, and tiles of a large picture beside one pass.\n\n"
        "Example: concord bench segment --rounds 3",
    )(bench_vision.segment_command)
    verbs.command(
        "detect",
        help="Measure a small YOLO v3 beside plain PyTorch: updates, and prediction with suppression.\n\n"
        "Example: concord bench detect --rounds 3",
    )(bench_vision.detect_command)
    verbs.command(
        "binary",
        help="Measure binary convolutions beside PyTorch (float32, bfloat16, int8) and OpenVINO.\n\n"
        "Example: concord bench binary --batch 1,64",
    )(bench_binary.binary_command)
    app.add_typer(verbs, name="bench")


def train_command(
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds; each tool is measured once per round.")
    ] = 5,
    each: Annotated[int, typer.Option("--updates", min=1, help="Number of updates per measurement.")] = 20,
    json_: Json = False,
) -> None:
    from concord.bench.train import bench_train

    measured = bench_train(rounds, each)
    if json_:
        print_json(measured)
        return
    print(f"{measured['network']}; torch {measured['torch']}, {measured['threads']} threads")
    for name, rate in measured["samples_per_second"].items():
        ratio = measured["concord_over"].get(name)
        beside = f"   concord is {ratio:.2f} times as fast" if ratio else ""
        print(f"{name:10}{rate:8.0f} images/s{beside}")
