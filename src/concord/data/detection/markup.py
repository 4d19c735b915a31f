"""XML of annotations as a small tree with line numbers: bounded, without document types and entities."""

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from concord.errors import DataError
from concord.files import bounded
from concord.files.text import printable

LARGEST = 16 * 2**20  # bytes of one file
DEEPEST = 20  # elements within each other; those of VOC files have four


@dataclass
class Element:
    tag: str
    line: int
    text: str = ""
    inside: list["Element"] = field(default_factory=list)

    def all(self, tag: str) -> list["Element"]:
        """The direct children of that name."""
        return [child for child in self.inside if child.tag == tag]

    def first(self, tag: str) -> "Element | None":
        return next(iter(self.all(tag)), None)

    def value(self, tag: str) -> str | None:
        """The text of the first child of that name, without spaces around it."""
        child = self.first(tag)
        return None if child is None else child.text.strip()


def parsed(path: Path) -> Element:
    """The root element of an XML file.

    DataError, with file and line, for what is not XML, is larger than 16 MiB or nested more than 20 deep, and
    for a document type, which can define entities.
    """
    try:
        content = bounded.read(path, LARGEST)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{printable(path)} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    tree = _Tree(path)
    try:
        tree.parser.Parse(content, True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise DataError(f"{printable(path)}, line {error.lineno}: not valid XML ({reason})") from None
    except ValueError as error:  # an encoding that expat hands to Python, and that fails there
        raise DataError(f"{printable(path)}: not valid XML ({printable(error)})") from None
    except LookupError as error:
        raise DataError(f"{printable(path)}: not valid XML ({printable(error)})") from None
    return tree.root.inside[0]


class _Tree:
    """Builds the tree while expat reads."""

    def __init__(self, path: Path) -> None:
        self.path, self.root = path, Element("", 0)
        self.open = [self.root]
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _start(self, tag: str, _: dict[str, str]) -> None:
        line = self.parser.CurrentLineNumber
        if len(self.open) > DEEPEST:
            raise DataError(
                f"{printable(self.path)}, line {line}: more than {DEEPEST} elements within each other"
            )
        element = Element(tag, line)
        self.open[-1].inside.append(element)
        self.open.append(element)

    def _end(self, _: str) -> None:
        self.open.pop()

    def _text(self, text: str) -> None:
        self.open[-1].text += text

    def _doctype(self, *_: object) -> None:
        line = self.parser.CurrentLineNumber
        raise DataError(
            f"{printable(self.path)}, line {line}: document types are not read, because they can define"
            " entities; remove the line that begins with <!DOCTYPE"
        )
