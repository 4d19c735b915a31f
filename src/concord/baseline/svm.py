"""Support vector machines: what scikit-learn's solver leaves behind, and what it costs to use.

The max-margin classifier for labels y_i = +1 or -1 is the solution (beta_0, beta) of

    minimise    ||beta||^2 = sum_j beta_j^2
    subject to  y_i (beta_0 + beta . x_i) >= 1        for every sample i

where the samples with an equal sign are the support vectors. With C, each sample may break its condition by
xi_i >= 0 at the price C xi_i: minimise 1/2 ||beta||^2 + C sum_i xi_i. With a kernel, beta . x becomes
sum_i a_i y_i k(x_i, x) over the support vectors alone.

Source: V. Vapnik, "The Nature of Statistical Learning Theory", 1995, and Yao; solved by LIBSVM (C.-C.
Chang, C.-J. Lin, 2011) in scikit-learn's SVC, one machine for each pair of classes.
"""

from typing import Any

import numpy as np

from concord.baseline.cost import Cost
from concord.errors import UsageError


def margin(svc: Any) -> float:
    """Width of the empty strip between two classes.

        2 / ||beta||

    because the nearest samples lie on beta_0 + beta . x = 1 and = -1, two parallel planes. UsageError if the
    machine is not linear or tells more than two classes apart: then there is no single beta.
    """
    if svc.kernel != "linear" or len(svc.classes_) != 2:
        raise UsageError(
            f"the margin is that of a linear machine between 2 classes, got kernel {svc.kernel!r} and "
            f"{len(svc.classes_)} classes"
        )
    return float(2 / np.linalg.norm(svc.coef_))


def svm_cost(svc: Any) -> Cost:
    """What S support vectors of D features cost with K classes.

        numbers  S (D + K - 1) + K (K - 1) / 2        the vectors, their coefficients, one offset per pair
        MACs     S (D + K - 1)                        S dot products or distances, then the sums

    A support vector has a coefficient in each of the K - 1 pairs that its class is in. exp and powers are
    not multiply-accumulates. A linear kernel could be folded into one plane per pair, D K (K - 1) / 2 MACs;
    scikit-learn does not, and the figures are of what runs.
    """
    vectors, features = svc.support_vectors_.shape
    pairs, coefficients = len(svc.intercept_), len(svc.dual_coef_)  # dual_coef_: (K - 1, S)
    products = vectors * (features + coefficients)
    return Cost(products + pairs, products, tuple(int(n) for n in svc.n_support_))
