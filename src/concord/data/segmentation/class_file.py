"""A table of classes in a file beside the folders of images and masks."""

import re
from pathlib import Path

from concord.data.segmentation.table import Code, Table
from concord.errors import DataError, UsageError
from concord.files import bounded
from concord.files.text import printable

FILES = ("classes.csv", "class_dict.csv", "classes.txt", "labelmap.txt")
LARGEST = 2**20  # bytes
SEPARATOR = re.compile(
    "[,;:\t]"
)  # of columns; in a name without quotes it stands before other things than numbers
ROW = re.compile(r"(?P<name>.+?)(?P<numbers>(?:[\s,;:]+\d+)*)[\s,;:]*")


def from_file(path: Path) -> Table:
    """A table of rows NAME,VALUE or NAME,R,G,B, or of names alone, whose values are 0, 1, ...

    Commas, semicolons, colons and spaces separate; a first row that names columns and lines from # are passed
    over. Raises DataError with file and line.
    """
    try:
        text = bounded.read(path, LARGEST).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(path)} cannot be read as a table of classes: {error}") from error
    rows: list[tuple[str, Code]] = []
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    for at, (n, line) in enumerate(lines):
        parsed = ROW.fullmatch(line)
        assert parsed is not None  # any line without its spaces is a name
        name, numbers = parsed["name"].strip("\"' "), [int(x) for x in re.findall(r"\d+", parsed["numbers"])]
        if at == 0 and not numbers and re.match(r"(name|class|label)s?\s*[,;\t]", line.lower()):
            continue
        quoted = parsed["name"].startswith(('"', "'"))
        if len(numbers) not in (0, 1, 3) or (not quoted and SEPARATOR.search(name)):
            given = f"{printable(path)}, line {n}: {printable(line)!r}"
            raise DataError(f"{given} is not a row of NAME, NAME,VALUE or NAME,R,G,B")
        rows.append((name, _code(numbers, len(rows))))
    try:
        return Table.of(rows)
    except UsageError as error:
        raise DataError(f"{printable(path)}: {error}") from error


def _code(numbers: list[int], place: int) -> Code:
    if not numbers:
        return place
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])
