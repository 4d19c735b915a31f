"""Character models of a text under one budget of processor time: bits per character, and a text drawn.

    python tools/character_model.py TEXT --members lstm --score test --prompt ROMEO: --out lstm.jsonl
    python tools/character_model.py TEXT --members lstm tcn --consensus l2 --weight 0.01 --seconds 120

The last tenth of the text is the test. ``--score valid`` trains on nine tenths of what is before it and
scores the rest of that: for choices; ``--score test`` trains on all that is before the test. 32 streams, 64
characters in each update, states carried; Adam whose rate follows a cosine from its start to 0 over the
processor time of the training, on one thread, and gradients clipped to a norm of 1. All characters but the
first are scored, in one stream with its whole past. Each seed is one line of JSON.
"""

import argparse
import json
import math
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import concord
from concord.data.sequences.streams import Streams
from concord.data.sequences.text import TextParts, characters, encoded, read_text
from concord.errors import StoppedError
from concord.layers.recurrent.carried import Carried
from concord.tasks.sample import sample
from concord.training.loop import Step
from concord.training.observer import Silent
from concord.zoo.char_rnn import char_gru, char_lstm, char_rnn
from concord.zoo.tcn import char_tcn

NETWORKS = {  # half a million parameters each with 65 symbols, but for the large one
    "rnn": partial(char_rnn, embedded=64, hidden=640, layers=1),
    "gru": partial(char_gru, embedded=64, hidden=384, layers=1),
    "lstm": partial(char_lstm, embedded=64, hidden=320, layers=1),
    "tcn": partial(char_tcn, embedded=64, width=152, levels=4),
    "lstm_large": partial(char_lstm, embedded=64, hidden=400, layers=1),
}
RATES = {"rnn": 1e-3, "gru": 4e-3, "lstm": 4e-3, "tcn": 2e-3, "lstm_large": 4e-3}
STREAMS, STEPS = 32, 64


class Clock(Silent):
    """The rate as a function of the processor time that is spent, and the end when it is."""

    def __init__(self, optimizer: torch.optim.Optimizer, seconds: float) -> None:
        self.optimizer, self.seconds, self.began = optimizer, seconds, time.process_time()
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.updates = 0

    def spent(self) -> float:
        return time.process_time() - self.began

    def over(self) -> bool:
        return self.spent() >= self.seconds

    def update(self, step: Step) -> None:
        self.updates += 1
        share = (1 + math.cos(math.pi * min(1.0, self.spent() / self.seconds))) / 2
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share


def members(names: list[str], symbols: int, dropout: int, seed: int) -> dict[str, nn.Module]:
    """New members that carry their state; equal seeds give a member the same first weights in any company."""
    made: dict[str, nn.Module] = {}
    for name in names:
        torch.manual_seed(seed)
        made[name] = Carried(NETWORKS[name](symbols, symbols, dropout=dropout))
    return made


def texts(parts: TextParts, score: str) -> tuple[Streams, Streams]:
    """Streams to train on, and the single one to score."""
    held = parts.test if score == "test" else parts.valid
    known = [parts.train, parts.valid] if score == "test" else [parts.train]
    symbols = torch.cat([part.symbols for part in known])
    alphabet = parts.train.alphabet
    return Streams(symbols, alphabet, STEPS, STREAMS), Streams(held.symbols, alphabet, 500, 1)


def run(given: argparse.Namespace, parts: TextParts, seed: int) -> dict[str, object]:
    """Train and score once."""
    train, held = texts(parts, given.score)
    made = members(given.members, len(train.alphabet), given.dropout, seed)
    groups = [{"params": list(net.parameters()), "lr": given.rate or RATES[n]} for n, net in made.items()]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    ensemble = concord.Ensemble(made, consensus=given.consensus, weight=given.weight, task="language")
    clock, wall = Clock(optimizer, given.seconds), time.monotonic()
    with suppress(StoppedError):
        ensemble.fit(
            train,
            epochs=10_000,  # the clock ends it
            batch_size=STREAMS,
            shuffle=False,
            optimizer=optimizer,
            clip=1.0,
            seed=seed,
            observer=clock,
            stop=clock.over,
        )
    spent, waited = clock.spent(), time.monotonic() - wall
    scores = ensemble.evaluate(held)
    row = {
        "members": {
            name: {"parameters": sum(p.numel() for p in made[name].parameters()), "bits": figures.bits}
            for name, figures in scores.members.items()
        },
        "ensemble": scores.ensemble.bits,
        "scored": f"{given.score}, {len(held.symbols) - 1:,} characters",
        "epochs": clock.updates * STREAMS / len(train),
        "processor_seconds": round(spent, 1),
        "wall_seconds": round(waited, 1),
        "seed": seed,
    }
    settings = ("consensus", "weight", "dropout", "rate", "seconds")
    row |= {name: getattr(given, name) for name in settings}
    if given.prompt:
        row["text"] = {name: drawn(net, given.prompt, train.alphabet, seed) for name, net in made.items()}
    return row


def drawn(net: nn.Module, prompt: str, alphabet: tuple[str, ...], seed: int) -> str:
    """The prompt and 600 characters behind it, at a temperature of 0.7."""
    generator = torch.Generator().manual_seed(seed)
    symbols: Tensor = sample(net, encoded(prompt, alphabet), 600, temperature=0.7, generator=generator)
    return prompt + "".join(alphabet[k] for k in symbols.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--members", nargs="+", choices=NETWORKS, default=["lstm"])
    parser.add_argument("--consensus", default="none")
    parser.add_argument("--weight", type=float, default=0.0)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="of processor time, for all members together"
    )
    parser.add_argument("--dropout", type=int, default=10, help="percent")
    parser.add_argument("--rate", type=float, help="of all members, in place of one for each kind")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--score", choices=("valid", "test"), default="valid")
    parser.add_argument("--prompt", default="")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts = characters(read_text(given.text), STEPS, valid=0.09, test=0.1)
    for seed in given.seeds:
        row = run(given, parts, seed)
        print(json.dumps(row, indent=1))
        if given.out:
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
