"""Recommended weight and schedule of a cost whose weight is not given.

docs/results/collaboration-map.md has the measurements behind it. Nothing here imports torch.
"""

from collections.abc import Mapping
from typing import Final

WEIGHTS: Final = {"kl": 1.0, "sce_tf1": 1.0}  # at temperature 1 the gradients of both are equal
ONLY: Final = f"only {' and '.join(WEIGHTS)} have a recommended one"
RISING: Final = {"kind": "linear", "until": 1.0}  # 0 at the first update, the full weight at the last


def filled(table: object, key: str) -> object:
    """A table of settings with a ``cost``; where it lacks ``key``, with the recommended weight and schedule.

    ``key`` is ``weight``, or ``weights`` for a list of them.
    """
    if not isinstance(table, Mapping) or key in table or not isinstance(table.get("cost"), str):
        return table
    weight = WEIGHTS.get(table["cost"])
    if weight is None:
        return table
    return {key: [weight] if key == "weights" else weight, "schedule": RISING, **table}
