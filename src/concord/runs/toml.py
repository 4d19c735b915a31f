"""A configuration from TOML and back, with faults that name the key and the cure."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from concord.errors import UsageError, suggestion
from concord.runs import toml_bounds
from concord.runs.config import Config
from concord.runs.config_optimizers import OwnOptimizer
from concord.runs.phrases import plain

LARGEST_FILE = 2**20  # bytes; a configuration is small
LONGEST_SHOWN = 200  # characters of a value in a message
MOST_FAULTS = 50  # listed in a message; each is compared with the names that there are
M = TypeVar("M", bound=BaseModel)


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file as they stand; UsageError with file, line and column otherwise."""
    return tables_of(content_of(path), path)


def content_of(path: Path) -> bytes:
    """The bytes of a settings file; UsageError if it is missing or larger than any configuration is."""
    try:
        with path.open("rb") as file:  # which may be a pipe of a shell
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such configuration file") from None
    except IsADirectoryError:
        inside = next((path / name for name in ("study.toml", "config.toml") if (path / name).is_file()), "")
        meant = f", such as {inside}" if inside else ""
        raise UsageError(f"{path} is a folder; expected a TOML file of settings{meant}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > LARGEST_FILE:
        raise UsageError(f"{path}: a configuration of more than {LARGEST_FILE} bytes is refused")
    return content


def refuse_too_much(content: bytes, path: Path) -> None:
    """UsageError for more keys, values or levels than a settings file may have, whatever else is wrong."""
    try:
        toml_bounds.check(content.decode("utf-8", "replace"))
    except ValueError as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None


def tables_of(content: bytes, path: Path) -> dict[str, Any]:
    """The tables that the bytes of a TOML file hold; UsageError naming ``path`` and the line otherwise."""
    try:
        return _loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: not a TOML file: not UTF-8 text (at line {line})") from None
    except ValueError as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None


def _loads(text: str) -> dict[str, Any]:
    """``tomllib.loads`` with every refusal a ValueError, and what is too much refused before."""
    toml_bounds.check(text)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's own limit, 4300 digits
        raise ValueError("a number has too many digits") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse(tables: Mapping[str, Any], where: str = "") -> Config:
    """A checked Config, or one UsageError that lists every fault with its key."""
    return checked(Config, tables, where)


def checked(model: type[M], tables: Mapping[str, Any], where: str = "", prefix: str = "") -> M:
    """A record of ``model``, or one UsageError that lists every fault with its key, after ``prefix``."""
    try:
        return model.model_validate(dict(tables))
    except ValidationError as error:
        raise refusal(error, model, tables, where, prefix) from None


def refusal(
    error: ValidationError, model: type[BaseModel], tables: Mapping[str, Any], where: str, prefix: str = ""
) -> UsageError:
    """One error that lists every fault of these tables with its key."""
    faults = error.errors(include_url=False)
    found = list(dict.fromkeys(_fault(dict(fault), tables, model, prefix) for fault in faults[:MOST_FAULTS]))
    if len(found) == 1:
        return UsageError(f"{where}: {found[0]}" if where else found[0])
    more = [f"and {len(faults) - MOST_FAULTS:,} more"] if len(faults) > MOST_FAULTS else []
    listed = "\n".join(f"  {fault}" for fault in [*found, *more])
    return UsageError(f"{where or f'{len(found)} settings are wrong'}:\n{listed}")


def _fault(fault: Mapping[str, Any], tables: object, model: type[BaseModel], prefix: str) -> str:
    path = _keys(fault["loc"], tables)
    if fault["type"] == "missing":
        path.append(str(fault["loc"][-1]))
    key, given, context = prefix + ".".join(path), fault.get("input"), fault.get("ctx", {})
    if key == "members" and fault["type"] in ("missing", "too_short"):
        return "members: name at least one network, for example --members noel2017_st,noel2017_m"
    match fault["type"]:
        case "extra_forbidden":
            if kinds := _kinds_with(path[-1], path[:-1], model):
                return f"{key}: this belongs to kind = {' or '.join(kinds)}"
            known = known_keys(path[:-1], model)
            near = suggestion(path[-1], known) or _elsewhere(path[-1], model)
            return f"{key}: unknown key{near or '; there are: ' + ', '.join(known)}"
        case "union_tag_not_found":
            return f"{key}.kind is missing"
        case "union_tag_invalid":
            near = _nearest(context["tag"], context["expected_tags"])
            return f"{key}.kind: must be one of {context['expected_tags']}, got {context['tag']!r}{near}"
    shown = "" if isinstance(given, dict | list) else f", got {_shown(given)}"
    if fault["type"] == "literal_error":
        shown += _nearest(given, context["expected"])
    text = plain(fault["msg"])
    return f"{key}: {text}{'' if fault['type'] == 'missing' else shown}" if key else text


def _elsewhere(name: str, model: type[BaseModel], prefix: str = "") -> str:
    """`` (did you mean 'train.optimizer.lr'?)``: the first key of that name further down, or nothing."""
    for field, info in model.model_fields.items():
        if field == name:
            return f" (did you mean {prefix + field!r}?)"
        for inner in _models(info.annotation):
            if found := _elsewhere(name, inner, f"{prefix}{field}."):
                return found
    return ""


def _keys(location: Sequence[str | int], tables: Any) -> list[str]:
    """The keys that a user wrote on the way to a fault, without the names of union branches between them."""
    path = []
    for part in location:
        if isinstance(tables, Mapping):
            inside = part in tables
        else:
            inside = isinstance(tables, list | tuple) and part in range(len(tables))
        if inside:
            tables = tables[part]
            path.append(str(part))
    return path


def _nearest(given: object, expected: str) -> str:
    """The suggestion among names that pydantic lists in quotes."""
    return suggestion(given, re.findall(r"'([^']*)'", expected)) if isinstance(given, str) else ""


def _shown(given: object) -> str:
    try:
        text = repr(given)
    except ValueError:
        return "a number of too many digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def known_keys(path: Iterable[str], model: type[BaseModel] = Config) -> list[str]:
    """Names that may stand under this path of keys, union branches included."""
    return sorted({name for found in _models_at(path, model) for name in found.model_fields})


def places(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """``train.optimizer.lr`` and all other keys that --set takes, each with whether it is true or false."""
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        if not inner:
            yield prefix + name, field.annotation in (bool, bool | None)
        elif get_origin(field.annotation) is tuple:  # a list of tables is set whole
            yield prefix + name, False
        elif get_origin(field.annotation) is not list:  # members have an option of their own
            tables = (each for each in inner if each is not OwnOptimizer)
            yield from dict.fromkeys(key for each in tables for key in places(each, f"{prefix}{name}."))


def _kinds_with(name: str, path: Iterable[str], model: type[BaseModel]) -> list[str]:
    """The kinds, in quotes, that a table at this path must have to take a key of that name."""
    having = [m.model_fields for m in _models_at(path, model) if name in m.model_fields]
    return [
        f'"{kind}"' for fields in having if "kind" in fields for kind in get_args(fields["kind"].annotation)
    ]


def _models_at(path: Iterable[str], model: type[BaseModel]) -> list[Any]:
    models: list[Any] = [model]
    for part in path:
        fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        models = [found for field in fields for found in _models(field)] or models
    return models


def _models(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]


def assign(tables: dict[str, Any], setting: str) -> None:
    """Put one ``key.path=value`` (value in TOML, or a bare word) into the tables."""
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes key=value, for example train.epochs=5, got {setting!r}")
    try:
        read = _loads(f"x = {text}")
    except ValueError:
        read = {}
    value = read["x"] if read.keys() == {"x"} else text.strip()
    put(tables, key.strip(), value)


def put(tables: dict[str, Any], key: str, value: object) -> None:
    """Put a value at ``key.path``, making the tables on the way."""
    *path, last = key.split(".")
    if len(path) >= toml_bounds.LONGEST_KEY:
        raise UsageError(f"{_shown(key)}: a key of more than {toml_bounds.LONGEST_KEY} names")
    for part in path:
        tables = tables.setdefault(part, {})
        if not isinstance(tables, dict):
            raise UsageError(f"{key}: {part!r} is not a table of settings")
    tables[last] = value


def to_toml(config: Config) -> str:
    """The resolved configuration as TOML that ``read`` and ``parse`` turn into an equal Config."""
    return to_text(config.model_dump(mode="json", exclude_none=True))


def to_text(tables: Mapping[str, Any]) -> str:
    """Tables of settings, and lists of such tables, as TOML."""
    lines: list[str] = []
    for section, value in tables.items():
        for row in value if isinstance(value, list) else [value] if value is not None else []:
            head = f"[[{section}]]" if isinstance(value, list) else f"[{section}]"
            lines += ["", head, *(f"{k} = {_toml(v)}" for k, v in row.items() if v is not None)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(_escape(c) for c in value) + '"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{k} = {_toml(v)}' for k, v in value.items() if v is not None)} }}"
    assert isfinite(value)
    return repr(value)


def _escape(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    return f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``key: old -> new`` for every leaf in which two nested mappings differ."""
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a!r} -> {b!r}")
    return found
