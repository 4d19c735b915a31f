"""How long do networks remember? Copy memory and the adding problem, under one budget of parameters.

    python tools/memory_tasks.py copy --out copy.jsonl
    python tools/memory_tasks.py adding --out adding.jsonl

Source: S. Bai, J. Z. Kolter, V. Koltun, 2018, arXiv:1803.01271, sections 4 and 5 and tables 2 and 3. 10,000
sequences, batches of 32, 1,000 other sequences for the test; a TCN with the start of the authors' code, and
LSTM, GRU and RNN of one layer with about as many parameters. Departures: Adam along a cosine to 0 for all,
and as many epochs for each network as take about the same processor time.
Each network and seed is one line of JSON: the test loss, and chance beside it.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import concord
from concord.data.sequences.synthetic import adding, copy_memory
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.heads import Reader
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.rnn import RNN
from concord.zoo.tcn import tcn_adding, tcn_copy

TRAIN, TEST = 10_000, 1_000
Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class Problem:
    """What is learned, its networks, and the epochs of each that take about as long."""

    draw: Callable[[int, torch.Generator], tuple[torch.Tensor, torch.Tensor]]
    task: Any
    score: Callable[[Any], float]
    chance: float
    lr: float
    networks: dict[str, tuple[Build, int]]


def recurrent(cell: Callable[..., nn.Module], features: int, hidden: int, answers: int, every: bool) -> Build:
    return lambda: Reader(Recurrent(cell, features, hidden), features, hidden, answers, every=every)


def copied(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The symbols as numbers, as the authors have them. Shape: (N, 520, 1), (N, 520)"""
    x, _, y = copy_memory(count, 500, generator)
    return x.float().unsqueeze(2), y


def added(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Shape: (N, 200, 2), (N, 1)"""
    x, _, y = adding(count, 200, generator)
    return x, y


PROBLEMS = {
    "copy": Problem(
        copied,
        "segments",
        lambda figures: figures.nll,
        10 * math.log(8) / 520,
        2e-3,
        {
            "tcn": (partial(tcn_copy, kernel=6, levels=9, dropout=0, released=1), 8),
            "lstm": (recurrent(LSTM, 1, 50, 10, every=True), 6),
            "gru": (recurrent(GRU, 1, 58, 10, every=True), 3),
            "rnn": (recurrent(RNN, 1, 100, 10, every=True), 5),
        },
    ),
    "adding": Problem(
        added,
        "regression",
        lambda figures: figures.mse,
        1 / 6,
        4e-3,
        {
            "tcn": (partial(tcn_adding, kernel=6, levels=6, width=13, released=1), 9),
            "lstm": (recurrent(LSTM, 2, 52, 1, every=False), 14),
            "gru": (recurrent(GRU, 2, 60, 1, every=False), 6),
            "rnn": (recurrent(RNN, 2, 106, 1, every=False), 12),
        },
    ),
}


def row(name: str, network: str, seed: int, epochs: int | None) -> dict[str, object]:
    """One training, and its score on sequences that no training has seen."""
    problem = PROBLEMS[name]
    build, usual = problem.networks[network]
    torch.manual_seed(seed)
    member = build()
    data, held = (
        problem.draw(count, torch.Generator().manual_seed(start + seed))
        for count, start in ((TRAIN, 0), (TEST, 1000))
    )
    ensemble: Any = concord.Ensemble({network: member}, task=problem.task)
    began = time.process_time()
    history = ensemble.fit(
        data,
        valid=0.05,
        epochs=epochs or usual,
        batch_size=32,
        optimizer=concord.Adam(lr=problem.lr, weight_decay=0.0),
        schedule="cosine",
        clip=1.0,
        seed=seed,
    )
    seconds = time.process_time() - began
    loss = problem.score(ensemble.evaluate(held).members[network])
    return {
        "problem": name,
        "network": network,
        "parameters": sum(p.numel() for p in member.parameters()),
        "seed": seed,
        "epochs": epochs or usual,
        "loss": loss,
        "chance": problem.chance,
        "times_below_chance": problem.chance / loss,
        "valid": [problem.score(epoch.valid.members[network]) for epoch in history.epochs],
        "processor_seconds": round(seconds),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problem", choices=sorted(PROBLEMS))
    parser.add_argument("--networks", nargs="+", choices=["tcn", "lstm", "gru", "rnn"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="Epochs of every network, in place of its own number.")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for network in given.networks or PROBLEMS[given.problem].networks:
        for seed in given.seeds:
            line = json.dumps(row(given.problem, network, seed, given.epochs))
            with given.out.open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)


if __name__ == "__main__":
    main()
