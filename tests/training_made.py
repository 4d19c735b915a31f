"""Small members and batches for tests of training, and plain torch to compare with."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from concord.consensus.costs import l2
from concord.consensus.edges import shape
from concord.consensus.objective import pairwise
from concord.tasks.classify import Classify
from concord.training.batch import Batch
from concord.training.cohort import Cohort
from concord.training.loop import Rule, train
from concord.training.seeding import mix

CLASSES = 3
KINDS = ("adam", "sgd")


def member(seed, *, dropout=0.0, width=3):
    """A convolution, batch normalisation, dropout and a dense layer on 4x4 images.

    No bias before the normalisation: its gradient is rounding alone, which Adam would blow up to full steps.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(4 * width, CLASSES),
        )


def cohort(count, **options):
    """Members of different widths and starts."""
    return [member(seed, width=seed + 2, **options) for seed in range(count)]


def samples(seed, rows=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 1, 4, 4, generator=generator), torch.randint(
        CLASSES, (rows,), generator=generator
    )


def shared_batches(count):
    """The same samples for all members."""
    return [Batch((x,), (y,)) for x, y in map(samples, range(count))]


def own_batches(count, members):
    """Samples of its own for each member."""
    made = [[samples(100 * step + i) for i in range(members)] for step in range(count)]
    return [Batch(tuple(x for x, _ in parts), tuple(y for _, y in parts), aligned=False) for parts in made]


def optimizer_for(members, kind="sgd", lr=0.05):
    parameters = [p for one in members for p in one.parameters()]
    if kind == "adam":
        return torch.optim.Adam(parameters, lr=lr, fused=True)
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, fused=True)


def run(members, batches, optimizer=None, **options):
    """All steps of a training; without options an l2 of weight 1 between neighbours."""
    rule = {key: options.pop(key) for key in ("alternating", "clip", "most") if key in options}
    loop = {key: options.pop(key) for key in ("weight", "start") if key in options}
    updates = train(
        together(members, **options),
        batches,
        optimizer or optimizer_for(members),
        rule=Rule(**rule),
        **({"weight": 1.0} | loop),
    )
    return list(updates)


def together(members, *, names=None, seeds=None, precision=None, stacks=(), **options):
    """A cohort of members in a row; what is given by place belongs to the name at that place."""
    called = names or [f"member {i}" for i in range(len(members))]
    parts = {"task": Classify(CLASSES), "consensus": pairwise(l2), "edges": shape("chain", len(members))}
    return Cohort(
        dict(zip(called, members, strict=True)),
        **(parts | options),
        seeds=None if seeds is None else dict(zip(called, seeds, strict=True)),
        precision=None if precision is None else dict(zip(called, precision, strict=True)),
        stacks=tuple(tuple(called[i] for i in group) for group in stacks),
    )


def state(one):
    """Weights and running statistics as they are now."""
    return {name: tensor.clone() for name, tensor in one.state_dict().items()}


def statistics(one):
    return {name: tensor.clone() for name, tensor in one.named_buffers()}


def same(one, other):
    """Whether two states are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def assert_close(members, others):
    """Equal but for rounding, member by member."""
    for one, other in zip(members, others, strict=True):
        torch.testing.assert_close(state(one), state(other), rtol=1e-4, atol=1e-6)


def train_alone(one, pairs, optimizer, *, seed=None, clip=None):
    """One network on (x, y) in plain torch."""
    for step, (x, y) in enumerate(pairs):
        one.train()
        if seed is not None:
            torch.manual_seed(mix(seed, step))
        loss = F.cross_entropy(one(x), y, reduction="none").mean()
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(one.parameters(), clip)
        optimizer.step()


def asked(one, x):
    """What a member in training says now, without a trace of the question."""
    with torch.no_grad():
        return copy.deepcopy(one).train()(x)
