"""What members say about held-out samples."""

import pytest
import torch
from training_made import CLASSES, cohort, samples

from concord.errors import ShapeError
from concord.tasks.classify import Classify
from concord.training import evaluate

TASK = Classify(CLASSES)


def test_evaluation_runs_in_evaluation_mode_and_moves_nothing():
    members = cohort(2, dropout=0.9)
    x, _ = samples(0)
    before = [[t.clone() for t in one.state_dict().values()] for one in members]
    said = evaluate.outputs(members, x)
    for one, z, old in zip(members, said, before, strict=True):
        assert torch.equal(z, one.eval()(x))
        assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), old, strict=True))
        assert z.grad_fn is None


def test_low_precision_gives_float32_of_lower_precision():
    members = cohort(1)
    x, _ = samples(0)
    (low,), (high,) = evaluate.outputs(members, x, [torch.bfloat16]), evaluate.outputs(members, x)
    assert torch.equal(low, low.bfloat16().float())
    torch.testing.assert_close(low, high, rtol=0.05, atol=0.05)
    assert not torch.equal(low, high)


def test_scores_of_batches_are_those_of_all_samples_at_once():
    members = cohort(2)
    held = [samples(seed, rows) for seed, rows in ((0, 5), (1, 3))]
    x, y = (torch.cat(parts) for parts in zip(*held, strict=True))
    torch.testing.assert_close(
        evaluate.tally(members, held, TASK), TASK.tally(evaluate.outputs(members, x), [y, y])
    )
    torch.testing.assert_close(evaluate.logits(members, held), torch.stack(evaluate.outputs(members, x)))


def test_a_stop_is_noticed_between_two_batches():
    answers = iter([False, True])
    with pytest.raises(evaluate.InterruptedEvaluation):
        evaluate.tally(cohort(1), [samples(0)] * 3, TASK, stop=lambda: next(answers))


def test_no_samples_are_refused():
    with pytest.raises(ShapeError, match="no samples"):
        evaluate.tally(cohort(1), [], TASK)
