"""Classification: losses, and scores that add up over batches."""

from math import ceil, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, recall_score

from concord.consensus.kdcl import error_covariance
from concord.errors import ShapeError
from concord.tasks.classify import Classify

K = 4
NAMES = ["st", "m", "deep"]
TASK = Classify(K)


def drawn(seed, rows=20, members=3):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(members, rows, K, generator=generator)
    return list(logits), torch.randint(K, (rows,), generator=generator)


def scores(logits, labels):
    return TASK.scores(TASK.tally(logits, [labels] * len(logits)), NAMES[: len(logits)]).to_dict()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_of_each_sample(smoothing):
    (logits, *_), labels = drawn(0)
    loss = Classify(K, smoothing).loss(logits, labels)
    each = [F.cross_entropy(z, y, label_smoothing=smoothing) for z, y in zip(logits, labels, strict=True)]
    torch.testing.assert_close(loss, torch.stack(each))


def test_the_loss_by_hand():
    logits = torch.tensor([[0.0, log(3)], [log(2), 0.0]])  # (1/4, 3/4) and (2/3, 1/3)
    assert Classify(2).loss(logits, torch.tensor([0, 0])).tolist() == pytest.approx([log(4), log(3 / 2)])


def test_gradients_of_the_loss_are_probabilities_less_the_truth():
    (logits, *_), labels = drawn(0)
    logits.requires_grad_()
    TASK.loss(logits, labels).sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().softmax(-1) - F.one_hot(labels, K))


@pytest.mark.parametrize("label", [-100, -1, K])
def test_a_label_that_is_no_class_is_not_ignored(label):
    (logits, *_), labels = drawn(0)
    labels[3] = label
    with pytest.raises(IndexError, match=f"{label} is out of bounds"):
        TASK.loss(logits, labels)


@pytest.mark.parametrize("size", [(2, K + 1), (2, 1), (K,), (2, K, 1)])
def test_an_output_of_another_shape_is_refused(size):
    with pytest.raises(ShapeError, match=rf"must give \(B, {K}\) logits, got \("):
        TASK.loss(torch.zeros(size), torch.tensor([0, 0]))


def test_low_precision_outputs_are_compared_and_scored_in_float32():
    (logits, *_), labels = drawn(0)
    low = logits.bfloat16()
    assert TASK.compare(low, labels).rows.dtype == torch.float32
    torch.testing.assert_close(TASK.loss(low, labels), F.cross_entropy(low.float(), labels, reduction="none"))


@given(seed=st.integers(0, 10**6), cut=st.integers(1, 19))
@settings(max_examples=25, deadline=None)
def test_tallies_of_two_batches_add_up_to_the_tally_of_both(seed, cut):
    logits, labels = drawn(seed)
    whole = TASK.tally(logits, [labels] * 3)
    first, second = labels[:cut], labels[cut:]
    parts = (
        TASK.tally([z[:cut] for z in logits], [first] * 3),
        TASK.tally([z[cut:] for z in logits], [second] * 3),
    )
    torch.testing.assert_close(parts[0] + parts[1], whole)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_error_and_likelihood_are_those_of_scikit_learn(seed):
    logits, labels = drawn(seed)
    found = scores(logits, labels)
    rows = {name: z.double().softmax(-1) for name, z in zip(NAMES, logits, strict=True)}
    rows["ensemble"] = torch.stack(logits).double().mean(0).softmax(-1)
    rows["ensemble_probabilities"] = torch.stack(list(rows.values())[:3]).mean(0)
    for name, p in rows.items():
        mine = found["members"].get(name) or found[name]
        assert 1 - mine["error"] == pytest.approx(accuracy_score(labels, p.argmax(-1)))
        assert mine["nll"] == pytest.approx(log_loss(labels, p.numpy(), labels=range(K)), rel=1e-5)


