"""scikit-learn's 1,797 handwritten digits: 8x8, ten classes, part of the library, no file to fetch.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998; the test
part of that set.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits

from concord.data.images.images import checked
from concord.data.images.parts import Parts, stored_sizes
from concord.data.names import Numbered


def parts() -> Parts:
    """All of it, no test part. The stored values 0..16 become v * 255 // 16. Shape: (1797, 1, 8, 8) uint8"""
    bunch = load_digits()
    pixels = torch.from_numpy((bunch.images.astype(np.int64) * 255 // 16).astype(np.uint8)).unsqueeze(1)
    classes = tuple(str(k) for k in range(10))
    images = checked(pixels, bunch.target, classes, Numbered("digits", len(pixels)))
    return Parts("digits", images, sizes=stored_sizes(images))
