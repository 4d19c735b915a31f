"""Does an Elman network learn which of two symbols came first? With and without clipping and Omega.

    python tools/temporal_order.py --out order.jsonl

Source: R. Pascanu, T. Mikolov, Y. Bengio, ICML 2013, section 4.1: four classes, softmax at the last step,
tanh units with weights from N(0, 0.1), gradient descent at the rate 0.01, the norm of the gradient clipped
to 1, Omega (equation 9) weighed by 4. A run is a success when at most 1 % of 2,000 fresh sequences are wrong.
Smaller than the paper: sequences of 20 to 50 steps in place of 50 to 200, 100 units, few updates.

A loop of its own: Omega looks at dL/dh of every step, which no task sees.
Each variant and seed is one line of JSON.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.data.sequences.synthetic import temporal_order
from concord.layers.recurrent.omega import omega
from concord.layers.recurrent.rnn import RNN
from concord.layers.recurrent.scan import scan

SHORTEST, LONGEST, BATCH, ASKED = 20, 50, 20, 2000
SUCCESS = 0.01  # share of wrong sequences


@dataclass(frozen=True)
class Variant:
    clip: float = math.inf
    omega: float = 0.0


VARIANTS = {"plain": Variant(), "clipped": Variant(1.0), "clipped_omega": Variant(1.0, 4.0)}


class Reader(nn.Module):
    """An RNN and a dense layer on its last state. Shape: (T, B, 6) -> (B, 4)"""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.cell, self.head = RNN(6, units), nn.Linear(units, 4)
        for weight in (self.cell.weight_x, self.cell.weight_h, self.head.weight):
            nn.init.normal_(weight, std=0.1)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.cell(x)
        return self.head(y[-1])


def drawn(count: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shape: -> (T, B, 6), (B,)"""
    x, _, y = temporal_order(count, steps, generator)
    return x.transpose(0, 1), y


def update(net: Reader, variant: Variant, rate: float, x: Tensor, y: Tensor) -> float:
    """One step of gradient descent; gives the loss."""
    net.zero_grad()
    if variant.omega:
        loss = with_omega(net, variant.omega, x, y)
    else:
        loss = F.cross_entropy(net(x), y)
        loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), variant.clip)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= rate * parameter.grad
    return loss.item()


def with_omega(net: Reader, weight: float, x: Tensor, y: Tensor) -> Tensor:
    """The gradients of the loss, and on the recurrent weights also those of Omega; gives the loss."""
    (first,) = net.cell.initial(len(y))
    taps = [torch.zeros_like(first, requires_grad=True) for _ in range(len(x) + 1)]
    states, _ = scan(net.cell, x, (first,), taps=taps)
    loss = F.cross_entropy(net.head(states[-1]), y)
    loss.backward()
    h = torch.cat([first[None], states])
    gradients = torch.stack([tap.grad for tap in taps])  # type: ignore[misc]
    (weight * omega(net.cell, h, gradients)).backward()
    return loss


@torch.no_grad()
def wrong(net: Reader, generator: torch.Generator) -> float:
    """The share of wrong sequences, as many of each of four lengths."""
    lengths = torch.linspace(SHORTEST, LONGEST, 4).int().tolist()
    found = [net(x).argmax(1) != y for x, y in (drawn(ASKED // 4, steps, generator) for steps in lengths)]
    return torch.cat(found).float().mean().item()


def row(name: str, seed: int, units: int, updates: int, rate: float) -> dict[str, object]:
    """One training, until it succeeds, diverges or has had all updates."""
    torch.manual_seed(seed)
    net, generator = Reader(units), torch.Generator().manual_seed(seed)
    began, done, error, loss = time.process_time(), 0, 1.0, 0.0
    while done < updates and error > SUCCESS / 2 and math.isfinite(loss):
        steps = int(torch.randint(SHORTEST, LONGEST + 1, (), generator=generator))
        loss = update(net, VARIANTS[name], rate, *drawn(BATCH, steps, generator))
        done += 1
        if done % 250 == 0:
            error = wrong(net, generator)
    final = wrong(net, torch.Generator().manual_seed(1000 + seed))
    return {
        "variant": name,
        "seed": seed,
        "success": final <= SUCCESS,
        "updates": done,
        "error": final,
        "loss": loss if math.isfinite(loss) else None,
        "processor_seconds": round(time.process_time() - began),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variants", nargs="+", choices=sorted(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--updates", type=int, default=5_000)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in given.variants:
        for seed in range(given.seeds):
            line = json.dumps(row(name, seed, given.units, given.updates, given.rate))
            with given.out.open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)


if __name__ == "__main__":
    main()
