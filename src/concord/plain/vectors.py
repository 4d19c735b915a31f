"""Vectors and matrices as lists of floats: the few operations that all of `plain` shares.

A vector is a list of numbers, a matrix a list of its rows, all of one length. Nothing here changes its
arguments, except `descend` and `add_outer`, which return nothing.

Sums of products are written ``sum(map(mul, a, b))``: the same sum as a loop, but the
interpreter runs it without bytecode, in about half the time.
"""

from collections.abc import Callable, Sequence
from operator import mul
from random import Random

Vector = list[float]
Matrix = list[Vector]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """sum_i a_i b_i. The shorter one decides, unnoticed: doors compare lengths first (`check_vector`)."""
    return sum(map(mul, a, b))


def times(matrix: Sequence[Sequence[float]], x: Sequence[float]) -> Vector:
    """y = W x, y_i = sum_j W_ij x_j."""
    return [sum(map(mul, row, x)) for row in matrix]


def transposed_times(matrix: Sequence[Sequence[float]], y: Sequence[float]) -> Vector:
    """x = W' y, x_j = sum_i W_ij y_i: what carries an error back through W."""
    return [sum(map(mul, column, y)) for column in zip(*matrix, strict=True)]


def outer(a: Sequence[float], b: Sequence[float]) -> Matrix:
    """a b', all products a_i b_j: the gradient of W in W b when a is the error of the result."""
    return [[a_i * b_j for b_j in b] for a_i in a]


def plus(*vectors: Sequence[float]) -> Vector:
    """The sum of vectors of one length."""
    return [sum(numbers) for numbers in zip(*vectors, strict=True)]


def scaled(factor: float, a: Sequence[float]) -> Vector:
    """factor * a."""
    return [factor * a_i for a_i in a]


def add_scaled(a: Sequence[float], factor: float, b: Sequence[float]) -> Vector:
    """a + factor * b."""
    return [a_i + factor * b_i for a_i, b_i in zip(a, b, strict=True)]


def hadamard(a: Sequence[float], b: Sequence[float]) -> Vector:
    """a o b, number by number: a_i b_i."""
    if len(a) != len(b):
        raise ValueError(f"expected two vectors of one length, got {len(a)} and {len(b)} numbers")
    return list(map(mul, a, b))


def each(f: Callable[[float], float], a: Sequence[float]) -> Vector:
    """f of every number."""
    return list(map(f, a))


def zeros(size: int) -> Vector:
    """A vector of zeros."""
    return [0.0] * size


def zero_matrix(rows: int, columns: int) -> Matrix:
    """A matrix of zeros, every row a list of its own."""
    return [[0.0] * columns for _ in range(rows)]


def he(rows: int, columns: int, random: Random) -> Matrix:
    """Weights drawn from N(0, 2 / columns), for layers followed by ReLU (K. He et al., 2015)."""
    spread = (2 / columns) ** 0.5
    return [[random.gauss(0, spread) for _ in range(columns)] for _ in range(rows)]


def descend(matrix: Matrix, rate: float, gradient: Sequence[Sequence[float]]) -> None:
    """W <- W - rate * G, in place."""
    for row, slope in zip(matrix, gradient, strict=True):
        row[:] = [w - rate * g for w, g in zip(row, slope, strict=True)]


def add_outer(matrix: Matrix, a: Sequence[float], b: Sequence[float]) -> None:
    """M <- M + a b', in place: one term of a sum of outer products."""
    for row, a_i in zip(matrix, a, strict=True):
        row[:] = [m + a_i * b_j for m, b_j in zip(row, b, strict=True)]


def check_vector(x: Sequence[float], size: int, name: str) -> None:
    """ValueError unless x has `size` numbers."""
    if len(x) != size:
        raise ValueError(f"{name}: expected {size} numbers, got {len(x)}")


def check_sequence(inputs: Sequence[Sequence[float]], size: int) -> None:
    """ValueError unless there is a step x_1 and every x_t has `size` numbers."""
    if not inputs:
        raise ValueError("inputs: expected at least one step, got an empty sequence")
    for t, x in enumerate(inputs, 1):
        check_vector(x, size, f"x_{t}")


def check_matrix(matrix: Sequence[Sequence[float]], name: str) -> tuple[int, int]:
    """(rows, columns) of a matrix that has at least one of each; ValueError if it has none or is ragged."""
    if not matrix or not matrix[0]:
        raise ValueError(f"{name}: expected at least one row and one column, got an empty matrix")
    for i, row in enumerate(matrix):
        if len(row) != len(matrix[0]):
            raise ValueError(
                f"{name}: expected {len(matrix[0])} numbers per row as in row 0, got {len(row)} in row {i}"
            )
    return len(matrix), len(matrix[0])
