"""Words that no text for users may have: help, messages and documents.

The rule asks for plain, current English: subject, verb, object, and the usual term of the field.
"""

import ast
import re
from pathlib import Path

import pytest
import typer.main

import concord
from concord.cli.app import app

SOURCE = Path(concord.__file__).parent
ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/formulas/*.md")]
)
BANNED = {
    r"\btold\b": "reported",
    r"\btells?\b": "reports, shows",
    r"\bheard\b": "predicted, logits",
    r"\banew\b": "again",
    r"\b(go|goes|going|went) on\b": "continues, resumes",
    r"(?<!there )\b(is|are|was|were) no (?!longer|more|less|better|worse|smaller|larger)[a-z]": "is not a",
    r"\bnone of (its|their|her) own\b": "does not have one",
    r"\bso many\b": "N, at most N",
    r"\bhow often every\b": "passes over the training images",
    r"\bthe way out\b": "the instruction itself",
    r"\bthe cure\b": "the instruction itself",
    r"\bsource 00[0-9]\b": "the name of the document",
    r"\bstands? still\b": "detached",
    r"[,;] \S+ say$": "for example",
}
IN_MESSAGES = {r"\b(somebody|nobody|whoever)\b": "a noun"}
# where a message reaches a user: an error, a notice, a line on the terminal
MESSAGE = re.compile(r"(Error|notice|tell|print|warn|Notice|_note|problem)$")


def faults(text, banned=BANNED):
    """The banned words in a text, each with what to write."""
    return [
        f"{match[0]!r}: write {instead}"
        for pattern, instead in banned.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


def helps(command, path="concord"):
    """(name, text) of the help of every command and option."""
    yield path, command.help or ""
    for name, inner in getattr(command, "commands", {}).items():
        yield from helps(inner, f"{path} {name}")
    for option in command.params:
        yield f"{path} {option.name}", getattr(option, "help", None) or ""


HELPS = list(helps(typer.main.get_command(app)))


def test_the_words_are_found():
    assert faults("The same command goes on. Tell it anew")
    assert faults("x is no run folder")
    assert faults("give data.valid, 0.1 say")
    assert not faults("There is no curve to draw, and it is no longer there")


def test_help_has_none_of_them():
    assert len(HELPS) > 100
    assert {name: found for name, text in HELPS if (found := faults(text, BANNED | IN_MESSAGES))} == {}


def test_every_option_has_a_help_text_that_ends_with_a_stop():
    bare = [name for name, text in HELPS if not text.strip()]
    assert [name for name in bare if not name.endswith(("help", "completion", "concord"))] == []


def messages(path):
    """(line, text) of every string that a raise or a call of a reporting function holds."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", "")) if called is not None else ""
        if isinstance(node, ast.Raise) or MESSAGE.search(name):
            for part in ast.walk(node):
                if isinstance(part, ast.JoinedStr):
                    pieces = [v.value if isinstance(v, ast.Constant) else "X" for v in part.values]
                    yield part.lineno, "".join(map(str, pieces))
                elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_messages_have_none_of_them(path):
    banned = BANNED | IN_MESSAGES
    assert {line: found for line, text in messages(path) if (found := faults(text, banned))} == {}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_documents_have_none_of_them(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = {n: f for n, line in enumerate(text.splitlines(), 1) if (f := faults(line))}
    assert found == {}
