"""Train the multi-modal DenseNet on pictures of digits with instructions ("take away two"): errors by epoch.

    python tools/train_multimodal.py --data digits --epochs 30
    OMP_NUM_THREADS=1 python tools/train_multimodal.py --data DATA/mnist --limit 10000 --out curve.jsonl

Four networks are trained side by side with consensus weight 0, so each as if alone: A and B see picture and
text, one sees no text (padding alone), one sees no picture (zeros). Then A and B start anew from the same
weights and are trained together with an L2 consensus. "Held out" are wordings that no training sample had.
The table goes to standard output as Markdown, the same figures to --out as JSON lines.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from concord.consensus.costs import l2
from concord.consensus.edges import shape
from concord.consensus.objective import pairwise
from concord.data import draws
from concord.data.batches import Normalise, steps_per_epoch
from concord.data.images import instructions
from concord.data.images.images import Images
from concord.data.load import load
from concord.errors import ConcordError
from concord.tasks.classify import Classify
from concord.training import evaluate
from concord.training.agreement import Batch, Sample
from concord.training.loop import Step, train
from concord.zoo.multimodal_densenet import multimodal_densenet

TASK = Classify(10)
WEIGHT = 0.01
View = Callable[[Tensor, Tensor], Sample]


def both(image: Tensor, text: Tensor) -> Sample:
    return image, text


def picture_only(image: Tensor, text: Tensor) -> Sample:
    return image, torch.zeros_like(text)


def text_only(image: Tensor, text: Tensor) -> Sample:
    return torch.zeros_like(image), text


ALL: dict[str, View] = {"A": both, "B": both, "picture only": picture_only, "text only": text_only}


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


@dataclass(frozen=True)
class Job:
    train: Images
    test: Images
    normalise: Normalise
    epochs: int
    batch: int
    rate: float
    growth: int
    seed: int

    @property
    def steps(self) -> int:
        return steps_per_epoch(len(self.train), self.batch)

    def batches(self, views: Mapping[str, View]) -> Iterator[Batch]:
        """All epochs; in each a picture meets another instruction, as in an augmentation."""
        known = instructions.wordings()
        for epoch in range(self.epochs):
            data = instructions.instructed(self.train, known, seed=self.seed, epoch=epoch)
            parts = instructions.shuffled(
                data, self.normalise, batch_size=self.batch, seed=self.seed, epoch=epoch
            )
            for pair, y in parts:
                yield Batch(tuple(view(*pair) for view in views.values()), (y,))

    def members(self, names: Mapping[str, View]) -> dict[str, nn.Module]:
        """New networks; that of a name always starts from the same weights."""
        made = {}
        for name in names:
            torch.manual_seed(1000 * self.seed + list(ALL).index(name))
            made[name] = multimodal_densenet(self.train.pixels.shape[1], growth=self.growth)
        return made

    def samples(self, view: View, *, held_out: bool) -> evaluate.Samples:
        known = instructions.wordings(held_out=held_out)
        data = instructions.instructed(self.test, known, seed=self.seed)
        return ((view(*pair), y) for pair, y in instructions.in_order(data, self.normalise))

    def scores(self, group: Mapping[str, nn.Module], view: View, *, held_out: bool) -> dict[str, Any]:
        tally = evaluate.tally(list(group.values()), self.samples(view, held_out=held_out), TASK)
        return TASK.scores(tally, list(group))


def trained(job: Job, views: Mapping[str, View], weight: float) -> Iterator[Row]:
    """Train one network for each view, and yield the rows of every epoch."""
    members = job.members(views)
    steps = job.epochs * job.steps
    optimizer = torch.optim.Adam([p for m in members.values() for p in m.parameters()], job.rate, fused=True)
    decay = LambdaLR(optimizer, lambda step: min(1.0, (steps - step) / (0.6 * steps)))
    updates = train(
        list(members.values()),
        job.batches(views),
        optimizer,
        task=TASK,
        consensus=pairwise(l2),
        edges=shape("chain", len(members)),
        weight=weight,
        names=list(members),
    )
    losses: list[Tensor] = []
    for step in updates:
        decay.step()
        losses.append(mean_loss(step))
        if len(losses) == job.steps:
            *sums, samples = torch.stack(losses).sum(0).tolist()
            losses.clear()
            means = {name: total / samples for name, total in zip(members, sums, strict=True)}
            yield from rows(job, members, weight, step.index // job.steps + 1, means)


def mean_loss(step: Step) -> Tensor:
    """Sums of the losses of a batch, and its size behind them. Shape: (M + 1,)"""
    size = len(step.targets[0])
    return torch.cat([step.losses * size, step.losses.new_tensor([size])])


def rows(
    job: Job, members: Mapping[str, nn.Module], weight: float, epoch: int, losses: Mapping[str, float]
) -> Iterator[Row]:
    """One row for each member, and one for A and B together."""
    for view in dict.fromkeys(ALL[name] for name in members):
        group = {name: member for name, member in members.items() if ALL[name] is view}
        seen, held = (job.scores(group, view, held_out=h) for h in (False, True))
        for name in group:
            error, unseen = (scores["members"][name]["error"] for scores in (seen, held))
            yield Row(weight, epoch, name, losses[name], error, unseen)
        if len(group) > 1:
            error, unseen = (scores["ensemble"]["error"] for scores in (seen, held))
            one, other = evaluate.logits(list(group.values()), job.samples(view, held_out=False))
            apart = l2(one, other).mean().item()
            yield Row(weight, epoch, "mean of A and B", None, error, unseen, seen["agreement"], apart)


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
    parser.add_argument("--limit", type=int, help="train on so many pictures")
    parser.add_argument("--test", type=int, default=2000, help="test on so many pictures (default: 2000)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.005, help="Adam's, falling to 0 after 40 %%")
    parser.add_argument("--growth", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write the curve there, one JSON object per line")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    splits = load(given.data, valid=0.0, seed=given.seed, limit=given.limit)
    order = draws.permutation(len(splits.test), "test pictures", given.seed)
    test = splits.test.subset(torch.from_numpy(order[: given.test]))
    job = Job(
        train=splits.train,
        test=test,
        normalise=Normalise.of(splits.train),
        epochs=given.epochs,
        batch=given.batch,
        rate=given.rate,
        growth=given.growth,
        seed=given.seed,
    )
    start, found = time.perf_counter(), []
    for views, weight in ((ALL, 0.0), ({"A": both, "B": both}, WEIGHT)):
        for row in trained(job, views, weight):
            found.append(row)
            print(json.dumps(asdict(row)), file=sys.stderr)
    if given.out:
        given.out.write_text("".join(json.dumps(asdict(row)) + "\n" for row in found), encoding="utf-8")
    print(markdown(found))
    print(
        f"\n{len(job.train):,} pictures to train on, {len(job.test):,} to test on; seed {job.seed};"
        f" {time.perf_counter() - start:.0f} s ({time.process_time():.0f} s of processor time) on"
        f" {torch.get_num_threads()} thread(s); Python {platform.python_version()}, torch {torch.__version__}"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConcordError as error:
        sys.exit(f"train_multimodal: {error}")
