"""A class for every pixel: losses, compared rows and scores, beside torch and scikit-learn pixel by pixel."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, log_loss

from concord.errors import DataError, ShapeError
from concord.tasks.rand import rand_score
from concord.tasks.segment import Segment

TASK = Segment(3)


@pytest.fixture
def batch():
    """Two pictures of 5x6 pixels, some of which do not count; two members that see 3x4 of them."""
    g = torch.Generator().manual_seed(0)
    target = torch.randint(-1, 3, (2, 5, 6), generator=g)
    return [torch.randn(2, 3, 3, 4, generator=g, dtype=torch.float64) for _ in range(2)], target


def pixels(output, target):
    """Logits and classes of each picture, as a list of pixels that count."""
    target = target[:, 1:4, 1:5]
    return [(z.permute(1, 2, 0)[y >= 0], y[y >= 0]) for z, y in zip(output, target, strict=True)]


# --- losses -------------------------------------------------------------------


def test_a_loss_by_hand():
    """ln(1 + e^-2) of weight 3 and ln 4 of weight 1/2, over two pixels; the third does not count."""
    output = torch.tensor([[[[2.0, 0.0, 7.0]], [[0.0, math.log(3), -7.0]]]])
    classes, weights = torch.tensor([[[0, 0, -1]]]), torch.tensor([[[3.0, 0.5, 9.0]]])
    (plain,) = Segment(2).loss(output, classes).tolist()
    (weighted,) = Segment(2).loss(output, {"classes": classes, "weights": weights}).tolist()
    a, b = math.log(1 + math.exp(-2)), math.log(4)
    assert plain == pytest.approx((a + b) / 2)
    assert weighted == pytest.approx((3 * a + b / 2) / 2)


def test_a_loss_is_the_mean_over_the_pixels_that_count_in_the_middle(batch):
    (output, _), target = batch
    expected = [F.cross_entropy(z, y).item() for z, y in pixels(output, target)]
    assert TASK.loss(output, target).tolist() == pytest.approx(expected)
    ones = {"classes": target, "weights": torch.ones(2, 5, 6)}
    torch.testing.assert_close(TASK.loss(output, ones), TASK.loss(output, target))


def test_a_picture_in_which_no_pixel_counts_has_no_loss_no_rows_and_no_gradient(batch):
    (output, _), target = batch
    target[1] = -1
    z = output.clone().requires_grad_()
    loss = TASK.loss(z, target)
    loss.sum().backward()
    assert loss[1] == 0
    assert not z.grad[1].any()
    assert z.grad[0].any()
    assert TASK.compare(output, target).weights.sum().item() == pytest.approx(1)


def test_a_loss_has_the_gradient_of_finite_differences(batch, monkeypatch):
    (output, _), target = batch
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    weighted = {"classes": target, "weights": torch.rand(2, 5, 6, dtype=torch.float64)}
    assert torch.autograd.gradcheck(lambda z: TASK.loss(z, weighted), output.clone().requires_grad_())


# --- rows ---------------------------------------------------------------------


def test_members_compare_the_pixels_that_count(batch):
    (output, _), target = batch
    rows, weights, labels = TASK.compare(output, target)
    parts = pixels(output, target)
    torch.testing.assert_close(rows, torch.cat([z for z, _ in parts]).float())
    assert labels.tolist() == torch.cat([y for _, y in parts]).tolist()
    assert weights.tolist() == pytest.approx([1 / len(y) for _, y in parts for _ in y])
    again = TASK.compare(output, {"classes": target, "weights": torch.rand(2, 5, 6)})
    assert all(torch.equal(a, b) for a, b in zip(again, (rows, weights, labels), strict=True))


def test_pictures_without_a_target_are_compared_pixel_by_pixel(batch):
    (output, _), _ = batch
    rows, weights, labels = TASK.compare(output, None)
    assert labels is None
    torch.testing.assert_close(rows[4 + 1], output[0, :, 1, 1].float())
    assert weights.tolist() == pytest.approx([1 / 12] * 24)


# --- scores -------------------------------------------------------------------


def test_the_ensemble_predicts_the_mean_of_probabilities(batch):
    outputs, _ = batch
    mean = sum(output.softmax(1) for output in outputs) / 2
    torch.testing.assert_close(TASK.combine(outputs).exp(), mean.float())


def test_scores_are_those_of_scikit_learn(batch):
    outputs, target = batch
    scores = TASK.scores(TASK.tally(outputs, [target] * 2), ["a", "b"])
    every = [*zip(outputs, scores.members.values(), strict=True), (TASK.combine(outputs), scores.ensemble)]
    votes = []
    for output, figures in every:
        z, y = (torch.cat(part) for part in zip(*pixels(output, target), strict=True))
        vote, y = z.argmax(1).numpy(), y.numpy()
        votes.append(vote)
        assert figures.error == pytest.approx(1 - accuracy_score(y, vote))
        assert figures.nll == pytest.approx(log_loss(y, z.double().softmax(1).numpy(), labels=[0, 1, 2]))
        assert figures.class_iou == pytest.approx(jaccard_score(y, vote, average=None))
        assert figures.class_dice == pytest.approx(f1_score(y, vote, average=None))
        assert figures.iou == pytest.approx(jaccard_score(y, vote, average="macro"))
        assert figures.dice == pytest.approx(f1_score(y, vote, average="macro"))
        assert figures.v_rand is None
    assert scores.agreement == pytest.approx((votes[0] == votes[1]).mean())
    assert TASK.read(json.loads(json.dumps(scores.to_dict()))) == scores
    assert TASK.watched(scores).value == scores.ensemble.error
    assert TASK.watched(scores).less_is_better


def one_hot(*rows, classes):
    """Logits of a map that is certain of these classes. Shape: -> (1, K, H, W)"""
    return 9.0 * F.one_hot(torch.tensor([rows]), classes).movedim(-1, 1).float()


def test_intersections_by_hand():
    """Truth 0 0 1 1 1, predicted 0 1 1 1 2: class 2 is predicted and not there, class 3 is neither."""
    task, target = Segment(4), torch.tensor([[[0, 0, 1, 1, 1]]])
    output = one_hot([0, 1, 1, 1, 2], classes=4)
    figures = task.scores(task.tally([output], [target]), ["a"]).members["a"]
    assert figures.class_iou == [1 / 2, 2 / 4, 0.0, None]
    assert figures.class_dice == [2 / 3, 4 / 6, 0.0, None]
    assert (figures.iou, figures.dice) == (pytest.approx(1 / 3), pytest.approx(4 / 9))
    assert figures.error == pytest.approx(2 / 5)


def test_an_object_that_is_rightly_not_predicted_is_left_out_of_the_mean():
    task, empty = Segment(2), torch.zeros(1, 3, 4, dtype=torch.int64)
    right, wrong = one_hot(*[[0] * 4] * 3, classes=2), one_hot([1, 0, 0, 0], *[[0] * 4] * 2, classes=2)
    scores = task.scores(task.tally([right, wrong], [empty] * 2), ["right", "wrong"])
    assert scores.members["right"].class_dice == [1.0, None]
    assert scores.members["right"].dice == 1.0
    assert scores.members["wrong"].class_dice == [22 / 23, 0.0]


def test_v_rand_is_the_mean_over_pictures_with_regions():
    task = Segment(2, regions=0)
    truth = torch.tensor([[[0, 0, 0, 1, 0, 0]], [[0, 0, 0, 0, 0, 0]], [[1, 1, 1, 1, 1, 1]]])
    output = torch.cat(
        [one_hot([0] * 6, classes=2), one_hot([0, 0, 1, 0, 0, 0], classes=2), one_hot([0] * 6, classes=2)]
    )

    def scored(output, truth):
        pair = [output], [truth]
        parts = [task.rows([z], [y]) for z, y in zip(output.split(1), truth.split(1), strict=True)]
        return task.ranked(task.tally(*pair), torch.cat(parts), ["a"])

    figures = scored(output, truth).members["a"]
    second = rand_score(truth[1].numpy() == 0, output[1].argmax(0).numpy() == 0).both
    assert figures.v_rand == pytest.approx((13 / 19 + second) / 2)
    assert task.read(json.loads(json.dumps(scored(output, truth).to_dict()))) == scored(output, truth)
    assert scored(output[2:], truth[2:]).members["a"].v_rand is None
    assert task.scores(task.tally([output], [truth]), ["a"]).members["a"] == replace(figures, v_rand=None)


@pytest.mark.parametrize("task", [TASK, Segment(3, regions=1)])
def test_tallies_of_two_batches_add_up_to_that_of_both(batch, task):
    outputs, target = batch
    parts = [task.tally([o[i : i + 1] for o in outputs], [target[i : i + 1]] * 2) for i in (0, 1)]
    whole = task.tally(outputs, [target] * 2)
    torch.testing.assert_close(sum(parts), whole)
    assert (len(whole), whole.dtype) == (task.size(2), torch.float64)


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "target", "error", "words"),
    [
        (
            (1, 2, 2, 2),
            [[[0, 255], [0, 0]]],
            DataError,
            "from 0 to 1, .* got 0 to 255; divide a mask of 0 and 255",
        ),
        ((1, 2, 2, 2), [[[0, -2], [0, 0]]], DataError, "got -2 to 0"),
        ((1, 3, 2, 2), [[[0, 3], [0, 0]]], DataError, "from 0 to 2, and -1 .* got 0 to 3$"),
        ((1, 2, 2, 2), [[[0.0, 1.0], [0.0, 0.0]]], DataError, "whole numbers"),
        ((1, 3, 2, 2), [[[0, 1], [0, 0]]], ShapeError, r"logits \(1, 2, H, W\) .*, got \(1, 3, 2, 2\)"),
        ((1, 2, 3, 2), [[[0, 1], [0, 0]]], ShapeError, "H at most 2"),
        ((1, 2, 2, 2), [[0, 1], [0, 0]], ShapeError, r"masks \(B, H, W\)"),
    ],
)
def test_other_shapes_and_values_are_refused(shape, target, error, words):
    classes = 3 if shape[1] == 3 and error is DataError else 2
    with pytest.raises(error, match=words):
        Segment(classes).loss(torch.zeros(shape), torch.tensor(target))


def test_what_cannot_be_scored_is_refused(batch):
    outputs, target = batch
    with pytest.raises(DataError, match="no pixel of these masks counts"):
        TASK.scores(TASK.tally(outputs, [torch.full_like(target, -1)] * 2), ["a", "b"])
    with pytest.raises(ShapeError, match=r"different sizes \(3x4, 2x4\)"):
        TASK.combine([outputs[0], outputs[1][:, :, 1:]])
    with pytest.raises(ShapeError, match=r"different sizes \(3x4, 2x4\)"):
        TASK.tally([outputs[0], outputs[1][:, :, 1:]], [target] * 2)
    with pytest.raises(ShapeError, match="weights of that shape"):
        TASK.loss(outputs[0], {"classes": target, "weights": torch.ones(2, 5, 5)})
