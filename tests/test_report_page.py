"""The page as a whole: what stands in it, that names cannot break it, and that a browser agrees."""

import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from concord.report.noel2017 import published
from concord.report.page import page
from concord.report.records import Cell, DataView, Held, MemberView, RunView, StudyView
from concord.report.summary import run_summary

CHROMIUM = shutil.which("chromium")
SECTIONS = [
    "summary", "study", "scores", "data", "last-epochs", "learning", "agreement", "confusion", "reliability",
    "uncertainty", "corruptions", "mistakes", "filters", "projection", "configuration", "stamp",
]  # fmt: skip
WITHOUT_STUDY = [key for key in SECTIONS if key != "study"]
EVIL = "<script>alert(1)</script>"
CLEAR = "\x1b[2J"  # erases a terminal


def scores(values):
    return {name: {"error": e, "nll": 3 * e, "ece": e / 4} for name, e in values.items()}


def line(epoch, weight, final):
    """One line of metrics.jsonl: errors that fall towards ``final`` with a wobble."""
    errors = {
        c: f * (1 + 4 / epoch + 0.1 * math.sin(7 * epoch + i)) for i, (c, f) in enumerate(final.items())
    }
    members = {name: error for name, error in errors.items() if name != "ensemble"}
    split = {"members": scores(members), "ensemble": scores(errors)["ensemble"], "agreement": 0.97}
    seen = {name: error / 2 for name, error in errors.items()}
    train = {"members": {n: scores(seen)[n] for n in members}, "ensemble": scores(seen)["ensemble"]}
    return {"epoch": epoch, "step": 20 * epoch, "seconds": 1.5 * epoch, "samples_per_second": 980.1,
            "learning_rate": 1e-3, "weight": weight, "consensus": 0.5 / epoch,
            "train": train,
            "valid": split, "test": split}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    """Real digits, and one logistic regression per member, fitted on different pixels of few samples."""
    data = load_digits()
    images = torch.from_numpy(data.images * 15.9).byte()[:, None]
    x, y = data.data / 16, data.target
    logits = []
    for pixels, samples in ((slice(0, 40), 150), (slice(8, 64), 300)):
        model = LogisticRegression(max_iter=200).fit(x[:samples, pixels], y[:samples])
        logits.append(torch.from_numpy(3 * model.decision_function(x[900:, pixels])))
    names = [f"digits/{i:04d}.png" for i in range(900, len(x))]
    return Held(images[900:], torch.from_numpy(y[900:]), names, tuple("0123456789"), torch.stack(logits))


def a_run(digits, name, weight):
    torch.manual_seed(0)
    members = (
        MemberView("st", "noel2017_st", 44_730, 4_320_000, torch.randn(8, 1, 3, 3)),
        MemberView("m", "noel2017_m", 274_618, 28_010_000, torch.randn(16, 1, 3, 3)),
    )
    wrong = (digits.logits.argmax(-1) != digits.labels).double().mean(-1).tolist()
    result = {
        "run": name,
        "members": {
            m.name: {"test_error": e - weight, "valid_error": e, "nll": 2 * e, "ece": 0.02}
            for m, e in zip(members, wrong, strict=True)
        },
        "ensemble": {"test_error": wrong[1] - 0.02 - weight / 2, "nll": 0.3, "ece": 0.01},
        "agreement": 0.871,
        "disagreement": [[0, 0.129], [0.129, 0]],
        "error_correlation": [[1, 0.42], [0.42, 1]],
        "seconds": 61.2,
        "samples_per_second": 980.1,
    }
    config = {
        "data": {"source": "digits", "valid": 0.1},
        "consensus": {"cost": "l2" if weight else "none", "weight": weight},
        "train": {"epochs": 14, "optimizer": {"kind": "adam", "betas": [0.9, 0.999]}},
    }
    final = {"st": 0.03 - weight, "m": 0.025, "ensemble": 0.02}
    metrics = [line(epoch, weight, final) for epoch in range(1, 15)]
    counts = {"train": [90] * 10, "valid": [10] * 10, "test": digits.labels.bincount(minlength=10).tolist()}
    seen = DataView(digits.classes, counts, ("two files skipped:\n  a.png: empty",))
    stamp = {"git": "a1b2c3d", "torch": "2.15.0"}
    return RunView(name, config, stamp, result, metrics, members, digits, len(digits.labels), seen)


@pytest.fixture(scope="module")
def runs(digits):
    return a_run(digits, "l2 0.01", 0.01), a_run(digits, "plain", 0.0)


