"""Names of ensembles in one network: ``batch_ensemble(NETWORK, members=4)``,
``packed_ensemble(NETWORK, members=4, alpha=2, gamma=1)``. Nothing here imports torch.
"""

import re
from dataclasses import dataclass

from concord.errors import UsageError

MEMBERS, ALPHA, GAMMA = 4, 2.0, 1
MOST = 64  # inner members
DEFAULTS: dict[str, dict[str, float]] = {
    "batch_ensemble": {"members": MEMBERS},
    "packed_ensemble": {"members": MEMBERS, "alpha": ALPHA, "gamma": GAMMA},
}
WHOLE = ("members", "gamma")
FORM = re.compile(rf"({'|'.join(DEFAULTS)})\((.*)\)", re.DOTALL)
OPTION = re.compile(r"(\w+)\s*=\s*(\d{1,4}(?:\.\d{1,6})?)", re.ASCII)
COMMA = re.compile(r",(?![^(]*\))")  # outside brackets


@dataclass(frozen=True)
class Named:
    """An ensemble by its name: the kind, the network that it is made of, and the options."""

    kind: str
    network: str
    options: dict[str, float]


def named(name: str) -> Named | None:
    """What a name of such an ensemble says, None for a name of another kind; UsageError for a wrong one."""
    kind = name.partition("(")[0].strip()
    if kind not in DEFAULTS:
        return None
    known = DEFAULTS[kind]
    form = FORM.fullmatch(name.strip())
    inside, *options = [part.strip() for part in COMMA.split(form[2])] if form else [""]
    pairs = [OPTION.fullmatch(option) for option in options]
    given = {pair[1]: float(pair[2]) for pair in pairs if pair}
    right = len(given) == len(options) and given.keys() <= known.keys()
    if not inside or not right or any(given.get(key, 1) != int(given.get(key, 1)) for key in WHOLE):
        example = ", ".join(f"{key}={value:g}" for key, value in known.items())
        raise UsageError(
            f"{name!r}: expected {kind}(NETWORK, {example}); members and gamma are whole numbers"
        )
    if ":" in inside or named(inside):
        raise UsageError(
            f"{name!r}: {inside} cannot be in brackets here; for a module of your own call concord.{kind}"
            " in its factory"
        )
    return Named(kind, inside, known | given)


def inside(name: str) -> str:
    """The network in the brackets of an ensemble, any other name as it is."""
    return found.network if (found := named(name)) else name
