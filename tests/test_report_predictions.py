import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, recall_score

from concord.report.predictions import (
    confusion,
    ensemble_probabilities,
    recall,
    reliability,
    worst_mistakes,
)


def test_the_ensemble_is_the_softmax_of_the_mean_of_logits():
    # mean of (0, 2 ln 2) and (0, 0) is (0, ln 2), hence 1/3 and 2/3; the mean of probabilities is 7/20
    logits = torch.tensor([[[0.0, 2 * np.log(2)]], [[0.0, 0.0]]])
    assert ensemble_probabilities(logits)[0].tolist() == pytest.approx([1 / 3, 2 / 3])


def test_confusion_is_that_of_sklearn():
    torch.manual_seed(1)
    predicted, labels = torch.randint(0, 5, (2, 300))
    np.testing.assert_array_equal(confusion(predicted, labels, 5), confusion_matrix(labels, predicted))
    expected = recall_score(labels, predicted, average=None, labels=range(6), zero_division=0)
    np.testing.assert_allclose(recall(predicted, labels, 6), expected)  # a sixth class without samples


def test_calibration_error_by_hand():
    # bins of 1/2: (0.3 wrong, 0.5 right) -> |1/2 - 0.4|; (0.9 right) -> |1 - 0.9|; ECE = (2 * 0.1 + 0.1) / 3
    confidence = torch.tensor([0.3, 0.5, 0.9], dtype=torch.double)
    rest = (1 - confidence)[:, None].expand(-1, 4) / 4
    probabilities = torch.cat([confidence[:, None], rest], 1)
    found = reliability(probabilities, torch.tensor([1, 0, 0]), bins=2)
    assert found.count.tolist() == [2, 1]
    assert found.confidence.tolist() == pytest.approx([0.4, 0.9])
    assert found.accuracy.tolist() == [0.5, 1]
    assert found.ece == pytest.approx(0.1)


def test_bins_are_those_of_sklearn():
    torch.manual_seed(2)
    probabilities, labels = torch.randn(500, 3).softmax(-1), torch.randint(0, 3, (500,))
    confidence, predicted = probabilities.max(-1)
    accuracy, middle = calibration_curve(predicted == labels, confidence, n_bins=15)
    found = reliability(probabilities, labels)
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy)
    np.testing.assert_allclose(found.confidence[filled], middle, rtol=1e-6)


def test_a_sure_classifier_is_calibrated_when_right():
    assert reliability(torch.eye(3), torch.arange(3)).ece == 0


def test_worst_mistakes_are_the_surest_wrong_ones():
    probabilities = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert worst_mistakes(probabilities, torch.tensor([1, 1, 1, 1]), 5).tolist() == [1, 3, 0]
    assert worst_mistakes(probabilities, torch.tensor([1, 1, 1, 1]), 2).tolist() == [1, 3]
