"""Numbers kept and multiply-accumulates of one prediction, by hand on sizes that all differ."""

import numpy as np
import pytest

from concord.baseline.cost import Cost
from concord.baseline.methods import METHODS


def fitted(name, settings, *, count, features, classes):
    x = np.random.default_rng(0).random((count, features))
    model = METHODS[name].build(settings, 0).fit(x, np.arange(count) % classes)
    return METHODS[name].cost(model)


@pytest.mark.parametrize(
    ("name", "settings", "classes", "numbers", "macs"),
    [
        ("linear", {}, 3, 3 * 6, 3 * 5),
        ("linear", {}, 2, 6, 5),  # one weighted sum tells two classes apart
        ("logistic", {"c": 1.0}, 3, 3 * 6, 3 * 5),
        ("perceptron", {"epochs": 2}, 3, 3 * 6, 3 * 5),
        # 2 components: mean 5, projection 10, 3 products, 3 sums of 3 and an offset
        ("pca_quadratic", {"components": 2}, 3, 5 + 10 + 3 * 4, 10 + 3 + 9),
        ("knn", {"neighbours": 1}, 3, 12 * 6, 12 * 5),
    ],
)
def test_cost_of_5_pixels_and_12_images(name, settings, classes, numbers, macs):
    assert fitted(name, settings, count=12, features=5, classes=classes) == Cost(numbers, macs)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_cost_of_an_mlp():
    """5 pixels, 4 hidden units, 3 classes: 5*4 + 4*3 products, and 4 + 3 offsets."""
    assert fitted("mlp", {"hidden": 4, "epochs": 1}, count=12, features=5, classes=3) == Cost(39, 32)
