"""The site of the documents: it builds, quotes what exists, shows formulas and pictures, loads nothing."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in (DOCS / "formulas").glob("*.md") if path.stem != "index")
WANTED = {"convolution", "pooling", "batch-normalisation", "dropout", "back-propagation", "bptt", "lstm",
          "perceptron", "svm-margin", "fgsm"}  # fmt: skip
CHROMIUM = shutil.which("chromium")
MISSING = [m for m in ("sphinx", "myst_parser", "furo", "math_core") if importlib.util.find_spec(m) is None]
needs_sphinx = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def build(source, out):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", source, out]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built pages, made once."""
    out = tmp_path_factory.mktemp("site") / "html"
    done = build(DOCS, out)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return out


def html(site, page):
    return (site / "formulas" / f"{page.stem}.html").read_text(encoding="utf-8")


def quotes(page):
    """(file, name of the object) of everything that a page quotes."""
    block = r"^```\{literalinclude\} (\S+)\n(.*?)^```"
    for path, options in re.findall(block, page.read_text(), re.DOTALL | re.MULTILINE):
        yield (page.parent / path).resolve(), re.search(r":pyobject: (\S+)", options)[1]


def defined(path):
    """Classes, functions and methods of a module, as Class.method."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, kinds):
            yield node.name
            yield from (f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, kinds))


# --- the pages as they are written --------------------------------------------


def test_every_formula_that_was_asked_for_has_a_page():
    assert WANTED - {page.stem for page in PAGES} == set()


@each_page
def test_a_page_has_an_equation_a_worked_number_a_picture_and_a_source(page):
    text = page.read_text()
    for part in ("\n$$\n", "```{run}\n", "```{picture} ", "## By hand", "## Source"):
        assert part in text, part
    assert re.search(r"^## (Errata|Notes on|What the source leaves out)", text, re.MULTILINE)


@each_page
def test_what_a_page_quotes_exists_in_the_source(page):
    found = list(quotes(page))
    assert found
    for path, name in found:
        assert path.is_relative_to(ROOT / "src/concord")
        assert name in set(defined(path))


# --- the pages as they are built ----------------------------------------------


@needs_sphinx
@each_page
def test_a_built_page_shows_formula_code_and_picture(site, page):
    text = html(site, page)
    assert '<math display="block">' in text
    assert "$$" not in text
    assert text.count("<svg") >= len(re.findall(r"```\{picture\}", page.read_text()))
    assert re.search(r'<figure class="[^"]*picture.*?<svg [^>]*aria-label="[^"]{20,}"', text, re.DOTALL)
    shown = unescape(re.sub("<[^>]+>", "", text))
    for path, name in quotes(page):
        head = re.search(rf"^ *(?:def|class) {name.split('.')[-1]}\b.*$", path.read_text(), re.MULTILINE)[0]
        assert head.strip() in shown


@needs_sphinx
def test_numbers_by_hand_are_those_of_the_code(site):
    pairs = []
    for page in PAGES:
        pairs += re.findall(r"(-?[\d.]+) +by hand +(-?[\d.]+)", re.sub("<[^>]+>", "", html(site, page)))
    assert len(pairs) == 10
    assert [pair for pair in pairs if pair[0] != pair[1]] == []


@needs_sphinx
def test_nothing_is_loaded_from_elsewhere(site):
    remote = re.compile(r"""<(?:script|img|iframe|source)[^>]+src=["']?(?:https?:)?//|"""
                        r"""<link[^>]+rel="(?:stylesheet|preload|icon|preconnect)[^>]+(?:https?:)?//|"""
                        r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")  # fmt: skip
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(files) > 20
    assert [file.name for file in files if remote.search(file.read_text(encoding="utf-8"))] == []


FAULTS = r"""# Faults

$$
\nonsense x
$$

```{run}
print(1 / 0)
```

```{run}
silent = 1
```

```{picture} nowhere
A picture that nobody draws.
```
"""


@needs_sphinx
def test_a_fault_on_a_page_stops_the_build(tmp_path):
    shutil.copy(DOCS / "conf.py", tmp_path)
    shutil.copytree(DOCS / "static", tmp_path / "static")
    (tmp_path / "index.md").write_text(FAULTS)
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    for said in ("nonsense", "ZeroDivisionError", "prints nothing", "nowhere.py: FileNotFoundError"):
        assert said in done.stderr


@needs_sphinx
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_the_pages_from_disk_without_complaint(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    requests, complaints = [], []
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--no-first-run"]  # fmt: skip
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        for javascript, pages in ((True, PAGES), (False, PAGES[:2])):
            tab = browser.new_page(java_script_enabled=javascript, viewport={"width": 1200, "height": 900})
            tab.on("request", lambda request: requests.append(request.url))
            tab.on("console", lambda message: complaints.append(message.text))
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            for page in pages:
                tab.goto((site / "formulas" / f"{page.stem}.html").as_uri())
                boxes = [box.bounding_box() for box in tab.query_selector_all(".formula math, .picture svg")]
                assert len(boxes) >= 2
                assert min(min(box["width"], box["height"]) for box in boxes) > 12
                assert not any(map(overflows, tab.query_selector_all(".formula"))), page.stem
        browser.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def overflows(box):
    """Whether a formula is wider than the place it has, on a screen of 1200 pixels."""
    inner, outer = box.query_selector("math").bounding_box(), box.bounding_box()
    return inner["width"] > outer["width"] + 1
