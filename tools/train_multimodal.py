"""Train the multi-modal DenseNet on pictures of digits with instructions ("take away two"): errors by epoch.

    python tools/train_multimodal.py --data digits --epochs 30
    OMP_NUM_THREADS=1 python tools/train_multimodal.py --data DATA/mnist --limit 10000 --out curve.jsonl

Four networks are trained side by side with consensus weight 0, so each as if alone: A and B see picture and
text, one sees no text (padding alone), one sees no picture (zeros). Then A and B start again from the same
weights and are trained together with an L2 consensus. "Held out" are wordings that no training sample had.
The table goes to standard output as Markdown, the same figures to --out as JSON lines.
"""

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

import concord
from concord.consensus.costs import l2
from concord.data import draws
from concord.data.batches import steps_per_epoch
from concord.data.dataset import Draw, Spec
from concord.data.images.images import Images
from concord.data.images.instructions import LENGTH, instructed, wordings
from concord.data.normalise import Normalise
from concord.training.observer import Silent
from concord.zoo.multimodal_densenet import multimodal_densenet

WEIGHT = 0.01
TOGETHER = ("A", "B")


class Instructions:
    """Pictures with an instruction each, as a data set; in every epoch a picture meets another wording."""

    def __init__(self, images: Images, normalise: Normalise, *, held_out: bool, seed: int) -> None:
        self.images, self.normalise, self.seed = images, normalise, seed
        self.known = wordings(held_out=held_out)
        self.spec = Spec(
            "instructions", (images.shape, (LENGTH,)), (torch.float32, torch.int64), images.classes
        )
        self.fingerprint = images.fingerprint

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[tuple[Tensor, Tensor], Tensor]:
        epoch = draw.epoch if draw else 0
        data = self._of_epoch(epoch)
        pixels, _ = self.images.batch(index, None)
        return (self.normalise(pixels), data.text[index]), data.labels[index]

    def _of_epoch(self, epoch: int) -> Any:
        if getattr(self, "_made", (None,))[0] != epoch:
            self._made = epoch, instructed(self.images, self.known, seed=self.seed, epoch=epoch)
        return self._made[1]

    def name(self, i: int) -> str:
        return self.images.name(i)


class Blind(nn.Module):
    """A member that does not get one of the two inputs."""

    def __init__(self, inner: nn.Module, *, picture: bool) -> None:
        super().__init__()
        self.inner, self.picture = inner, picture

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        if self.picture:
            return self.inner(image, torch.zeros_like(text))
        return self.inner(torch.zeros_like(image), text)


@dataclass(frozen=True)
class Row:
    """One line of the table: one network, or the mean of the logits of A and B, after one epoch."""

    weight: float
    epoch: int
    network: str
    loss: float | None  # mean over the epoch, while weights change
    error: float  # fraction, pictures not trained on, wordings as in training
    held_out: float  # the same pictures, wordings held out
    agreement: float | None = None  # share of the test samples on which A and B say the same
    distance: float | None = None  # mean of the L2 cost between A and B on the test samples


class Watch(Silent):
    """Lets the rate fall after every update, and makes the rows of every epoch."""

    def __init__(self, ensemble: Any, decay: LambdaLR, seen: Instructions, held: Instructions) -> None:
        self.ensemble, self.decay, self.seen, self.held = ensemble, decay, seen, held
        self.rows: list[Row] = []

    def update(self, step: Any) -> None:
        self.decay.step()

    def epoch(self, epoch: Any) -> None:
        weight = self.ensemble.binding.weight
        for name, loss in epoch.losses.items():
            member = self.ensemble.member(name)
            seen, held = (member.evaluate(data).error for data in (self.seen, self.held))
            self._add(Row(weight, epoch.epoch, name, loss, seen, held))
        pair = concord.Ensemble({name: self.ensemble[name] for name in TOGETHER}, task=concord.Classify(10))
        seen, held = pair.evaluate(self.seen), pair.evaluate(self.held)
        (image, text), _ = self.seen.batch(torch.arange(len(self.seen)), None)
        with torch.no_grad():
            one, other = (pair[name].eval()(image, text) for name in TOGETHER)
        row = Row(weight, epoch.epoch, "mean of A and B", None, seen.ensemble.error, held.ensemble.error)
        self._add(
            Row(**{**asdict(row), "agreement": seen.agreement, "distance": l2(one, other).mean().item()})
        )

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        print(json.dumps(asdict(row)), file=sys.stderr)


