"""Memory that training a classifier takes besides the images, asked for before anything is trained."""

from collections.abc import Mapping

from concord.baseline.methods import CACHE
from concord.baseline.samples import Samples

FLOAT32, FLOAT64 = 4, 8


def scratch(name: str, settings: Mapping[str, float], train: Samples, test: Samples) -> int:
    """Bytes; 0 for what takes little.

        svm_*           kernel values of all pairs of N images as float32, at most the cache
        pca_quadratic   Q = P (P + 1) / 2 products for each image, and once more centred
        mlp             H (D + 1 + K) weights, their gradients and Adam's two means; H activations per image

    K is at most the largest label and one.
    """
    count, features = train.x.shape
    largest = max(count, len(test))
    if name.startswith("svm"):
        return min(CACHE * 2**20, FLOAT32 * count**2)
    if name == "pca_quadratic":
        p = int(settings["components"])
        return FLOAT64 * 2 * largest * (p * (p + 1) // 2)
    if name == "mlp":
        classes = int(train.y.max()) + 1
        return FLOAT64 * int(settings["hidden"]) * (4 * (features + 1 + classes) + len(test))
    return 0
