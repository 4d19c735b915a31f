"""The types of what result.json and metrics.jsonl hold, whoever wrote them.

Keys may be missing, as in runs of older versions, and a task of the user's own may have others.
"""

from collections.abc import Mapping
from typing import Any

FIGURES = {
    "error",
    "test_error",
    "valid_error",
    "nll",
    "bits",
    "sequence_error",
    "mse",
    "mae",
    "r2",
    "squared_error",
    "ece",
    "balanced_accuracy",
    "loss",
    "parameters",
    "macs",
    "agreement",
    "learning_rate",
    "weight",
    "consensus",
}
LENGTHS = {"seconds", "samples_per_second"}  # above 0
COUNTS = {"epoch", "epochs", "step"}  # from 1
TEXTS = {"run", "checkpoint", "fingerprint"}
SCORES = {"ensemble", "ensemble_probabilities", "probabilities"}
PAIRS = {"disagreement", "error_correlation", "error_covariance"}
LARGEST = 2**63
MOST = 1e100  # float32 ends at 3e38, and the square of a figure must be a number too


def check_document(found: Mapping[str, Any]) -> None:
    """ValueError if a figure is not a number, a table not a table, or a list not a list."""
    for key, value in found.items():
        if key in ("train", "valid", "test") and value is not None:
            check_document(_object(key, value))
        elif key == "members":
            for name, row in _object(key, value).items():
                _check_row(f"members.{name}", row)
        elif key in SCORES and value is not None:
            _check_row(key, value)
        elif key in PAIRS and value is not None:
            _check_pairs(key, value)
        elif key == "notices":
            if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
                raise ValueError("notices is not a list of texts")
        else:
            _check_value(key, value)


def _check_row(where: str, row: object) -> None:
    for key, value in _object(where, row).items():
        if key in SCORES and value is not None:
            _check_row(f"{where}.{key}", value)
        else:
            _check_value(key, value, f"{where}.{key}")


def _check_value(key: str, value: object, where: str = "") -> None:
    where = where or key
    if key in FIGURES and value is not None and not _number(value):
        raise ValueError(f"{where} is not a number")
    if key in LENGTHS and not (_number(value) and value > 0):  # type: ignore[operator]
        raise ValueError(f"{where} is not a number above 0")
    if key in COUNTS and not (type(value) is int and 1 <= value < LARGEST):
        raise ValueError(f"{where} is not a number from 1")
    if key in TEXTS and not isinstance(value, str):
        raise ValueError(f"{where} is not a text")


def _check_pairs(key: str, value: object) -> None:
    rows = value if isinstance(value, list) else [value]
    for row in rows:
        if (
            not isinstance(row, list)
            or len(row) != len(rows)
            or not all(x is None or _number(x) for x in row)
        ):
            raise ValueError(f"{key} is not a square table of numbers")


def _object(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    return value


def _number(value: object) -> bool:
    """Whether this is a number that a training can give, and that can be averaged with others."""
    return (isinstance(value, float) and abs(value) < MOST) or (type(value) is int and abs(value) < LARGEST)