def members(names: tuple[str, ...], channels: int, given: argparse.Namespace) -> dict[str, nn.Module]:
    """New networks; that of a name always starts from the same weights."""
    made: dict[str, nn.Module] = {}
    for name in names:
        torch.manual_seed(1000 * given.seed + ("A", "B", "picture only", "text only").index(name))
        network = multimodal_densenet(channels, growth=given.growth)
        made[name.replace(" ", "-")] = (
            network if name in TOGETHER else Blind(network, picture=name == "picture only")
        )
    return made


def trained(names: tuple[str, ...], weight: float, parts: dict[str, Instructions], given: Any) -> list[Row]:
    """Train these networks together, and give the rows of every epoch."""
    ensemble = concord.Ensemble(
        members(names, parts["train"].images.shape[0], given), consensus="l2", weight=weight
    )
    parameters = [p for name in ensemble for p in ensemble[name].parameters()]
    optimizer = torch.optim.Adam(parameters, given.rate, fused=True)
    steps = given.epochs * steps_per_epoch(len(parts["train"]), given.batch)
    decay = LambdaLR(optimizer, lambda step: min(1.0, (steps - step) / (0.6 * steps)))
    watch = Watch(ensemble, decay, parts["seen"], parts["held"])
    ensemble.fit(
        parts["train"],
        valid=None,
        test=parts["seen"],
        epochs=given.epochs,
        batch_size=given.batch,
        optimizer=optimizer,
        seed=given.seed,
        observer=watch,
    )
    return watch.rows


HEAD = """\
| weight | epoch | network | train loss | test error % | held-out wordings % | agree % | L2 cost |
|--:|--:|---|--:|--:|--:|--:|--:|"""


def markdown(found: list[Row]) -> str:
    lines = [HEAD]
    for row in found:
        loss = "" if row.loss is None else f"{row.loss:.3f}"
        same = "" if row.agreement is None else f"{100 * row.agreement:.1f}"
        apart = "" if row.distance is None else f"{row.distance:.1f}"
        errors = f"{100 * row.error:.2f} | {100 * row.held_out:.2f}"
        lines.append(
            f"| {row.weight:g} | {row.epoch} | {row.network} | {loss} | {errors} | {same} | {apart} |"
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="digits", help="digits, or the folder of MNIST (default: digits)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="number of pictures to train on")
    parser.add_argument("--test", type=int, default=2000, help="number of test pictures (default: 2000)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.005, help="Adam's, falling to 0 after 40 %%")
    parser.add_argument("--growth", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write the curve there, one JSON object per line")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    splits = concord.load_data(given.data, valid=0.0, seed=given.seed, limit=given.limit)
    order = draws.permutation(len(splits.test), "test pictures", given.seed)
    test = splits.test.subset(torch.from_numpy(order[: given.test]))
    normalise = Normalise.of(splits.train)
    parts = {
        "train": Instructions(splits.train, normalise, held_out=False, seed=given.seed),
        "seen": Instructions(test, normalise, held_out=False, seed=given.seed),
        "held": Instructions(test, normalise, held_out=True, seed=given.seed),
    }
    start = time.perf_counter()
    found = trained(("A", "B", "picture only", "text only"), 0.0, parts, given)
    found += trained(TOGETHER, WEIGHT, parts, given)
    if given.out:
        given.out.write_text("".join(json.dumps(asdict(row)) + "\n" for row in found), encoding="utf-8")
    print(markdown(found))
    print(
        f"\n{len(splits.train):,} pictures to train on, {len(test):,} to test on; seed {given.seed};"
        f" {time.perf_counter() - start:.0f} s ({time.process_time():.0f} s of processor time) on"
        f" {torch.get_num_threads()} thread(s); Python {platform.python_version()}, torch {torch.__version__}"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except concord.ConcordError as error:
        sys.exit(f"train_multimodal: {error}")