def test_calibration_error_by_hand():
    # of two samples at confidence 0.9 one is right, of two at 0.62 both are: (|1 - 1.8| + |2 - 1.24|) / 4
    confidence = torch.tensor([0.9, 0.9, 0.62, 0.62], dtype=torch.float64)
    logits = torch.stack([confidence.log(), (1 - confidence).log()], 1)
    labels = torch.tensor([0, 1, 0, 0])
    task = Classify(2)
    (row,) = task.scores(task.tally([logits], [labels]), ["st"]).to_dict()["members"].values()
    assert row["ece"] == pytest.approx((0.8 + 0.76) / 4)
    assert row["error"] == 0.25


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_calibration_error_is_that_of_a_loop_over_fifteen_bins(seed):
    (logits, *_), labels = drawn(seed, rows=60, members=1)
    bins = [[] for _ in range(15)]
    for p, label in zip(logits.double().softmax(-1), labels.tolist(), strict=True):
        confidence, vote = p.max().item(), p.argmax().item()
        bins[ceil(confidence * 15) - 1].append((confidence, vote == label))
    expected = 0.0
    for held in filter(None, bins):
        mean = sum(c for c, _ in held) / len(held)
        share = sum(right for _, right in held) / len(held)
        expected += len(held) / 60 * abs(mean - share)
    assert scores([logits], labels)["members"]["st"]["ece"] == pytest.approx(expected, abs=1e-9)


def test_certainty_falls_into_the_last_bin():
    logits = torch.tensor([[1000.0, 0, 0, 0]] * 2)
    expected = {"error": 0, "nll": 0, "ece": 0, "balanced_accuracy": 1}
    assert scores([logits], torch.tensor([0, 0]))["members"]["st"] == expected


