"""The text of a ``.cfg`` file: sections in brackets, each with lines ``key=value``.

Source: J. Redmon, darknet, parser.c and option_list.c. Blanks count nowhere, and lines that start with # or ;
are comments. Unlike darknet, which warns or takes a zero, a wrong line is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from concord.errors import DataError, MissingDataError, suggestion
from concord.zoo.darknet.keys import KINDS, SHORT

LARGEST = 1_000_000  # bytes; the longest published file has 40,000


@dataclass(frozen=True)
class Section:
    """One section: its kind, where it starts, and the value and line of each key."""

    file: str
    line: int
    kind: str
    options: Mapping[str, tuple[str, int]]

    def error(self, text: str, key: str = "") -> DataError:
        """What is wrong with this section, or with one line of it."""
        value, line = self.options.get(key, ("", self.line))
        shown = f" {key}={value}" if key in self.options else ""
        return DataError(f"{self.file}:{line}: [{self.kind}]{shown}: {text}")

    def word(self, key: str, default: str) -> str:
        return self.options.get(key, (default, 0))[0]

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        """A whole number; DataError if it is missing without a default, or less than the least."""
        if key not in self.options and default is not None:
            return default
        numbers = self.numbers(key)
        if len(numbers) != 1 or not numbers[0].is_integer() or numbers[0] < least:
            raise self.error(f"expected a whole number of at least {least}", key)
        return int(numbers[0])

    def numbers(self, key: str) -> list[float]:
        """Numbers with commas between them; DataError if the key is missing or anything else is there."""
        if key not in self.options:
            raise self.error(f"{key} is missing")
        try:
            numbers = [float(part) for part in self.word(key, "").removesuffix(",").split(",")]
        except ValueError:
            raise self.error("expected numbers with commas between them", key) from None
        if not all(abs(number) < 1e9 for number in numbers):  # not a number is not less either
            raise self.error("expected numbers below a thousand million", key)
        return numbers


def read_sections(path: Path) -> list[Section]:
    """All sections of a file, in order; DataError for what cannot be read, or could change the result."""
    sections: list[Section] = []
    options: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        line = "".join(line.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            options = {}
            sections.append(Section(str(path), number, _kind(path, number, line), options))
            continue
        key, equals, value = line.partition("=")
        if not sections or not (key and equals and value):
            raise DataError(f"{path}:{number}: expected [section] or key=value, got {line!r:.60}")
        first, line_of_first = options.setdefault(key, (value, number))
        if first != value and key not in KINDS[sections[-1].kind].training:
            raise DataError(f"{path}:{number}: {key} has another value in line {line_of_first}; keep one")
    if not sections or sections[0].kind != "net":
        raise DataError(f"{path}: a network file of darknet starts with the section [net]")
    for section in sections:
        _refuse_unknown(section)
    return sections


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise MissingDataError(f"{path}: no such file of a network{where}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > LARGEST:
        raise DataError(f"{path}: expected a network file of at most {LARGEST:,} bytes")
    return data.decode("utf-8", errors="replace")


def _kind(path: Path, number: int, line: str) -> str:
    name = line.strip("[]")
    kind = SHORT.get(name, name)
    if kind not in KINDS or line != f"[{name}]":
        raise DataError(
            f"{path}:{number}: unknown section {line!r:.60}{suggestion(name, KINDS)}; "
            f"known sections are {', '.join(KINDS)}"
        )
    return kind


def _refuse_unknown(section: Section) -> None:
    """DataError for keys that change what the network computes in a way that concord does not."""
    kind = KINDS[section.kind]
    for key, (value, _) in section.options.items():
        if key in kind.used or key in kind.training:
            continue
        if key not in kind.neutral:
            known = ", ".join(kind.used) or "none"
            near = suggestion(key, (*kind.used, *kind.neutral))
            raise section.error(f"unknown key{near}; keys that shape this layer are {known}", key)
        if not _equal(value, kind.neutral[key]):
            raise section.error(f"not supported; only {key}={kind.neutral[key]} is", key)


def _equal(value: str, neutral: str) -> bool:
    """As numbers, if they are numbers: 1.0 is 1."""
    try:
        return float(value) == float(neutral)
    except ValueError:
        return value == neutral
