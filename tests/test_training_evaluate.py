"""Predictions on held-out samples."""

import pytest
import torch
from training_made import CLASSES, cohort, samples

from concord.errors import ShapeError
from concord.tasks.classify import Classify
from concord.training import evaluate

TASK = Classify(CLASSES)


def named(members):
    return {f"m{i}": one for i, one in enumerate(members)}


def test_evaluation_runs_in_evaluation_mode_and_moves_nothing():
    members = cohort(2, dropout=0.9)
    x, _ = samples(0)
    before = [[t.clone() for t in one.state_dict().values()] for one in members]
    members[0][1].eval()
    found = evaluate.outputs(named(members), x)
    assert [one[1].training for one in members] == [False, True]  # as they were
    for one, z, old in zip(members, found, before, strict=True):
        assert torch.equal(z, one.eval()(x))
        assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), old, strict=True))
        assert z.grad_fn is None


class Half(torch.nn.Module):
    def forward(self, x):
        return {"logits": x.half(), "places": x.argmax(1)}


def test_outputs_are_float32_whatever_a_member_gives_and_whole_numbers_stay():
    (found,) = evaluate.outputs({"a": Half()}, torch.tensor([[0.1, 0.3]]))
    assert found["logits"].dtype == torch.float32
    assert found["places"].tolist() == [1]


def test_scores_of_batches_are_those_of_all_samples_at_once():
    members = cohort(2)
    held = [samples(seed, rows) for seed, rows in ((0, 5), (1, 3))]
    x, y = (torch.cat(parts) for parts in zip(*held, strict=True))
    together = evaluate.outputs(named(members), x)
    found = evaluate.evaluate(named(members), held, TASK, keep=True)
    torch.testing.assert_close(found.tally, TASK.tally(together, [y, y]))
    for name, whole in zip(named(members), together, strict=True):
        torch.testing.assert_close(found.predictions[name]["logits"], whole)
    assert evaluate.evaluate(named(members), held, TASK).predictions == {}  # kept only if asked for


def test_a_stop_is_noticed_between_two_batches():
    answers = iter([False, True])
    with pytest.raises(evaluate.InterruptedEvaluation):
        evaluate.evaluate(named(cohort(1)), [samples(0)] * 3, TASK, stop=lambda: next(answers))


def test_no_samples_are_refused():
    with pytest.raises(ShapeError, match="no samples"):
        evaluate.evaluate(named(cohort(1)), [], TASK)