@pytest.fixture(scope="module")
def study():
    cells = []
    gains = {
        ("none", 0.0): 0.0,
        ("sce", 1.0): 0.001,
        ("l2", 1.0): -0.015,
        ("l2", 0.1): 0.002,
        ("l2", 0.01): 0.0025,
        ("l1", 0.01): 0.001,
    }
    for (cost, weight), better in gains.items():
        for seed in range(3):
            shift = 4e-4 * math.sin(5 * seed + better * 1e4) - better
            final = {"st": 0.0077 + shift, "m": 0.0062 + shift, "ensemble": 0.0055 + shift}
            metrics = [line(epoch, weight, final) for epoch in range(1, 31)]
            nll = {c: 4 * e for c, e in final.items()}
            found = {
                "test_error": final,
                "valid_error": {c: 1.1 * e for c, e in final.items()},
                "test_nll": nll,
            }
            sizes = {"st": (44_730, 4_320_000), "m": (274_618, 28_010_000)}
            cells.append(Cell(cost, weight, ("st", "m"), seed, found, metrics, sizes=sizes))
    for name, error in (("st", 0.008), ("m", 0.006)):
        cells += [
            Cell("alone", 0.0, (name,), seed, {"test_error": {name: error + 1e-4 * seed}})
            for seed in range(3)
        ]
    return StudyView("mnist", tuple(cells), published=published("mnist", ("st", "m")))


