"""How well is MNIST read pixel by pixel, when a CPU has minutes?

    python tools/sequential_mnist.py --data DATA/mnist --out smnist.jsonl

A TCN of kernel 7, 6 levels of 16 channels and 20,410 parameters, which is a third of the time per picture of
the network of S. Bai, J. Z. Kolter, V. Koltun (2018, table 2: 8 levels of 25) and sees the last 757 of 784
pixels; the first row of a digit is empty. A tenth of the training pictures is the validation part; the test
pictures are scored once, at the end. ``--permuted SEED`` reads the pixels in another order.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import concord
from concord.data.sequences.pixels import pixels
from concord.zoo.tcn import tcn_mnist


def row(
    data: Path, epochs: int, seed: int, permuted: int | None, limit: int | None, width: int, levels: int
) -> dict[str, object]:
    """One training, and its score on the test pictures."""
    splits = concord.load_data(data, limit=limit)
    train, valid, test = (pixels(part, permuted) for part in (splits.train, splits.valid, splits.test))
    torch.manual_seed(seed)
    member = tcn_mnist(width=width, levels=levels, dropout=0, released=1)
    ensemble: Any = concord.Ensemble({"tcn": member}, task="sequence")
    began, began_wall = time.process_time(), time.monotonic()
    history = ensemble.fit(
        train,
        valid=valid,
        epochs=epochs,
        batch_size=32,
        optimizer=concord.Adam(lr=4e-3, weight_decay=0.0),
        schedule="cosine",
        clip=1.0,
        seed=seed,
    )
    seconds, wall = time.process_time() - began, time.monotonic() - began_wall
    scores = ensemble.evaluate(test).members["tcn"]
    return {
        "parameters": sum(p.numel() for p in member.parameters()),
        "permuted": permuted,
        "seed": seed,
        "epochs": epochs,
        "pictures": len(train),
        "valid_error": [epoch.valid.members["tcn"].error for epoch in history.epochs],
        "test_error": scores.error,
        "test_accuracy": 1 - scores.error,
        "test_pictures": len(test),
        "processor_seconds": round(seconds),
        "wall_seconds": round(wall),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--permuted", type=int)
    parser.add_argument("--limit", type=int, help="Most pictures to train on.")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--levels", type=int, default=6)
    parser.add_argument("--out", type=Path, required=True)
    given = vars(parser.parse_args(arguments))
    torch.set_num_threads(1)
    out = given.pop("out")
    line = json.dumps(row(**given))
    with out.open("a") as file:
        file.write(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
