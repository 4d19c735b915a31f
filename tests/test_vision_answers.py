"""What runs of masks and boxes answer: predictions in every form, and their reports."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import vision_runs_made as made_of
from PIL import Image
from run_made import call
from vision_runs_made import CLASSES, HEIGHT, TASKS, WIDTH, train

import concord
from concord.data.detection.layout import found
from concord.data.detection.read import listing
from concord.runs.vision.evaluate import parts_of
from concord.runs.vision.loading import load_run
from concord.runs.vision.written import COLOURS

CHROMIUM = shutil.which("chromium")
LEARNED = {
    "segment": {"epochs": 25, "optimizer": {"kind": "adam", "lr": 0.01}},
    "detect": {"epochs": 50, "optimizer": {"kind": "adam", "lr": 0.01}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs that have learned something, so that there are boxes to be seen."""
    folders = {task: tmp_path_factory.mktemp(task) for task in TASKS}
    return {task: train(folder, task, **LEARNED[task]) for task, folder in folders.items()}


def pictures(run):
    return sorted((run.parent / "data/images").glob("*.png"))


def rows_of(capsys, run, *line):
    status, out, err = call(capsys, "predict", run, *line, "--json")
    assert status == 0, err
    return json.loads(out)


def shares_of(run, file, names=("a", "b")):
    """Probabilities of a picture by the networks themselves, without tiles: sides are multiples of 4."""
    loaded = load_run(run)
    scale = loaded.interface.normalise
    x = torch.from_numpy(np.array(Image.open(file))).float()[None, None]
    x = (x - scale.mean[0]) / scale.std[0]
    with torch.no_grad():
        return torch.stack([loaded.members[name].network(x)[0].softmax(0) for name in names]).mean(0)


@pytest.mark.parametrize("names", [("a", "b"), ("b",)])
def test_rows_of_masks_have_the_shares_and_the_mean_probability_of_the_likeliest_classes(names, made, capsys):
    run = made["segment"]
    member = [] if len(names) > 1 else ["--member", names[0]]
    rows = rows_of(capsys, run, *pictures(run)[:3], *member)
    for file, row in zip(pictures(run)[:3], rows, strict=True):
        best = shares_of(run, file, names).max(0)
        share = (best.indices == 1).double().mean().item()
        assert row["file"] == str(file)
        assert row["shares"] == pytest.approx({"background": 1 - share, "disc": share}, abs=1e-9)
        assert row["confidence"] == pytest.approx(best.values.mean().item(), rel=1e-5)
        assert row["label"] == ("disc" if share > 0.5 else "background")


def test_masks_as_pictures_are_the_truth_of_which_the_ensemble_misses_nothing(made, tmp_path, capsys):
    run, data = made["segment"], tmp_path / "data"
    rows_of(capsys, run, *pictures(run), "--to", data / "masks")
    shutil.copytree(run.parent / "data/images", data / "images")
    for file in pictures(run):
        mask = Image.open(data / "masks" / file.name)
        assert mask.mode == "P"
        assert np.array_equal(np.array(mask), shares_of(run, file).argmax(0).numpy())
    status, out, _ = call(capsys, "eval", run, "--data", data, "--json")
    document = json.loads(out)
    assert status == 0
    assert document["ensemble"]["error"] == 0
    assert document["members"]["a"]["error"] > 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_masks_as_coco_are_what_pycocotools_decodes(made, tmp_path, capsys):
    coder = pytest.importorskip("pycocotools.mask", reason="needs pycocotools")
    run = made["segment"]
    rows_of(capsys, run, *pictures(run), "--to", tmp_path / "found", "--format", "coco")
    (file,) = (tmp_path / "found").iterdir()
    seen = {}
    for row in json.loads(file.read_text()):
        region = row["segmentation"]
        decoded = coder.decode({"size": region["size"], "counts": region["counts"].encode()})
        assert row["category"] == CLASSES["segment"][row["category_id"] - 1]
        seen.setdefault((row["image_id"], row["file_name"]), {})[row["category_id"] - 1] = decoded
    for number, name in enumerate(pictures(run), 1):
        classes = shares_of(run, name).argmax(0).numpy()
        regions = seen[number, str(name)]
        assert all(np.array_equal(regions[k], classes == k) for k in np.unique(classes))


