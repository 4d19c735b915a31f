"""Can a small recurrent network count? Trained on a^n b^n to 100, or a^n b^n c^n to 50, asked beyond.

    python tools/counting.py --cell lstm --harden 50 --seeds 6 --out counting.jsonl

Symbols embedded in 3 numbers, one layer of 10 units with a learned initial state, next-symbol cross entropy
on words of the language alone, as G. Weiss, Y. Goldberg, E. Yahav (ACL 2018) have it. n is drawn from a
geometric distribution cut at the bound. ``--harden b``: in the second half the slope of the activations
grows from 1 to b. ``--peer CELL``: a second network learns from the same words, and the two are pulled
together on their logits of every step (the squared distance, mean over steps). A length is right if the word
is accepted (every next symbol and the end have a probability above 0.01) and all near misses are rejected:
each run of letters one shorter or longer, and a letter behind the end. Each network of each seed is one line
of JSON: lengths that are wrong up to 1,000, and how far all lengths are right beyond.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.consensus.costs import l2
from concord.data.sequences.languages import accepted, counted, near_misses, next_symbols
from concord.data.sequences.padded import Problem
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.recurrent.rnn import RNN
from concord.layers.recurrent.slope import Slope, with_slope

CELLS = {
    "lstm": LSTM,
    "gru_after": GRU,
    "gru_before": partial(GRU, reset="before"),
    "rnn_relu": partial(RNN, activation="relu"),
}
NEAR = [*range(1, 101), *range(110, 1000, 30), 1000]
FAR = [2000, 5000, 10_000, 20_000, 50_000, 100_000]
BOUND = {2: 100, 3: 50}  # letters -> the largest n of the training


class Counter(nn.Module):
    """Shape: (B, T) symbols -> (B, T, letters + 1) logits of the next one"""

    def __init__(self, cell: str, letters: int, units: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters + 1, 3)
        self.body = Recurrent(partial(CELLS[cell], initial_state="learned"), 3, units)
        self.head = nn.Linear(units, letters + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(x))[0])


def drawn(letters: int, count: int, generator: torch.Generator) -> list[list[int]]:
    """Words with n from a geometric distribution of mean 0.3 of the bound, drawn again beyond it."""
    found: list[list[int]] = []
    while len(found) < count:
        uniform = torch.rand((), generator=generator).item()
        n = 1 + int(-0.3 * BOUND[letters] * math.log(1 - uniform))
        if n <= BOUND[letters]:
            found.append(counted(n, letters))
    return found


def train(
    nets: Sequence[Counter],
    slopes: Sequence[Slope],
    letters: int,
    seed: int,
    updates: int,
    harden: float,
    weight: float = 0.0,
) -> list[float]:
    """Adam, rate 0.01 and in the second half 0.003 / sqrt(b); gives the last losses in nats per symbol.

    Two networks learn from the same words, and with a weight from each other's logits of every step.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizers = [torch.optim.Adam(net.parameters(), lr=0.01) for net in nets]
    losses: list[Tensor] = []
    for update in range(updates):
        late = max(0.0, 2 * update / updates - 1)
        for slope in slopes:
            slope.value.fill_(harden**late)
        words = next_symbols(drawn(letters, 16, generator))
        logits = [net(words.x) for net in nets]
        losses = [mean_of_steps(nats(each, words), words) for each in logits]
        pulled = mean_of_steps(l2(logits[0], logits[-1]), words) if weight else 0.0
        for optimizer in optimizers:
            if late:
                optimizer.param_groups[0]["lr"] = 0.003 / math.sqrt(harden**late)
            optimizer.zero_grad()
        (sum(losses) + weight * pulled).backward()  # type: ignore[union-attr]
        for net, optimizer in zip(nets, optimizers, strict=True):
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
    return [loss.item() for loss in losses]


def nats(logits: Tensor, words: Problem) -> Tensor:
    """Shape: (B, T, K) -> (B, T), 0 behind the end of a word"""
    return F.cross_entropy(logits.transpose(1, 2), words.y, ignore_index=-1, reduction="none")


def mean_of_steps(values: Tensor, words: Problem) -> Tensor:
    """Over the steps of each word, then over words. Shape: (B, T) -> ()"""
    return ((values * (words.y >= 0)).sum(1) / words.lengths).mean()


@torch.no_grad()
def right(net: Counter, n: int, letters: int) -> tuple[bool, bool]:
    """Whether the word of length n is accepted, and whether all of its near misses are rejected."""
    good = next_symbols([counted(n, letters)])
    bad = next_symbols(near_misses(n, letters))
    takes = bool(accepted(net(good.x).log_softmax(-1), good).all())
    return takes, not bool(accepted(net(bad.x).log_softmax(-1), bad).any())


def examined(net: Counter, letters: int) -> dict[str, object]:
    """Lengths up to 1,000 and beyond; beyond, until the first that is wrong."""
    verdicts = {n: right(net, n, letters) for n in NEAR}
    wrong = [n for n, verdict in verdicts.items() if not all(verdict)]
    reach = (wrong[0] - 1 if wrong[0] <= 100 else NEAR[NEAR.index(wrong[0]) - 1]) if wrong else 1000
    for n in () if wrong else FAR:
        if not all(right(net, n, letters)):
            break
        reach = n
    return {
        "accepted": sum(takes for takes, _ in verdicts.values()),
        "rejected": sum(refuses for _, refuses in verdicts.values()),
        "of": len(NEAR),
        "exact_to": reach,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cell", choices=sorted(CELLS), default="lstm")
    parser.add_argument("--letters", type=int, choices=sorted(BOUND), default=2)
    parser.add_argument("--units", type=int, default=10)
    parser.add_argument("--updates", type=int, default=6000)
    parser.add_argument(
        "--harden", type=float, default=1.0, help="largest slope; 1 leaves activations as they are"
    )
    parser.add_argument("--peer", choices=sorted(CELLS), help="train this cell beside, with a consensus")
    parser.add_argument("--weight", type=float, default=0.1, help="weight of the consensus with --peer")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first", type=int, default=0, help="the first seed, to continue behind others")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(given.first, given.first + given.seeds):
        began = time.process_time()
        torch.manual_seed(seed)
        cells = [given.cell, *([given.peer] if given.peer else [])]
        nets = [Counter(cell, given.letters, given.units) for cell in cells]
        slopes = [with_slope(net.body.cells[0]) for net in nets]  # type: ignore[arg-type]
        weight = given.weight if given.peer else 0.0
        losses = train(nets, slopes, given.letters, seed, given.updates, given.harden, weight)
        trained = time.process_time() - began
        for cell, net, loss in zip(cells, nets, losses, strict=True):
            began = time.process_time()
            net.double()  # the same weights; sums of 100,000 steps in float32 would round
            row = {"cell": cell, "letters": given.letters, "harden": given.harden, "seed": seed}
            row |= {"beside": [other for other in cells if other != cell], "weight": weight, "loss": loss}
            row |= examined(net, given.letters)
            row["seconds"] = round(trained / len(nets) + time.process_time() - began)
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
            torch.save(net.state_dict(), given.out.with_suffix(f".{cell}{given.letters}.{seed}.pt"))


if __name__ == "__main__":
    main()
