"""Options that a line gives twice although they take one value: typer would take the last without a word."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from concord.errors import UsageError, amount

COMMAS = ("--members", "--eps")  # several values in one


def refuse_repeats(given: Iterable[Any], typed: Sequence[str]) -> None:
    """UsageError for the first of these options (one entry for each time that it is typed) given twice."""
    for option, times in Counter(given).items():
        if times < 2 or option.param_type_name != "option" or option.multiple or option.is_flag:
            continue
        name, values = option.opts[0], _values(option.opts, typed)
        known = [*dict.fromkeys(values)]
        line = (
            f"{name} {shlex.quote(','.join(known))}" if name in COMMAS else f"{name} {shlex.quote(known[-1])}"
        )
        where = ", with commas between several values" if name in COMMAS else ""
        raise UsageError(
            f"{name} is given {amount(times, 'time')} ({', '.join(values)}); give it once{where}: {line}"
        )


def _values(names: Sequence[str], typed: Sequence[str]) -> list[str]:
    """What stands behind an option, each time that it is typed."""
    found = []
    for place, text in enumerate(typed):
        word, equals, value = text.partition("=")
        if word in names:
            found.append(value if equals else typed[place + 1])
    return found
