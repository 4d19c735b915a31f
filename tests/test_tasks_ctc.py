"""Temporal classification beside an enumeration of all paths."""

import itertools
import json
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.errors import DataError, ShapeError, UsageError
from concord.tasks.ctc import Labelling, require_paths
from concord.tasks.decode import collapsed, edits, greedy, prefix_beam, steps_needed

K = 3
TASK = Labelling(K)


def enumerated(log_p):
    """Probability of every labelling: the sum over all paths. Shape: (T, K)"""
    found = defaultdict(float)
    for path in itertools.product(range(log_p.shape[1]), repeat=len(log_p)):
        labels = [label for label, _ in itertools.groupby(path) if label]
        found[tuple(labels)] += sum(log_p[t, k] for t, k in enumerate(path)).exp().item()
    return found


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(3)
    output = 2 * torch.randn(3, 5, K, generator=g, dtype=torch.float64)
    target = {
        "labels": torch.tensor([[1, 1, 2], [2, -1, -1], [-1, -1, -1]]),
        "steps": torch.tensor([5, 3, 2]),
    }
    return output, target


def test_a_path_collapses_by_hand():
    assert collapsed([0, 1, 1, 0, 1, 2, 2, 0]) == (1, 1, 2)
    assert collapsed([0, 0]) == ()


def test_a_loss_is_that_of_all_paths(batch):
    output, target = batch
    for b, wanted in enumerate([(1, 1, 2), (2,), ()]):
        log_p = output[b, : target["steps"][b]].log_softmax(-1)
        expected = -torch.tensor(enumerated(log_p)[wanted]).log()
        assert TASK.loss(output, target)[b].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_likeliest_labelling(seed):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 5, K, generator=g)
    steps = torch.tensor([5, 4])
    for b, found in enumerate(prefix_beam(logits, steps, width=1000)):
        likely = enumerated(logits[b, : steps[b]].double().log_softmax(-1))
        assert found == max(likely, key=likely.get)


def test_the_likeliest_labelling_is_not_that_of_the_likeliest_path():
    """Blank 0.6 and label 0.4 at both steps: the path of blanks has 0.36, the three paths of (1,) 0.64."""
    logits = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()
    steps = torch.tensor([2])
    assert greedy(logits, steps) == [()]
    assert prefix_beam(logits, steps) == [(1,)]


def test_what_lies_behind_the_end_is_not_read(batch):
    output, target = batch
    changed = output.clone()
    changed[1, 3:], changed[2, 2:] = 50, -50
    assert greedy(changed, target["steps"]) == greedy(output, target["steps"])
    assert prefix_beam(changed, target["steps"]) == prefix_beam(output, target["steps"])
    torch.testing.assert_close(TASK.loss(changed, target), TASK.loss(output, target))
    assert len(TASK.compare(output, target).rows) == 10


LABELS = st.lists(st.integers(1, 2), max_size=5).map(tuple)


@given(LABELS, LABELS, LABELS)
def test_edits_are_a_distance(a, b, c):
    assert edits(a, b) == edits(b, a)
    assert (edits(a, b) == 0) == (a == b)
    assert edits(a, c) <= edits(a, b) + edits(b, c)
    assert abs(len(a) - len(b)) <= edits(a, b) <= max(len(a), len(b))


def test_edits_by_hand():
    assert edits((1, 2, 3, 4), (2, 3, 1)) == 2
    assert edits((), (1, 1)) == 2


@settings(deadline=None)
@given(LABELS, st.integers(1, 9))
def test_a_labelling_fits_exactly_where_its_loss_is_finite(labels, steps):
    padded = torch.tensor([[*labels, -1]])
    log_p = torch.zeros(steps, 1, K).log_softmax(-1)
    wanted = padded.clamp(min=0)
    nats = torch.nn.functional.ctc_loss(
        log_p, wanted, torch.tensor([steps]), torch.tensor([len(labels)]), reduction="none"
    )
    assert bool(nats.isfinite().item()) == (steps_needed(labels) <= steps)
    if steps_needed(labels) > steps:
        with pytest.raises(DataError, match=f"sample 0: {len(labels)} labels need at least"):
            require_paths(padded, torch.tensor([steps]))


def test_scores_are_those_of_the_sequences_one_by_one(batch):
    output, target = batch
    other = output.flip(0)
    scores = TASK.scores(TASK.tally([output, other], [target] * 2), ["a", "b"])
    wanted = [(1, 1, 2), (2,), ()]
    for z, figures in (
        (output, scores.members["a"]),
        (other, scores.members["b"]),
        ((output + other) / 2, scores.ensemble),
    ):
        apart = [edits(found, truth) for found, truth in zip(greedy(z, target["steps"]), wanted, strict=True)]
        assert figures.error == pytest.approx(sum(apart) / 4)
        assert figures.sequence_error == pytest.approx(sum(map(bool, apart)) / 3)
        assert figures.nll == pytest.approx(TASK.loss(z, target).mean().item())
    assert TASK.read(json.loads(json.dumps(scores.to_dict()))) == scores


def test_wrong_use_is_refused(batch):
    output, target = batch
    with pytest.raises(ShapeError, match=r"must give logits \(3, T, 3\), got \(3, 5, 2\)"):
        TASK.loss(output[..., :2], target)
    with pytest.raises(UsageError, match="at least 1 prefix"):
        prefix_beam(output, target["steps"], 0)
    short = target | {"steps": torch.tensor([3, 3, 2])}
    with pytest.raises(DataError, match=r"sample 0: 3 labels need at least 4 steps .* it has 3"):
        TASK.loss(output, short)
