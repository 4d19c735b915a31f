"""Three kinds of problems that concord does not have: steps of sequences, pixels, and objects on two maps.

Each comes with two members and data, and goes through the same doors as classification.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

import concord
from concord import Compared, Watched
from concord.consensus.objective import ensemble_logits


@dataclass(frozen=True)
class Rate:
    rate: float


@dataclass(frozen=True)
class Rates:
    """One figure for every member and for the ensemble."""

    members: Mapping[str, Rate]
    ensemble: Rate

    def to_dict(self):
        return asdict(self)


class Counted:
    """What the three have in common: how many of how many things are so, for each member and the ensemble."""

    def tally(self, outputs, targets):
        rows = [self.counts(output, targets[0]) for output in (*outputs, self.combine(outputs))]
        return torch.stack(rows).double().flatten()

    def size(self, members):
        return 2 * (members + 1)

    def scores(self, tally, names):
        *members, ensemble = (Rate((row[0] / row[1]).item()) for row in tally.view(-1, 2))
        return Rates(dict(zip(names, members, strict=True)), ensemble)

    def read(self, plain):
        members = {name: Rate(row["rate"]) for name, row in plain["members"].items()}
        return Rates(members, Rate(plain["ensemble"]["rate"]))


@dataclass(frozen=True)
class Tags(Counted):
    """A class for every step of sequences of different lengths; output (B, T, K), target (B, T), -1: none."""

    def loss(self, output, target):
        steps = F.cross_entropy(output.transpose(1, 2), target, ignore_index=-1, reduction="none")
        return steps.sum(1) / (target >= 0).sum(1)

    def compare(self, output, target):
        there = target >= 0
        share = (1 / there.sum(1, keepdim=True)).expand(target.shape)
        return Compared(output[there], share[there], target[there])

    def combine(self, outputs):
        return ensemble_logits(outputs)

    def counts(self, output, target):
        there = target >= 0
        return torch.stack([(output.argmax(-1) != target)[there].sum(), there.sum()])

    def watched(self, scores):
        return Watched(scores.ensemble.rate)

    def kept(self, output):
        return {"logits": output}


@dataclass(frozen=True)
class Pixels(Counted):
    """A class for every pixel: output (B, K, H, W), target (B, H, W)."""

    def loss(self, output, target):
        return F.cross_entropy(output, target, reduction="none").mean((1, 2))

    def compare(self, output, target):
        rows = output.permute(0, 2, 3, 1).flatten(0, 2)  # (B H W, K)
        pixels = output.shape[2] * output.shape[3]
        labels = None if target is None else target.flatten()
        return Compared(rows, torch.full_like(rows[:, 0], 1 / pixels), labels)

    def combine(self, outputs):
        return ensemble_logits(outputs)

    def counts(self, output, target):
        return torch.tensor([(output.argmax(1) != target).sum(), target.numel()])

    def watched(self, scores):
        return Watched(scores.ensemble.rate)

    def kept(self, output):
        return {"labels": output.argmax(1)}


@dataclass(frozen=True)
class Objects(Counted):
    """Where something is, and what: output ((B, H, W), (B, K, H, W)), target {"there", "kind"} of (B, H, W).

    Members compare what they name only where something is; a batch may hold no object at all.
    """

    def loss(self, output, target):
        places, kinds = output
        there = target["there"].float()
        found = F.binary_cross_entropy_with_logits(places, there, reduction="none").mean((1, 2))
        named = F.cross_entropy(kinds, target["kind"], reduction="none") * there
        return found + named.sum((1, 2)) / there.sum((1, 2)).clamp(min=1)

    def compare(self, output, target):
        there = target["there"]
        rows = output[1].permute(0, 2, 3, 1)[there]  # (R, K)
        share = (1 / there.sum((1, 2), keepdim=True).clamp(min=1)).expand(there.shape)
        return Compared(rows, share[there], target["kind"][there])

    def combine(self, outputs):
        places, kinds = zip(*outputs, strict=True)
        return torch.stack(places).sigmoid().mean(0).logit(), ensemble_logits(kinds)

    def counts(self, output, target):
        """Objects that are found and named rightly, of all objects."""
        right = (output[0] > 0) & (output[1].argmax(1) == target["kind"]) & target["there"]
        return torch.stack([right.sum(), target["there"].sum()])

    def watched(self, scores):
        return Watched(scores.ensemble.rate, less_is_better=False)

    def kept(self, output):
        return {"places": output[0], "kinds": output[1]}


class Tagger(nn.Module):
    """A recurrent network over (steps (B, T, C), lengths (B,)); dropout between it and the head."""

    def __init__(self, hidden, classes=3):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(hidden, classes)

    def forward(self, steps, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=steps.shape[1]
        )
        return self.head(self.dropout(out))


class Painter(nn.Sequential):
    """Fully convolutional, with statistics of batches."""

    def __init__(self, width, classes=3):
        super().__init__(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, classes, 1),
        )


class Finder(nn.Module):
    """Two maps, as detectors give them."""

    def __init__(self, width, classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.1))
        self.places, self.kinds = nn.Conv2d(width, 1, 1), nn.Conv2d(width, classes, 1)

    def forward(self, x):
        x = self.body(x)
        return self.places(x)[:, 0], self.kinds(x)


def sequences(count=40, length=7):
    """The class of a step is that of the larger number so far, or 2 where they are close."""
    g = torch.Generator().manual_seed(0)
    steps = torch.randn(count, length, 2, generator=g)
    lengths = torch.randint(2, length + 1, (count,), generator=g)
    sums = steps.cumsum(1)
    labels = torch.where((sums[..., 0] - sums[..., 1]).abs() < 0.5, 2, sums.argmax(-1))
    labels[torch.arange(length) >= lengths[:, None]] = -1
    return (steps, lengths), labels


def drawings(count=40, side=6):
    """Pixels are dark, middle or bright."""
    g = torch.Generator().manual_seed(1)
    x = torch.rand(count, 1, side, side, generator=g)
    return x, (3 * x[:, 0]).long().clamp(max=2)


def scenes(count=40, side=5):
    """Bright and dark spots on grey, few of them, sometimes none."""
    g = torch.Generator().manual_seed(2)
    there = torch.rand(count, side, side, generator=g) < 0.1
    kind = (torch.rand(count, side, side, generator=g) < 0.5).long()
    x = torch.where(there, 2.0 * kind - 1, 0.0) + 0.1 * torch.randn(count, side, side, generator=g)
    return x[:, None], {"there": there, "kind": kind}


PROBLEMS = {
    "tags": (Tags(), Tagger, (4, 6), sequences),
    "pixels": (Pixels(), Painter, (3, 5), drawings),
    "objects": (Objects(), Finder, (4, 6), scenes),
}


def problem(name, start=0):
    """The task, two new members and the data of a problem."""
    task, network, widths, data = PROBLEMS[name]
    members = {}
    for i, width in enumerate(widths):
        with torch.random.fork_rng():
            torch.manual_seed(start + i)
            members[f"m{width}"] = network(width)
    return task, members, data()


def long_fit(name):
    """Train a problem for many epochs into the folder that the command line names."""
    task, members, data = problem(name)
    ensemble = concord.Ensemble(members, consensus="l2", weight=0.1, task=task)
    ensemble.fit(data, valid=0.25, epochs=16, batch_size=8, checkpoint_seconds=0.0, out=sys.argv[1])
