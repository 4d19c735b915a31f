"""Options that several verbs share, and how they become a configuration."""

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from concord.cli import complete
from concord.errors import UsageError, suggestion

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Run = Annotated[Path, typer.Argument(help="Run folder.", show_default=False, autocompletion=complete.runs)]
NAMED_MEMBERS = "With names: a=lenet5,b=resnet18."  # short: longer words are cut where a column is narrow
Members = Annotated[
    str | None,
    typer.Option(
        help=f"Networks, separated by commas. {NAMED_MEMBERS}",
        autocompletion=complete.networks,
    ),
]
AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        metavar="MODULE:FACTORY",
        help="Allow the import of your own network; a run folder never imports code by itself.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Stop if the newest checkpoint is damaged, instead of using an earlier one."
    ),
]
DataPath = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Path of the data of the run, if they have moved, or of other data with the same classes. Of"
        " other data the test part is used, or all images where it has none.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any key of the configuration, for example train.clip=1; may be repeated.",
        autocompletion=complete.settings,
    ),
]
TrainingData = Annotated[
    str | None, typer.Option("--data", help="Name or path of the data; default: digits.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Passes over the training images; default: 30.")]
MemberName = Annotated[
    str, typer.Option(help="A member's name, or ensemble.", autocompletion=complete.members_and_ensemble)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Do not show progress.")]

COMMA = re.compile(r",(?![^(]*\))")  # outside brackets
ANSWER: ContextVar[TextIO | None] = ContextVar("answer")


@contextmanager
def nothing_but_json() -> Iterator[None]:
    """Other prints go to stderr: a network of the user may print whatever it likes."""
    token = ANSWER.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ANSWER.reset(token)


def print_json(document: Any) -> None:
    """The one document of --json; nothing where the process began without a standard output.

    JSON has no NaN and no infinity: they become null.
    """
    stream = ANSWER.get(sys.stdout)
    if stream is not None:
        print(json.dumps(_finite(document), indent=1, allow_nan=False), file=stream)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def member_tables(text: str) -> list[dict[str, Any]]:
    """``st=noel2017_st(filters=12),resnet18`` -> names and networks; equal networks are numbered."""
    tables: list[dict[str, Any]] = []
    for part in filter(None, (p.strip() for p in COMMA.split(text))):
        named = re.fullmatch(r"([\w.-]+)=(.+)", part)
        network = named[2].strip() if named else part
        name = named[1] if named else re.split(r"[:/]", network.partition("(")[0])[-1]
        taken = [t["name"] for t in tables]
        if name in taken and not named:
            number = next(n for n in range(2, len(taken) + 3) if f"{name}-{n}" not in taken)
            name = f"{name}-{number}"
        tables.append({"name": name, "network": network})
    if not tables:
        raise UsageError("--members needs at least one network, for example noel2017_st,noel2017_m")
    return tables


def refuse_commas(verb: str, names: Sequence[str]) -> None:
    """UsageError for several names with commas between them, where spaces separate names."""
    parts = [[part.strip() for part in COMMA.split(name) if part.strip()] for name in names]
    if any(len(part) > 1 for part in parts):
        line = shlex.join([name for part in parts for name in part])
        raise UsageError(f"names are separated by spaces: concord {verb} {line}")


def tables_of(
    file: Path | None,
    members: str | None,
    flags: Sequence[tuple[str, object]],
    settings: Sequence[str],
    start: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Configuration tables: the file (or ``start``), over it the flags given, over those every --set."""
    from concord.runs import toml

    tables = toml.read(file) if file else start or {}
    if members is not None:
        tables["members"] = member_tables(members)
    for key, value in flags:
        if value is not None:
            toml.put(tables, key, value)
    for setting in settings:
        toml.assign(tables, setting)
    return tables


def mark_pretrained(members: Sequence[dict[str, Any]], wanted: Sequence[str]) -> None:
    """``--pretrained NAME`` or ``NAME=FILE`` for each; UsageError for a name that no member has."""
    names = [str(member.get("name")) for member in members]
    for text in wanted:
        name, named, file = text.partition("=")
        if name not in names:
            near = suggestion(name, names) or f"; the members are {', '.join(names)}"
            raise UsageError(f"--pretrained {name}: no member has that name{near}")
        members[names.index(name)]["pretrained"] = file if named else True


def code_named(tables: dict[str, Any], members: str | None) -> list[str]:
    """Factories that the user typed after --members: typing a name is what allows it."""
    return [] if members is None else [m["network"] for m in tables["members"] if ":" in m["network"]]
