"""Which attack was asked for; what is wrong with it is said before torch is imported."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from concord.errors import UsageError, amount, suggestion

METHODS = ("fgsm", "pgd")
NORMS = ("linf", "l2")
STEPS = 40
LONGEST_NAME = 50  # characters of a class in the name of a folder: 255 bytes are the most
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Plan:
    """An attack and its sizes, ascending; ``norm`` to ``seed`` matter for PGD only."""

    method: str
    eps: tuple[float, ...]
    norm: str = "linf"
    steps: int = STEPS
    step_size: float | None = None
    seed: int = 0

    def name(self, target: str | None) -> str:
        """The name of a folder for the results: ``fgsm``, ``pgd-l2-to-3``."""
        norm = f"-{self.norm}" if self.method == "pgd" else ""
        if target is None:
            return self.method + norm
        return f"{self.method}{norm}-to-" + re.sub(r"[^\w.-]", "_", target)[:LONGEST_NAME]

    def sentence(self, target: str | None) -> str:
        """What is done, for the reader of the report."""
        aim = "" if target is None else f" towards the class {target!r}, whose images are left out"
        if self.method == "fgsm":
            return f"Attack: FGSM{aim}; every pixel moves by eps, where pixels range from 0 to 1."
        length = "2.5 eps / steps" if self.step_size is None else f"{self.step_size:g}"
        ball = {"linf": "largest change of a pixel", "l2": "Euclidean length of the change"}[self.norm]
        return (
            f"Attack: PGD{aim}, {amount(self.steps, 'step')} of {length} from a random start"
            f" (seed {self.seed}); eps is the {ball} at most, where pixels range from 0 to 1."
        )


def plan_of(
    method: str,
    eps: Sequence[float],
    *,
    norm: str | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    seed: int | None = None,
) -> Plan:
    """A checked plan; UsageError for what describes no attack."""
    _known("--method", method, METHODS)
    given = {"norm": norm, "steps": steps, "step_size": step_size, "seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen and method == "fgsm":
        options = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise UsageError(f"{options}: FGSM is one step without a random start; this belongs to --method pgd")
    _known("--norm", norm or "linf", NORMS)
    _check_eps(eps, norm or "linf")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps must be at least 1, got {steps}")
    if step_size is not None and not (isfinite(step_size) and step_size > 0):
        raise UsageError(f"--step-size must be a positive number, got {step_size}")
    if seed is not None and not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"--seed must be 0 to 2^63 - 1, got {seed}")
    return Plan(method, tuple(sorted(set(eps))), **chosen)  # type: ignore[arg-type]


def _known(option: str, given: str, names: Sequence[str]) -> None:
    if given not in names:
        known = ", ".join(names)
        raise UsageError(f"{option} {given}: unknown{suggestion(given, names)}; there are: {known}")


def _check_eps(eps: Sequence[float], norm: str) -> None:
    if not eps:
        raise UsageError("--eps needs at least one number, for example 0.1")
    for size in eps:
        if not (isfinite(size) and size >= 0):
            raise UsageError(f"--eps must be at least 0, got {size}")
        if norm == "linf" and size > 1:
            raise UsageError(
                f"--eps {size:g}: pixels range from 0 to 1, so 1 is the largest change;"
                f" a change of {size:g} in pixels from 0 to 255 is --eps {size:g}/255"
            )


def sizes(text: str) -> list[float]:
    """``0,0.05,8/255`` -> the numbers."""
    try:
        return [_number(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(
            f"--eps {text!r}: must be numbers separated by commas, for example 0.05,0.1 or 4/255,8/255"
        ) from None


def step_length(text: str | None) -> float | None:
    """``2/255`` -> the number."""
    try:
        return None if text is None else _number(text)
    except ValueError:
        raise UsageError(f"--step-size {text!r}: must be a number, for example 0.01 or 2/255") from None


def _number(text: str) -> float:
    """A number or a fraction of two; ValueError for other texts."""
    above, slash, below = text.partition("/")
    if not slash:
        return float(text)
    if float(below) == 0:
        raise ValueError("division by zero")
    return float(above) / float(below)
