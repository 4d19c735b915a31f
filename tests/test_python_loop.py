"""A loop of the user's own over a cohort: what it takes, and what it refuses."""

import pytest
import torch
from python_made import Small, data, members
from torch.utils.data import DataLoader, TensorDataset

import concord
from concord.errors import UsageError

X, Y = data(60)


def optimizer_of(made):
    return torch.optim.SGD([p for m in made.values() for p in m.parameters()], lr=0.1)


LOOPS = {
    "a batch of tensors": ([concord.Batch(X, Y)], {}, r"Batch\(\(x,\), \(y,\)\)"),
    "three things": ([(X, Y, Y)], {}, "a pair of inputs and targets; got tuple of 3"),
    "a dictionary": ([{"x": X}], {}, "got dict"),
    "a negative weight": ([(X, Y)], {"weight": -1}, "finite number from 0"),
    "a weight of NaN": ([(X, Y)], {"weight": float("nan")}, "finite number from 0"),
    "a word as a weight": ([(X, Y)], {"weight": "big"}, "finite number from 0"),
    "an optimizer of one": (
        [(X, Y)],
        {"optimizer": torch.optim.SGD(Small().parameters(), lr=0.1)},
        "does not have",
    ),
    "a word as an optimizer": ([(X, Y)], {"optimizer": "sgd"}, "torch optimizer"),
}


@pytest.mark.parametrize("what", LOOPS)
def test_a_loop_of_the_users_that_cannot_be(what):
    batches, options, words = LOOPS[what]
    made = members()
    cohort = concord.cohort(made, classes=3)
    with pytest.raises(UsageError, match=words):
        list(concord.updates(cohort, batches, **({"optimizer": optimizer_of(made)} | options)))


COHORTS = {
    "no classes": ({}, "the number of classes, or a task"),
    "classes and a task": ({"classes": 3, "task": concord.Classify(3)}, "or a task"),
    "one class": ({"classes": 1}, "at least 2, got 1"),
    "a word as classes": ({"classes": "3"}, "got '3'"),
    "an unknown consensus": ({"classes": 3, "consensus": "l3"}, "did you mean 'l2'"),
    "unknown edges": ({"classes": 3, "edges": "chian"}, "did you mean 'chain'"),
    "edges that change": ({"classes": 3, "edges": "random_matching"}, "change with every epoch"),
    "half a task": ({"task": object()}, "without loss"),
}


@pytest.mark.parametrize("what", COHORTS)
def test_a_cohort_that_cannot_be(what):
    options, words = COHORTS[what]
    with pytest.raises(UsageError, match=words):
        concord.cohort(members(), **options)


def test_the_loop_wants_a_cohort_and_the_cohort_wants_edges():
    made = members()
    with pytest.raises(UsageError, match=r"concord.cohort makes"):
        concord.updates(made, [(X, Y)], optimizer_of(made))
    from concord.consensus.costs import l2
    from concord.consensus.objective import pairwise
    from concord.training.cohort import Cohort

    with pytest.raises(UsageError, match=r"as concord.cohort makes them of 'chain'"):
        Cohort(made, concord.Classify(3), pairwise(l2), "chain")


def test_a_loop_takes_what_a_loader_gives_and_every_consensus():
    for consensus in ("l2", "kl", "kdcl_naive", "kdcl_general", "none"):
        made = members()
        loader = DataLoader(TensorDataset(X, Y), batch_size=16)
        cohort = concord.cohort(made, classes=3, consensus=consensus)
        steps = list(concord.updates(cohort, loader, optimizer_of(made), weight=0.1))
        assert [step.index for step in steps] == [0, 1, 2, 3]