class Outline(HTMLParser):
    """Tags, ids and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        self.addresses += [
            value for key, value in attrs if key in ("src", "href", "xlink:href", "action", "data")
        ]


@pytest.fixture(scope="module")
def whole(runs, study):
    return page(runs, study=study, title="Digits, together")


def test_all_sections_are_there_and_in_the_contents(whole):
    outline = Outline(whole)
    assert [i for i in outline.ids if i in SECTIONS] == SECTIONS
    assert {a[1:] for a in outline.addresses if a.startswith("#") and a[1:] in SECTIONS} == set(SECTIONS[1:])
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.tags.count("h1") == 1
    assert outline.tags.count("svg") == 22
    assert "script" not in outline.tags


def test_nothing_is_asked_of_any_network(whole):
    assert all(a.startswith(("#", "data:")) for a in Outline(whole).addresses)
    assert "default-src 'none'" in whole
    namespaces = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
    text = whole
    for namespace in namespaces:
        text = text.replace(namespace, "")
    assert "http" not in text.replace("http-equiv", "")
    assert "@import" not in text


def test_the_summary_says_what_was_trained_and_how_good_it_is(runs):
    html = page(runs[:1], title="t")
    assert (
        "l2 0.01 trained st (noel2017_st, 44,730 parameters) and m (noel2017_m, 274,618 parameters) on "
        "digits for 14 epochs together, with the consensus cost l2 0.01."
    ) in html
    assert "The ensemble is wrong on" in html
    assert "st by itself, with 14 % of all parameters," in html
    assert "One training does not show whether the consensus helped" in html


def test_a_study_opens_with_its_verdict_and_its_figures_and_with_no_single_run(whole, runs):
    opening = whole.split('<section id="summary"')[1].split("</section>")[0]
    assert opening.index("st + m: consensus with l2 0.01 lowers") < opening.index("The study mnist has")
    assert opening.count("<svg") == 2
    assert run_summary(runs[0]) not in opening
    assert "Proven to be worse: l2 1" not in opening  # of each cost only the weight that validation chose


def test_several_runs_open_with_the_best_and_whether_its_rank_is_proven(runs):
    html = page(runs, title="t")
    first = html.split('<section id="summary"')[1].split("<svg")[0]
    assert "The lowest test error of 2 runs is that of ensemble in l2 0.01" in first
    assert "lies inside this interval, so the order of the runs is not proven" in first


def test_notices_stand_before_the_figure_and_keep_their_lines(runs):
    result = {**runs[0].result, "notices": ["no test image of eel:\n  <b>"]}
    html = page([replace(runs[0], result=result)], title="t")
    assert '<p class="notice">no test image of eel:<br>  &lt;b&gt;</p>' in html
    assert html.index("no test image of eel") < html.index("<svg")
    assert "\\n" not in html


def test_every_member_has_a_confusion_matrix_that_opens_without_a_script(whole):
    confusion = whole.split('<section id="confusion"')[1].split("</section>")[0]
    assert confusion.count("<svg") == 2 * 3  # two runs of two members and the ensemble
    assert confusion.count("<summary>The same for st</summary>") == 2


def test_a_class_without_test_images_is_named(runs):
    counts = {"train": [5, 5], "valid": [1, 1], "test": [0, 4]}
    html = page([replace(runs[0], data=DataView(("cat", "dog"), counts))], title="t")
    assert "Classes without an image in the test part: cat." in html


def test_a_dark_page_has_a_value_for_every_colour_of_the_figures(whole):
    named = set(re.findall(r"var\(--(\w+), #", whole))
    dark = whole.split("(prefers-color-scheme: dark)")[1].split("* { box-sizing")[0]
    assert named
    assert named <= set(re.findall(r"--(\w+):", dark))


def test_the_best_of_a_column_is_bold(whole):
    assert "<strong>0.50</strong>" in whole  # published, L2 0.01
    assert "J. Noel 2017" in whole


def test_the_page_says_which_published_gains_are_repeated(whole):
    assert "Are the published gains repeated? st + m" in whole
    assert "-0.750 (-0.910 to -0.590)" in whole  # m, L2 1.0: 0.58 - 1.33


def test_equal_input_gives_an_equal_page(runs):
    run = replace(runs[0], held=None, metrics=runs[0].metrics[:2])
    assert page([run], title="t") == page([run], title="t")


@pytest.mark.fault(24)
def test_names_cannot_break_the_page(runs):
    evil = EVIL + CLEAR + "\u202e$x$"
    held = runs[0].held
    held = replace(held, names=[evil] * len(held.names), classes=(evil, *held.classes[1:]))
    members = tuple(replace(m, name=evil + m.name, network=evil) for m in runs[0].members)
    bad = replace(runs[0], name=evil, members=members, held=held, config={evil: evil}, stamp={evil: [evil]})
    html = page([bad, runs[1]], title=evil)
    outline = Outline(html)
    assert "script" not in outline.tags
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J\\u202e$x$" in html
    assert [i for i in outline.ids if i in SECTIONS] == WITHOUT_STUDY
    html.encode()  # no lone surrogate either


def test_missing_data_is_said_in_a_sentence(runs):
    bare = replace(runs[0], held=None, metrics=(), result={}, stamp={}, config={}, samples=None, data=None,
                   members=tuple(MemberView(m.name, m.network) for m in runs[0].members))  # fmt: skip
    html = page([bare], title="t")
    outline = Outline(html)
    assert [i for i in outline.ids if i in SECTIONS] == WITHOUT_STUDY
    assert "svg" not in outline.tags
    for sentence in (
        "The test scores are not known yet.",
        "there is no curve to draw",
        "The data of this run could not be read",
        "The predictions on the test set are not part of this report.",
        "st has no first convolution",
        "Nothing was recorded.",
    ):
        assert sentence in html


def test_a_page_of_nothing_is_still_a_page():
    html = page([], title="t")
    assert "There is nothing to report yet." in html
    assert [i for i in Outline(html).ids if i in SECTIONS] == WITHOUT_STUDY


def test_one_member_is_no_ensemble(runs, digits):
    held = replace(digits, logits=digits.logits[1:])
    result = {"members": {"m": {"test_error": 0.0125}}}
    html = page([replace(runs[1], members=runs[1].members[1:], held=held, result=result)], title="t")
    assert "m is wrong on 1.25 % of the 897 test images (95 %: " in html
    assert "No run with several members" in html
    assert "agree on" not in html


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_it_without_complaint(whole, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    file = tmp_path / "report.html"
    file.write_text(whole, encoding="utf-8")
    requests, complaints = [], []
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--no-first-run"]  # fmt: skip
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        tab = browser.new_page(viewport={"width": 1100, "height": 900})
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(file.as_uri())
        shown = tab.evaluate(
            "keys => keys.map(k => document.getElementById(k).getBoundingClientRect().height)", SECTIONS
        )
        tab.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")
        boxes = [drawing.bounding_box() for drawing in tab.query_selector_all("svg")]
        width = tab.evaluate("document.documentElement.scrollWidth")
        phone = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        phone.goto(file.as_uri())
        narrow = phone.evaluate("document.documentElement.scrollWidth")
        error = phone.locator("#scores thead th", has_text="test error %").bounding_box()
        dark = phone.evaluate("getComputedStyle(document.body).backgroundColor")
        browser.close()
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    assert complaints == []
    assert min(shown) > 20
    assert len(boxes) == 22
    assert min(min(box["width"], box["height"]) for box in boxes) > 20
    assert max(width / 1100, narrow / 390) <= 1  # wide tables and figures scroll in their own box
    assert error["x"] + error["width"] <= 390
    assert sum(map(int, re.findall(r"[0-9]+", dark)[:3])) < 150
