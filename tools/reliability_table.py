"""Write docs/reliability.md: every fault that concord is to survive, and the tests that hold it.

python tools/reliability_table.py

A test is marked with the numbers of its faults, ``@pytest.mark.fault(7)``; that alone puts it into the table.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE, TESTS = ROOT / "docs/reliability.md", ROOT / "tests"
NOT_YET = "not held yet"

# number -> the fault, and what concord does
FAULTS = {
    1: ("kill -9 during a save", "the checkpoint before is read; the weights at the end are the same"),
    2: ("kill -9 at any step, then resume", "the final weights are those of an uninterrupted run"),
    3: ("SIGTERM or Ctrl-C at any moment", "saved within one step and status 75, or 130 at once"),
    4: ("full or read-only disk", "status 6, the file and what it needs; older files stay as they were"),
    5: ("truncated checkpoint", "the file is named, the checkpoint before is used"),
    6: ("one changed bit", "found by SHA-256, in every file of a checkpoint"),
    7: ("checkpoint of another network or version", "both networks are named"),
    8: ("loss or prediction that is not a number", "status 5; nothing sound is overwritten"),
    9: ("one member diverges", "it is named, and the others continue without it"),
    10: ("memory runs out", "looked at before the first update; status 6 and what helps"),
    11: ("damaged or truncated image", "all are listed with their reasons before the first epoch"),
    12: ("decompression bomb in an image", "more than 50 million pixels are refused by the header"),
    13: ("wrong labels", "refused with the sample, when the data is read"),
    14: ("counts that differ, a class missing in a part", "classes go by name; nothing shifts"),
    15: ("imbalance, a single class", "reported above 20:1; recall of every class, balanced accuracy"),
    16: ("IDX file that is empty, short, of a wrong type or too long", "refused before it is read"),
    17: ("archive that is a bomb or leads elsewhere", "stopped while it unfolds; links are refused"),
    18: ("pickle in data or a checkpoint", "no code of a file runs"),
    19: ("malformed settings or JSON", "the place is named; NaN, doubles and depth are refused"),
    20: ("header bomb in safetensors", "refused before anything is allocated"),
    21: ("two processes in one folder", "the second names the first and leaves it alone"),
    22: ("clock that jumps, no home, strange paths, moved data", "works"),
    23: ("attacks on the live page", "a server has not been built yet"),
    24: ("terminal or HTML codes in names", "shown, not obeyed"),
    25: ("formula in a CSV file", "quoted with an apostrophe"),
    26: ("a worker crashes or hangs", "reported with status 6; no process is left"),
    27: ("a rank dies", "members of one run do not train in several processes yet"),
    28: ("a rank hangs", "members of one run do not train in several processes yet"),
    29: ("numbers that differ from run to run", "two runs of one seed are equal bit for bit"),
}

HEAD = """# Reliability

What a trainer must survive, and the tests that hold it. `python tools/reliability_table.py` writes this page
from the marks of the tests (`@pytest.mark.fault(1)`), and a test compares the two. Where no test holds a row,
the page says "not held yet".

`make test` runs these tests, but for those of `make soak`.

| # | fault | what concord does | held by |
|---|---|---|---|
"""


def marked(path: Path) -> Iterator[tuple[int, str]]:
    """(number of a fault, test) of every mark in a file of tests."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
                    for number in call.args:
                        yield ast.literal_eval(number), f"{path.stem}::{node.name}"


def held() -> dict[int, list[str]]:
    """The tests of every fault, in order; KeyError for a mark that names no fault."""
    found: dict[int, list[str]] = {number: [] for number in FAULTS}
    for path in sorted(TESTS.glob("test_*.py")):
        for number, test in marked(path):
            found[number].append(test)
    return found


def page() -> str:
    """The whole page."""
    tests = held()
    rows = [
        f"| {number} | {fault} | {answer} | {_listed(tests[number])} |"
        for number, (fault, answer) in FAULTS.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def _listed(tests: list[str]) -> str:
    if not tests:
        return NOT_YET
    return "<br>".join(f"`{test}`" for test in tests)


if __name__ == "__main__":
    PAGE.write_text(page())
