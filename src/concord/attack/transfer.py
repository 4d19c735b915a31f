"""Whether images made to mislead one network mislead another.

Rows are networks attacked, columns networks tested. ``votes[r, c]`` are the classes that column c names for
the images made against row r, ``clean[c]`` those that it names for the images as they were, and ``places[r]``
is the column of row r itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def error_matrix(votes: Tensor, labels: Tensor) -> Tensor:
    """Share of all images that the column gets wrong. Shape: (R, C, N), (N,) -> (R, C) float64"""
    return (votes != labels).double().mean(-1)


def fooled_matrix(votes: Tensor, clean: Tensor, labels: Tensor, places: Sequence[int]) -> Tensor:
    """Of the images that the row was fooled by, the share that fools the column too.

        |F_rr and F_rc| / |F_rr and right_c|     F_rc: the column was right and, after the attack, is wrong

    An image that the column got wrong without any attack tells nothing about transfer and is left out. NaN
    where no image is left. A row has 1 in its own column.

    Shape: (R, C, N), (C, N), (N,) -> (R, C) float64
    """
    right = clean == labels  # (C, N)
    fooled = right & (votes != labels)  # (R, C, N)
    own = torch.stack([fooled[row, place] for row, place in enumerate(places)]).unsqueeze(1)  # (R, 1, N)
    return (own & fooled).sum(-1).double() / (own & right).sum(-1).double()
