"""A class for every step: losses, compared rows and scores, beside torch sequence by sequence."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from concord.errors import ShapeError
from concord.tasks.steps import Steps

TASK = Steps(3)


@pytest.fixture
def batch():
    """Three sequences of 4, 1 and 2 steps, two members."""
    g = torch.Generator().manual_seed(0)
    target = torch.tensor([[0, 2, 1, 1], [2, -1, -1, -1], [0, 0, -1, -1]])
    return [torch.randn(3, 4, 3, generator=g, dtype=torch.float64) for _ in range(2)], target


def alone(output, target):
    """The logits and classes of each sequence without its padding."""
    return [(z[y >= 0], y[y >= 0]) for z, y in zip(output, target, strict=True)]


def test_a_loss_by_hand():
    """ln(1 + e) at the first step, ln 2 at the second; the third is not there."""
    output = torch.tensor([[[0.0, 1.0], [5.0, 5.0], [9.0, 0.0]]])
    (loss,) = Steps(2).loss(output, torch.tensor([[0, 1, -1]])).tolist()
    assert loss == pytest.approx((math.log(1 + math.e) + math.log(2)) / 2)


def test_a_sequence_has_the_loss_that_it_has_alone(batch):
    (output, _), target = batch
    expected = [F.cross_entropy(z, y).item() for z, y in alone(output, target)]
    assert TASK.loss(output, target).tolist() == pytest.approx(expected)
    padded = output.clone()
    padded[1, 1:] = 1e3
    torch.testing.assert_close(TASK.loss(padded, target), TASK.loss(output, target))


def test_a_loss_has_the_gradient_of_finite_differences(batch, monkeypatch):
    (output, _), target = batch
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    assert torch.autograd.gradcheck(lambda z: TASK.loss(z, target), output.clone().requires_grad_())


def test_members_compare_the_steps_that_are_there(batch):
    (output, _), target = batch
    rows, weights, labels = TASK.compare(output, target)
    torch.testing.assert_close(rows, torch.cat([z for z, _ in alone(output, target)]).float())
    assert weights.tolist() == pytest.approx([1 / 4] * 4 + [1] + [1 / 2] * 2)
    assert labels.tolist() == [0, 2, 1, 1, 2, 0, 0]
    rows, weights, labels = TASK.compare(output, None)
    assert (len(rows), labels, weights.sum().item()) == (12, None, pytest.approx(3))


def test_scores_are_those_of_the_steps_counted_one_by_one(batch):
    outputs, target = batch
    scores = TASK.scores(TASK.tally(outputs, [target] * 2), ["a", "b"])
    steps = int((target >= 0).sum())
    for output, figures in (
        *zip(outputs, scores.members.values(), strict=True),
        (sum(outputs) / 2, scores.ensemble),
    ):
        wrong = [(z.argmax(1) != y) for z, y in alone(output, target)]
        assert figures.error == pytest.approx(sum(w.sum().item() for w in wrong) / steps)
        assert figures.sequence_error == pytest.approx(sum(w.any().item() for w in wrong) / 3)
        nats = sum(F.cross_entropy(z, y, reduction="sum").item() for z, y in alone(output, target))
        assert figures.nll == pytest.approx(nats / steps)
        assert figures.bits == pytest.approx(nats / steps / math.log(2))
    agreed = sum((a.argmax(1) == b.argmax(1)).sum().item() for (a, _), (b, _) in
                 zip(*(alone(o, target) for o in outputs), strict=True))  # fmt: skip
    assert scores.agreement == pytest.approx(agreed / steps)
    assert TASK.read(json.loads(json.dumps(scores.to_dict()))) == scores
    assert TASK.watched(scores).value == scores.ensemble.error
    assert Steps(3, watch="nll").watched(scores).value == scores.ensemble.nll


def test_tallies_of_two_batches_add_up_to_that_of_both(batch):
    outputs, target = batch
    whole = TASK.tally(outputs, [target] * 2)
    parts = [
        TASK.tally([o[rows] for o in outputs], [target[rows]] * 2) for rows in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(parts), whole)
    assert len(whole) == TASK.size(2)


@pytest.mark.parametrize(
    ("shape", "target", "words"),
    [
        ((2, 3, 4), [[0, 1, 2], [0, 0, 0]], r"must give logits \(2, 3, 3\) for these steps, got \(2, 3, 4\)"),
        ((2, 4, 3), [[0, 1, 2], [0, 0, 0]], "must give logits"),
        ((2, 3, 3), [[0, 1, 2], [-1, -1, -1]], "sample 1 of the batch has no step"),
    ],
)
def test_other_shapes_and_empty_sequences_are_refused(shape, target, words):
    with pytest.raises(ShapeError, match=words):
        TASK.loss(torch.zeros(shape), torch.tensor(target))
