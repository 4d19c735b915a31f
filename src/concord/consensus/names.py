"""Names that stand in many places: costs, shapes of edges, the ensemble. Nothing here imports torch.

``costs.COSTS``, ``kdcl.TARGETS`` and ``edges.SHAPES`` hold what the names stand for; a test holds them equal.
"""

from concord.errors import suggestion

NONE = "none"  # members trained side by side: the plain ensemble
ENSEMBLE = "ensemble"  # what all members together are called, beside the names of members
PAIRS = ("sce", "sce_tf1", "kl", "l2", "l1")
KDCL = ("kdcl_naive", "kdcl_linear", "kdcl_minlogit", "kdcl_general")
COSTS = (NONE, *PAIRS, *KDCL)
SHAPES = ("chain", "all", "ring", "star", "one_way", "mean")
MATCHINGS = ("random_matching", "disagreement_matching")
EDGES = (*SHAPES, *MATCHINGS)
OWN = "python:"  # before the name of a cost or a network that a Python user gave as an object
OTHER_WORDS = {"mse": "l2", "mae": "l1", "ce": "sce", "cross_entropy": "sce", "kld": "kl", "mean": "l2"}


def nearest_cost(name: str) -> str:
    """`` (did you mean 'l2'?)`` for ``mse`` or ``L2``, or nothing."""
    other = OTHER_WORDS.get(name.lower())
    return f" (did you mean {other!r}?)" if other else suggestion(name, COSTS)
