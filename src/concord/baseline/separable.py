"""Can a plane separate two classes? A linear program answers, and proves its answer either way.

Source: P. Gordan, "Über die Auflösung linearer Gleichungen mit reellen Coefficienten", 1873 (a case of J.
Farkas, 1902). Of these two exactly one has a solution:

    y_i (<w, x_i> + b) > 0 for all i           (a separating plane)
    lambda_i >= 0, sum_i lambda_i = 1, sum_i lambda_i y_i (x_i, 1) = 0

The second contradicts the first: its sum, weighted with lambda, is 0, so not every term can be above 0. For
XOR all four lambda are 1/4. One program finds both, as its solution and as its multipliers:

    the largest t with y_i <(w, b), (x_i / R, 1)> >= t and every |w_j|, |b| <= 1,     R = max_i ||x_i||

Its optimum t is min over lambda of sum_j |(sum_i lambda_i y_i (x_i / R, 1))_j|: above 0 there is a plane, at
0 there is the contradiction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from concord.errors import UsageError

# The solver's own tolerance is 1e-7; its vertices are exact to rounding, about 1e-15.
SMALLEST_MARGIN = 1e-9


@dataclass(frozen=True)
class Separator:
    """The classes can be separated: y_i (<w, x_i> + b) >= margin > 0 for every sample, ||w|| = 1.

    Any plane will do as a proof; this one is not the one of largest margin. w = 0 stands for a single class.
    """

    weights: tuple[float, ...]
    bias: float
    margin: float


@dataclass(frozen=True)
class Contradiction:
    """The classes cannot be separated: lambda >= 0 with sum 1, and sum_i lambda_i y_i (x_i / R, 1) = 0.

    The residual is the largest number of that sum: 0, or rounding. A margin below 1e-9 R counts as none.
    """

    multipliers: tuple[float, ...]
    residual: float


Certificate = Separator | Contradiction


def separable(samples: Sequence[Sequence[float]], labels: Sequence[int]) -> Certificate:
    """A plane that separates the samples, or the multipliers that prove that there is none.

    Errors: UsageError for no samples, ragged rows, numbers that are not finite, labels other than -1 and 1.
    """
    x, y = checked(samples, labels)
    radius = float(np.linalg.norm(x, axis=1).max()) or 1.0
    signed = y[:, None] * np.column_stack([x / radius, np.ones(len(x))])  # (N, D + 1)
    plane, multipliers = solve(signed)
    if (signed @ plane).min() > SMALLEST_MARGIN:
        return separator(x, y, plane[:-1] / radius, float(plane[-1]))
    residual = float(np.abs(multipliers @ signed).max())
    return Contradiction(tuple(multipliers.tolist()), residual)


def solve(signed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane of the program, and its multipliers: their sum is 1, since t stands once in every row.

    Shape: (N, D) -> (D), (N)
    """
    rows, columns = signed.shape
    result = linprog(
        c=[*[0.0] * columns, -1.0],  # minimise -t
        A_ub=np.column_stack([-signed, np.ones(rows)]),
        b_ub=np.zeros(rows),
        bounds=[*[(-1, 1)] * columns, (None, None)],
        method="highs",
    )
    if result.status != 0:  # the program always has an optimum, (w, b, t) = 0 is allowed
        raise UsageError(
            f"the linear program was not solved ({result.message}); scale the samples and try again"
        )
    return result.x[:-1], np.maximum(-result.ineqlin.marginals, 0.0)


def separator(x: np.ndarray, y: np.ndarray, weights: np.ndarray, bias: float) -> Separator:
    """The plane at ||w|| = 1, with the margin that it has on the samples themselves."""
    length = float(np.linalg.norm(weights)) or 1.0
    weights, bias = weights / length, bias / length
    return Separator(tuple(weights.tolist()), bias, float((y * (x @ weights + bias)).min()))


def checked(samples: Sequence[Sequence[float]], labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Samples (N, D) and labels (N) in double precision, or UsageError."""
    lengths = {len(x) for x in samples}
    if len(lengths) != 1 or 0 in lengths:
        raise UsageError(f"samples: expected rows of one length of at least 1, got lengths {sorted(lengths)}")
    x, y = np.asarray(samples, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if y.shape != (len(x),):
        raise UsageError(f"labels: expected {len(x)}, one for each sample, got {len(labels)}")
    if not np.isfinite(x).all():
        raise UsageError(f"samples: expected finite numbers, got {x[~np.isfinite(x)][0]}")
    if not np.isin(y, (-1, 1)).all():
        raise UsageError(f"labels: expected -1 or 1, got {sorted(set(labels))}: map 0 to -1 first")
    return x, y