def test_balanced_accuracy_by_hand():
    # recall of class 0 is 3/4, of class 1 is 0, of class 2 is 2/2; class 3 has no samples
    labels, votes = torch.tensor([0, 0, 0, 0, 1, 2, 2]), torch.tensor([0, 0, 2, 0, 3, 2, 2])
    logits = 5.0 * F.one_hot(votes, K)
    assert scores([logits], labels)["members"]["st"]["balanced_accuracy"] == pytest.approx(
        (3 / 4 + 0 + 1) / 3
    )
    samples, right = TASK.by_class(TASK.tally([logits], [labels]), 1)
    assert samples.tolist() == [4, 1, 2, 0]
    assert right.tolist() == [[3, 0, 2, 0]] * 2  # the member, and the ensemble that it is alone


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_recalls_are_those_of_scikit_learn_and_add_up_over_batches(seed):
    logits, labels = drawn(seed)
    labels[:K] = torch.arange(K)  # every class is there
    tally = sum(
        TASK.tally([z[part] for z in logits], [labels[part]] * 3) for part in (slice(7), slice(7, 20))
    )
    samples, right = TASK.by_class(tally, 3)
    found = TASK.scores(tally, NAMES).to_dict()
    rows = [*logits, torch.stack(logits).mean(0)]
    for z, hits, mine in zip(rows, right, [*found["members"].values(), found["ensemble"]], strict=True):
        expected = recall_score(labels, z.argmax(-1), average=None)
        assert (hits / samples).tolist() == pytest.approx(expected)
        assert mine["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, z.argmax(-1)))


def test_agreement_and_disagreement_by_hand():
    votes = [[0, 1, 2, 3, 0], [0, 1, 2, 0, 1], [0, 1, 3, 1, 1]]
    found = scores([5.0 * F.one_hot(torch.tensor(v), K) for v in votes], torch.tensor([0, 1, 2, 3, 0]))
    assert found["agreement"] == 2 / 5
    assert found["disagreement"] == [[0, 2 / 5, 3 / 5], [2 / 5, 0, 2 / 5], [3 / 5, 2 / 5, 0]]
    assert [found["members"][name]["error"] for name in NAMES] == [0, 2 / 5, 3 / 5]


def said(*members):
    """Logits of members that say these classes."""
    return [5.0 * F.one_hot(torch.tensor(votes), K) for votes in members]


def test_disagreement_and_agreement_of_three_members_by_hand():
    found = scores(said([0, 1, 2, 0], [0, 1, 1, 2], [0, 2, 1, 0]), torch.zeros(4, dtype=torch.long))
    assert found["disagreement"] == [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    assert found["agreement"] == 0.25


def test_error_correlation_by_hand():
    # errors (1,1,0,0,0) and (1,0,0,1,0): means 2/5, covariance 1/5 - 4/25 = 1/25, variances 6/25: r = 1/6
    found = scores(said([1, 1, 0, 0, 0], [1, 0, 0, 1, 0]), torch.zeros(5, dtype=torch.long))
    expected = [[1, pytest.approx(1 / 6)], [pytest.approx(1 / 6), 1]]
    assert found["error_correlation"] == expected


def test_error_correlation_of_members_with_different_errors_by_hand():
    # a is wrong on samples 0 and 1, b on 1, c never: b_ab = 1/4, r = (1/4 - 1/8) / sqrt(1/4 3/16)
    logits = said([1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0])
    r = scores(logits, torch.tensor([0, 0, 0, 0]))["error_correlation"]
    assert r[0][1] == r[1][0] == pytest.approx((1 / 8) / (3**0.5 / 8))
    assert r[0][0] == pytest.approx(1)
    assert r[2] == [None, None, 1]


def test_error_correlation_is_that_of_numpy():
    generator = torch.Generator().manual_seed(0)
    logits = list(torch.randn(3, 200, K, generator=generator))
    labels = torch.randint(K, (200,), generator=generator)
    wrong = (torch.stack(logits).argmax(-1) != labels).numpy()
    np.testing.assert_allclose(scores(logits, labels)["error_correlation"], np.corrcoef(wrong), rtol=1e-9)


def test_error_correlation_is_numpys_over_all_batches():
    logits, labels = drawn(3)
    parts = (slice(7), slice(7, 20))
    tally = sum(TASK.tally([z[part] for z in logits], [labels[part]] * 3) for part in parts)
    wrong = (torch.stack(logits).argmax(-1) != labels).double()
    np.testing.assert_allclose(TASK.scores(tally, NAMES).to_dict()["error_correlation"], np.corrcoef(wrong))


def test_members_without_mistakes_have_no_correlation():
    found = scores(said([0, 0], [0, 1]), torch.tensor([0, 0]))["error_correlation"]
    assert found[0][1] is None
    assert [found[0][0], found[1][1]] == [1, 1]


def test_error_covariance_is_that_of_kdcl_over_all_batches():
    logits, labels = drawn(0)
    first, second = labels[:7], labels[7:]
    total = TASK.tally([z[:7] for z in logits], [first] * 3) + TASK.tally(
        [z[7:] for z in logits], [second] * 3
    )
    expected = error_covariance(torch.stack(logits), labels)
    torch.testing.assert_close(
        torch.tensor(TASK.scores(total, NAMES).to_dict()["error_covariance"], dtype=torch.float64), expected
    )


def test_members_with_samples_of_their_own_are_scored_but_not_compared():
    logits, _ = drawn(0)
    labels = [drawn(seed)[1] for seed in range(3)]
    found = TASK.scores(TASK.tally(logits, labels), NAMES).to_dict()
    for name, z, y in zip(NAMES, logits, labels, strict=True):
        (expected,) = TASK.scores(TASK.tally([z], [y]), [name]).to_dict()["members"].values()
        assert found["members"][name] == pytest.approx(expected)
    for compared in (
        "ensemble",
        "ensemble_probabilities",
        "agreement",
        "disagreement",
        "error_covariance",
        "error_correlation",
    ):
        assert found[compared] is None


def test_a_tally_of_own_samples_has_the_size_of_any_other():
    logits, labels = drawn(0)
    assert TASK.tally(logits, [labels] * 3).shape == TASK.tally(logits, [labels.clone() for _ in NAMES]).shape


def test_a_single_member_is_its_own_ensemble():
    (logits, *_), labels = drawn(0)
    found = scores([logits], labels)
    assert found["ensemble"] == pytest.approx(found["members"]["st"])
    assert found["agreement"] == 1