def test_boxes_as_coco_have_the_average_precision_of_the_result_by_pycocotools(made, tmp_path, capsys):
    """Pictures fill their canvas here, so that boxes are cut off at the same borders."""
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools")
    from pycocotools.cocoeval import COCOeval

    run = made["detect"]
    result = json.loads((run / "result.json").read_text())
    files = [sample.image for sample in parts_of(load_run(run), None).test.samples]
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(truth_of(files)))
    for member in ("ensemble", "b"):
        to = tmp_path / member
        rows_of(capsys, run, *files, "--member", member, "--score", 0, "--to", to, "--format", "coco")
        known = coco.COCO(truth)
        scored = COCOeval(known, known.loadRes(str(to / "coco_results.json")), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
        capsys.readouterr()
        row = result["ensemble"] if member == "ensemble" else result["members"][member]
        assert row["ap50"] > 0.1
        assert (row["ap"], row["ap50"]) == pytest.approx(tuple(scored.stats[:2]), abs=1e-4)


def truth_of(files):
    rows = [
        (i, k, row)
        for i, file in enumerate(files, 1)
        for k, row in enumerate(made_of.rectangles(int(file.stem))[1])
    ]
    return {
        "images": [{"id": i, "width": WIDTH, "height": HEIGHT} for i, _ in enumerate(files, 1)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES["detect"], 1)],
        "annotations": [
            {"id": 2 * i + k, "image_id": i, "category_id": CLASSES["detect"].index(label) + 1, "iscrowd": 0,
             "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            for i, k, (label, x1, y1, x2, y2) in rows
        ],
    }  # fmt: skip


def test_boxes_as_voc_are_read_back_as_annotations(made, tmp_path, capsys):
    run = made["detect"]
    shutil.copytree(run.parent / "data/images", tmp_path / "found", ignore=shutil.ignore_patterns("*.xml"))
    rows = rows_of(capsys, run, *pictures(run), "--to", tmp_path / "found", "--format", "voc")
    read = listing(tmp_path / "found", found(tmp_path / "found"), CLASSES["detect"])
    assert read.faults == ()
    for sample, row in zip(read.parts["train"], rows, strict=True):
        assert sample.size == (WIDTH, HEIGHT)
        kept = [CLASSES["detect"][k] for k in sample.truth.labels.tolist()]
        assert kept == [box["label"] for box in row["boxes"]]
        expected = np.array([box["box"] for box in row["boxes"]]).reshape(-1, 4)
        assert sample.truth.boxes.numpy() == pytest.approx(expected, abs=1e-3)


def test_boxes_as_json_are_the_rows_themselves(made, tmp_path, capsys):
    run = made["detect"]
    rows = rows_of(capsys, run, *pictures(run), "--to", tmp_path, "--format", "json", "--score", 0.1)
    written = json.loads((tmp_path / "detections.json").read_text())
    assert sum(len(row["boxes"]) for row in rows) > 12
    for row, again in zip(rows, written, strict=True):
        assert row["file"] == again["file"]
        for box, other in zip(row["boxes"], again["boxes"], strict=True):
            assert box["label"] == other["label"]
            assert [box["confidence"], *box["box"]] == pytest.approx(
                [other["confidence"], *other["box"]], abs=1e-4
            )
        assert row["confidence"] == (row["boxes"][0]["confidence"] if row["boxes"] else None)


def test_boxes_as_pictures_have_the_colour_of_the_class_around_the_surest_one(made, tmp_path, capsys):
    run = made["detect"]
    rows = rows_of(capsys, run, *pictures(run), "--to", tmp_path)
    for file, row in zip(pictures(run), rows, strict=True):
        before = np.array(Image.open(file))
        after = np.array(Image.open(tmp_path / file.name))
        if not row["boxes"]:
            assert np.array_equal(before, after)
            continue
        x1, y1, x2, y2 = row["boxes"][0]["box"]
        colour = COLOURS[CLASSES["detect"].index(row["boxes"][0]["label"])]
        side, below = after[round((y1 + y2) / 2)], after[:, round((x1 + x2) / 2)]
        for line, place in ((side, x1), (side, x2), (below, y2)):
            near = line[max(0, int(place) - 1) : int(place) + 2]
            assert (near == colour).all(1).any()
        outside = np.ones((HEIGHT, WIDTH), bool)
        for box in row["boxes"]:
            left, top, right, bottom = (round(v) for v in box["box"])
            outside[max(0, top - 13) : bottom + 2, max(0, left - 2) : max(right + 2, left + 70)] = False
        assert np.array_equal(before[outside], after[outside])


def test_boxes_are_in_pixels_of_the_file_whatever_its_size(made, tmp_path, capsys):
    """A picture three times as large, with grey below: the boxes grow with it and stay on the picture."""
    run = made["detect"]
    large, tall = tmp_path / "large.png", tmp_path / "tall.png"
    small = Image.open(pictures(run)[0])
    small.resize((3 * WIDTH, 3 * HEIGHT), Image.Resampling.NEAREST).save(large)
    grown = Image.new("RGB", (WIDTH, 2 * HEIGHT), (30, 30, 30))
    grown.paste(small, (0, HEIGHT))
    grown.save(tall)
    one, other, third = rows_of(capsys, run, pictures(run)[0], large, tall)
    for box, scaled in zip(one["boxes"], other["boxes"], strict=True):
        assert box["label"] == scaled["label"]
        assert np.array(scaled["box"]) / 3 == pytest.approx(np.array(box["box"]), abs=3)
    for box in third["boxes"]:
        x1, y1, x2, y2 = box["box"]
        assert 0 <= x1 < x2 <= WIDTH
        assert 0 <= y1 < y2 <= 2 * HEIGHT


def test_a_least_score_leaves_out_what_is_less_sure(made, capsys):
    run = made["detect"]
    rows = {score: rows_of(capsys, run, *pictures(run), "--score", score) for score in (0, 0.25, 0.6, 1)}
    usual = rows_of(capsys, run, *pictures(run))
    assert usual == rows[0.25]
    counts = {score: sum(len(row["boxes"]) for row in of_score) for score, of_score in rows.items()}
    assert counts[0] > counts[0.25] > counts[0.6] > counts[1] == 0
    for whole, part in zip(rows[0], rows[0.6], strict=True):
        assert part["boxes"] == [box for box in whole["boxes"] if box["confidence"] >= 0.6]


@pytest.mark.parametrize("task", TASKS)
def test_what_cannot_be_read_has_an_error_and_is_not_written(task, made, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    line = ["predict", made[task], tmp_path / "broken.png", pictures(made[task])[0], tmp_path / "none.png"]
    line += ["--json", "--to", tmp_path / "found"]
    status, out, err = call(capsys, *line)
    rows = json.loads(out)
    assert (status, "2 of 3 images could not be read" in err) == (0, True), err
    assert ["error" in row for row in rows] == [True, False, True]
    assert "no such file" in rows[2]["error"]
    assert [file.name for file in (tmp_path / "found").iterdir()] == ["00.png"]
    assert call(capsys, *line, "--strict")[0] == 3
    status, out, _ = call(capsys, "predict", made[task], tmp_path / "broken.png")
    assert (status, "broken.png" in out, "Traceback" in out) == (3, True, False)


@pytest.mark.parametrize("task", TASKS)
def test_lines_say_what_was_found(task, made, capsys):
    run = made[task]
    status, out, _ = call(capsys, "predict", run, pictures(run)[1])
    (row,) = rows_of(capsys, run, pictures(run)[1])
    assert status == 0
    if task == "segment":
        words = ", ".join(f"{name} {100 * share:.1f} %" for name, share in row["shares"].items())
    else:
        labels = [box["label"] for box in row["boxes"]]
        words = ", ".join(f"{name} {labels.count(name)}" for name in dict.fromkeys(labels)) or "nothing"
    assert out == f"{pictures(run)[1]}  {words}\n"


WRONG = {
    "two files of one name": (TASKS, ["00.png", "again/00.png", "--to", "found"], "under one name"),
    "no files": (TASKS, [], "name the files after the run"),
    "a format that there is not": (TASKS, ["00.png", "--to", "found", "--format", "vco"], "got 'vco'"),
    "masks as VOC": (
        ["segment"],
        ["00.png", "--to", "found", "--format", "voc"],
        "writes png, coco, got 'voc'",
    ),
    "a format of no files": (TASKS, ["00.png", "--format", "coco"], "add --to"),
    "a place that is a file": (TASKS, ["00.png", "--to", "00.png"], "00.png is a file"),
    "a score that is none": (TASKS, ["00.png", "--score", "1.5"], "from 0 to 1, got 1.5"),
    "a score of not a number": (TASKS, ["00.png", "--score", "nan"], "from 0 to 1, got nan"),
    "several labels": (TASKS, ["00.png", "--top", "2"], "are of one label"),
    "probabilities": (TASKS, ["00.png", "--probabilities"], "are of one label"),
    "texts": (TASKS, ["00.png", "--text", "abc"], "give image files, no texts"),
    "a table of labels": (
        TASKS,
        ["00.png", "--to", "found", "--csv", "labels.csv"],
        "written with --to FOLDER",
    ),
    "a member that there is not": (TASKS, ["00.png", "--member", "c"], "'c'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_one_message_and_nothing_is_written(kind, made, tmp_path, capsys, monkeypatch):
    tasks, line, words = WRONG[kind]
    monkeypatch.chdir(tmp_path)
    for task in tasks:
        shutil.copy(pictures(made[task])[0], tmp_path / "00.png")
        (tmp_path / "again").mkdir(exist_ok=True)
        shutil.copy(pictures(made[task])[1], tmp_path / "again/00.png")
        status, out, err = call(capsys, "predict", made[task], *line)
        assert (status, out) == (2, ""), (out, err)
        assert words in " ".join(err.split()), err
        assert not Path("found").exists()
        assert not Path("labels.csv").exists()


SECTIONS = {
    "segment": {"summary", "scores", "classes", "pictures", "learning", "configuration"},
    "detect": {"summary", "scores", "classes", "curves", "pictures", "learning", "configuration"},
}


@pytest.fixture(scope="module")
def pages(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {task: concord.write_report(run, folder / f"{task}.html") for task, run in made.items()}


@pytest.mark.parametrize("task", TASKS)
def test_a_report_has_the_figures_and_pictures_of_its_task(task, made, pages):
    page = pages[task].read_text()
    result = json.loads((made[task] / "result.json").read_text())
    assert set(re.findall(r'<section[^>]* id="([\w-]+)"', page)) == SECTIONS[task]
    assert not re.search(r"(src|href)=.https?:", page)
    figure = "error" if task == "segment" else "ap50"
    for row in (*result["members"].values(), result["ensemble"]):
        assert f"{100 * row[figure]:.2f}" in page
    assert all(name in page for name in CLASSES[task])
    assert "joint" not in page  # a setting of classifiers


def test_a_report_without_its_data_leaves_out_pictures_and_says_so(tmp_path, capsys):
    run = train(tmp_path, "detect", epochs=1)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    status, _, err = call(capsys, "report", run, "--to", tmp_path / "r.html")
    assert (status, "the report leaves out pictures" in err) == (0, True), err
    assert 'id="pictures"' not in (tmp_path / "r.html").read_text()
    line = ["report", run, "--to", tmp_path / "r.html", "--data", tmp_path / "elsewhere"]
    status, _, err = call(capsys, *line)
    assert (status, 'id="pictures"' in (tmp_path / "r.html").read_text()) == (0, True), err


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_the_reports_without_complaint(pages):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--no-first-run"]  # fmt: skip
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        for task, page in pages.items():
            requests, complaints = [], []
            tab = browser.new_page(viewport={"width": 390, "height": 900})
            tab.on("request", lambda request, seen=requests: seen.append(request.url))
            tab.on("console", lambda message, seen=complaints: seen.append(message.text))
            tab.on("pageerror", lambda error, seen=complaints: seen.append(str(error)))
            tab.goto(page.as_uri())
            heights = tab.evaluate(
                "keys => keys.map(k => document.getElementById(k).getBoundingClientRect().height)",
                sorted(SECTIONS[task]),
            )
            width = tab.evaluate("document.documentElement.scrollWidth")
            drawn = tab.evaluate("document.querySelectorAll('#pictures svg').length")
            assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
            assert complaints == []
            assert min(heights) > 20
            assert width <= 390  # wide tables and figures scroll in their own box
            assert drawn == 1
        browser.close()
