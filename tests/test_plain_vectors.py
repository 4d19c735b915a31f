"""Vectors and matrices of the plain room, against numbers worked by hand and against torch."""

from random import Random

import pytest
import torch

from concord.plain import vectors as v

A = [[1.0, 2.0, -3.0], [0.0, 4.0, 5.0]]


def drawn(random, rows, columns):
    return [[random.uniform(-2, 2) for _ in range(columns)] for _ in range(rows)]


def test_products_by_hand():
    assert v.dot([1, 2, 3], [4, -5, 6]) == 12  # 4 - 10 + 18
    assert v.times(A, [2, 1, 3]) == [-5, 19]  # 2 + 2 - 9 and 0 + 4 + 15
    assert v.transposed_times(A, [2, 3]) == [2, 16, 9]  # 2, 4 + 12, -6 + 15
    assert v.outer([2, 3], [5, 7, -1]) == [[10, 14, -2], [15, 21, -3]]


def test_sums_by_hand():
    assert v.plus([1, 2], [10, 20], [100, 300]) == [111, 322]
    assert v.scaled(-2, [1, -3]) == [-2, 6]
    assert v.add_scaled([1, 2], 10, [3, -4]) == [31, -38]
    assert v.hadamard([2, 3], [5, -7]) == [10, -21]
    assert v.each(abs, [-1.5, 2.0]) == [1.5, 2.0]


def test_descend_takes_the_gradient_off_in_place():
    matrix = [[1.0, 2.0], [3.0, 4.0]]
    row = matrix[1]
    v.descend(matrix, 0.5, [[2, 4], [6, -8]])
    assert matrix == [[0, 0], [0, 8]]
    assert row is matrix[1]


def test_add_outer_adds_one_term_in_place():
    matrix = [[1.0, 2.0], [3.0, 4.0]]
    v.add_outer(matrix, [1, -1], [10, 100])
    assert matrix == [[11, 102], [-7, -96]]


def test_rows_of_a_zero_matrix_are_lists_of_their_own():
    matrix = v.zero_matrix(2, 3)
    matrix[0][1] = 1.0
    assert matrix == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_products_equal_torch(seed):
    random = Random(seed)
    rows, columns = random.randint(1, 7), random.randint(1, 7)
    w, x, y = drawn(random, rows, columns), drawn(random, 1, columns)[0], drawn(random, 1, rows)[0]
    w_t, x_t, y_t = (torch.tensor(z, dtype=torch.float64) for z in (w, x, y))
    assert v.times(w, x) == pytest.approx((w_t @ x_t).tolist(), abs=1e-12)
    assert v.transposed_times(w, y) == pytest.approx((w_t.T @ y_t).tolist(), abs=1e-12)
    assert torch.tensor(v.outer(y, x), dtype=torch.float64).allclose(torch.outer(y_t, x_t), atol=1e-12)


def test_the_shape_of_a_matrix_is_rows_and_columns():
    assert v.check_matrix(A, "A") == (2, 3)


@pytest.mark.parametrize("empty", [[], [[]]])
def test_an_empty_matrix_is_refused(empty):
    with pytest.raises(ValueError, match="W: expected at least one row and one column, got an empty matrix"):
        v.check_matrix(empty, "W")


def test_ragged_rows_are_refused_with_their_row():
    with pytest.raises(ValueError, match="W: expected 2 numbers per row as in row 0, got 3 in row 1"):
        v.check_matrix([[1, 2], [1, 2, 3]], "W")


def test_vectors_of_other_length_are_refused():
    with pytest.raises(ValueError, match="x: expected 3 numbers, got 2"):
        v.check_vector([1, 2], 3, "x")
    with pytest.raises(ValueError, match="one length, got 2 and 3"):
        v.hadamard([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        v.transposed_times([[1, 2], [1]], [1, 1])
