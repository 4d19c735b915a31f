"""A search on digits from its beginning to its folder: stopped, continued, refused."""

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from docs_made import ROOT, blocks, unlike
from PIL import Image
from run_made import call
from scipy.stats import binomtest
from ship_made import quick
from sklearn.datasets import load_digits

import concord
from concord.api import ship
from concord.errors import CheckpointError, DataError, StoppedError, UsageError
from concord.shipping.journal import Journal
from concord.shipping.limits import Limits
from concord.shipping.page import page

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
LIMIT, HOURS = 6_000, 1.0


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


def search(out, **changes):
    return concord.ship("digits", out, **{"max_parameters": LIMIT, "hours": HOURS, **changes})


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search that was stopped in its second run and then continued, and what was trained."""
    out = tmp_path_factory.mktemp("ship") / "out"
    with quick():
        with pytest.raises(StoppedError, match="everything is saved: the same command continues"):
            search(out, stop=lambda: len(list(out.glob("runs/*/config.toml"))) > 1)
        before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json")}
        found = search(out)
    return found, before


def test_the_stopped_search_continues_and_trains_nothing_twice(found):
    shipped, before = found
    assert len(before) == 1
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    names = {row["run"] for decision in shipped.decisions for row in decision["rows"]}
    assert names == {path.parent.name for path in Path(shipped.folder).glob("runs/*/result.json")}


def test_all_is_there_and_read_a_second_time_without_a_training(found):
    shipped, _ = found
    out = Path(shipped.folder)
    assert all((out / name).is_file() for name in shipped.files)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")}
    again = search(out)
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")} == stamps | {
        path: path.stat().st_mtime_ns for path in out.glob("runs/*/.lock")
    }
    assert again["test"] == shipped["test"]
    assert again["rivals"] == shipped["rivals"]
    assert again["hours"] == shipped["hours"]  # those of the search, not of the second reading


def test_the_network_is_under_its_limit_and_good(found):
    shipped, _ = found
    cost = concord.cost_of(shipped.network, (1, 8, 8), classes=10)
    assert cost.parameters == shipped["parameters"] <= LIMIT
    assert shipped.needs.bytes == (Path(shipped.folder) / "model.onnx").stat().st_size
    wrong = shipped.tested.wrong
    sure = binomtest(int(wrong.sum()), len(wrong)).proportion_ci(0.999)
    assert sure.high < 0.9  # by chance, after two epochs; how far below differs between processors


def test_the_figures_of_the_files_are_those_of_asking_them(found):
    shipped, _ = found
    splits = concord.load_data("digits")
    pixels, labels = splits.test.pixels.numpy(), splits.test.labels.numpy()
    for name, error in (("model.onnx", shipped.tested.error), ("model.int8.onnx", shipped.int8.tested.error)):
        file = Path(shipped.folder) / name
        if file.exists():
            (p,) = onnxruntime.InferenceSession(file).run(None, {"pixels": pixels})
            assert (p.argmax(1) != labels).mean() == pytest.approx(error)


def test_probabilities_are_scaled_and_each_file_has_its_own_threshold(found):
    """lac: of n = 144 validation images the ceil(0.9 145) = 131st smallest of 1 - p, unscaled."""
    shipped, _ = found
    own = shipped["uncertainty"]
    valid = concord.load_data("digits").valid
    rank = math.ceil((len(valid) + 1) * own["coverage"])
    assert (len(valid), rank) == (144, 131)
    for name in ("model.onnx", "model.int8.onnx"):
        file = Path(shipped.folder) / name
        if not file.exists():
            continue
        session = onnxruntime.InferenceSession(file)
        about = session.get_modelmeta().custom_metadata_map
        assert json.loads(about["temperature"]) == (own["temperature"] or 1.0)
        (q,) = session.run(None, {"pixels": valid.pixels.numpy()})
        z = json.loads(about["temperature"]) * np.log(q.astype(np.float64))
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        scores = np.sort(1 - p[np.arange(len(valid)), valid.labels.numpy()])
        assert json.loads(about["set_threshold"]) == pytest.approx(scores[rank - 1], abs=1e-5)
    assert own["sets"]["lac"]["threshold"] == pytest.approx(
        json.loads(_about(shipped, "model.onnx")["set_threshold"])
    )


def _about(shipped, name):
    session = onnxruntime.InferenceSession(Path(shipped.folder) / name)
    return session.get_modelmeta().custom_metadata_map


def test_the_script_uses_the_file_of_the_figures(found):
    shipped, _ = found
    assert "'model.onnx'" in (Path(shipped.folder) / "predict.py").read_text()


def test_seconds_of_runs_are_those_of_the_clock(found):
    shipped, _ = found
    kept = json.loads((Path(shipped.folder) / "search.json").read_text())["seconds"]
    for decision in shipped.decisions:
        for row in decision["rows"]:
            result = json.loads((Path(shipped.folder) / f"runs/{row['run']}/result.json").read_text())
            assert row["seconds"] == kept[row["run"]] > result["seconds"]


def test_the_seconds_of_a_run_are_added_over_its_stops(tmp_path):
    journal = Journal(tmp_path, {})
    journal.spend("a", 2.0)
    journal.spend("b", 5.0)
    Journal(tmp_path, {}).spend("a", 1.5)
    again = Journal(tmp_path, {})
    assert [again.spent(name) for name in "abc"] == [3.5, 5.0, 0.0]


def test_other_data_under_the_same_name_are_refused(found, tmp_path):
    shipped, _ = found
    out = tmp_path / "out"
    shutil.copytree(shipped.folder, out)
    files = {path: path.read_bytes() for path in out.glob("*") if path.is_file()}
    digits = concord.load_data("digits")
    with pytest.MonkeyPatch.context() as patch:
        other = replace(digits, fingerprint="0" * 64)
        patch.setattr("concord.shipping.material.load_data", lambda **given: other)
        with pytest.raises(UsageError, match=r"the data are not those with which the search in .* began"):
            search(out)
    assert {path: path.read_bytes() for path in out.glob("*") if path.is_file()} == files


def test_every_choice_is_the_smallest_validation_error(found):
    shipped, _ = found
    for decision in shipped.decisions:
        errors = {row.get("way", row.get("network")): row["valid_error"] for row in decision["rows"]}
        assert errors[decision["chosen"][0]] == min(errors.values())
    last = shipped.decisions[-1]["rows"]
    run = next(row["run"] for row in last if row["way"] == shipped.way)
    result = json.loads((Path(shipped.folder) / f"runs/{run}/result.json").read_text())
    assert min(row["valid_error"] for row in last) == result["members"]["small"]["valid_error"]


def test_the_script_names_files_without_concord(found, tmp_path):
    shipped, _ = found
    digits = load_digits()
    seven = int(np.flatnonzero(digits.target == 7)[0])
    Image.fromarray((digits.images[seven] * 255 / 16).round().astype(np.uint8)).save(tmp_path / "a.png")
    command = [sys.executable, "-I", str(Path(shipped.folder) / "predict.py"), str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    name, label, _ = done.stdout.strip().rsplit("  ", 2)
    assert name == str(tmp_path / "a.png")
    assert label in json.loads((Path(shipped.folder) / "classes.json").read_text())
    script = (Path(shipped.folder) / "predict.py").read_text()
    assert len(script.splitlines()) == 10
    assert "# python predict.py photo.jpg ..." in script


def test_the_runs_take_no_more_disk_than_planned(found):
    shipped, _ = found
    runs = Path(shipped.folder, "runs").rglob("*")
    assert shipped.plan.bytes / 10 < sum(path.stat().st_size for path in runs) <= shipped.plan.bytes


def test_report_and_card_begin_with_what_was_found(found):
    shipped, _ = found
    page = (Path(shipped.folder) / "report.html").read_text()
    card = (Path(shipped.folder) / "MODEL_CARD.md").read_text()
    assert f"has a test error of {100 * shipped.tested.error:.2f} %" in shipped.sentence()
    assert "95 % Wilson interval" in shipped.sentence()
    body = page[page.index("<body") :]
    assert body.index("has a test error of") < body.index("Asked for") < body.index("What it had to beat")
    assert "the data have no test part: 359 images were cut off as one" in page
    assert "http" not in body
    assert "candidates, of every family the widest" in page
    assert card.index("has a test error of") < card.index("## What it is for")


def test_the_report_of_a_search_without_limits_and_short_runs_claims_neither(found):
    shipped, _ = found
    halving = replace(shipped.plan.halving, rungs=())
    asked = replace(shipped.asked, limits=Limits())
    text = page(replace(shipped, asked=asked, plan=replace(shipped.plan, halving=halving)))
    assert "Asked for: a network for digits without limits, found within 1 hours." in text
    assert f"{shipped.network} was trained in full in each way below" in text
    assert "the better half was run again" not in text


def test_results_json_is_the_mapping_and_has_the_plan(found):
    shipped, _ = found
    written = json.loads((Path(shipped.folder) / "results.json").read_text())
    told = json.loads(json.dumps(shipped.to_dict()))
    assert list(written) == list(told)
    for key in ("sentence", "limits", "network", "way", "test", "rivals", "decisions", "plan", "notices"):
        assert written[key] == told[key]
    assert written["plan"]["runs"] == 6
    assert set(written["test"]) >= {"test_error", "low", "high", "images", "interval"}
    assert [rival["name"] for rival in written["rivals"]][-1].startswith("scikit-learn ")


def test_another_search_in_the_same_folder_is_refused(found):
    shipped, _ = found
    with pytest.raises(UsageError, match=r"holds another search.*\n  limits.parameters: 6000 -> 5000"):
        search(shipped.folder, max_parameters=5_000)


def test_a_damaged_journal_is_named(found, tmp_path):
    (tmp_path / "search.json").write_text('{"settings": ')
    with pytest.raises(CheckpointError, match=r"search\.json: damaged"):
        search(tmp_path)


@pytest.mark.parametrize("edit", [lambda kept: kept["plan"].pop("rungs"), lambda kept: kept.pop("sha256")])
def test_an_edited_journal_is_refused(found, edit, tmp_path):
    kept = json.loads((Path(found[0].folder) / "search.json").read_text())
    edit(kept)
    (tmp_path / "search.json").write_text(json.dumps(kept))
    with pytest.raises(CheckpointError, match=r"search\.json: damaged \(.*sha256"):
        search(tmp_path)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"other files in it, such as thesis.txt: give a new one"):
        search(tmp_path)


def test_more_is_said_of_the_data_by_a_record_or_by_set(capsys):
    data = concord.Data(source="digits", limit=500, valid=0.3)
    first = _asked(data, max_parameters=LIMIT, valid=0.2).data
    assert (first.source, first.limit, first.valid, first.test) == ("digits", 500, 0.2, 0.2)
    given = ["digits", "--max-parameters", "6k", "--hours", str(HOURS), "--plan", "--json"]
    status, out, _ = call(capsys, "ship", *given, "--set", "data.limit=30", "--set", "data.valid=0.02")
    assert (status, "the validation part has 29 images" in json.loads(out)["error"]) == (3, True)
    status, out, _ = call(capsys, "ship", *given, "--set", "train.epochs=3")
    assert "a search takes settings of the data alone" in json.loads(out)["error"]


def _asked(data, **options):
    given = dict.fromkeys(("parameters", "macs", "bytes_", "milliseconds", "teacher", "size", "test", "seed"))
    named = {"parameters": options["max_parameters"], "valid": options["valid"], "hours": HOURS}
    return ship._asked(data, **{**given, **named})


def test_the_plan_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["digits", "--max-parameters", "6k", "--hours", str(HOURS), "--plan", "--json"]
    status, out, _ = call(capsys, "ship", *given)
    plan = json.loads(out)
    assert status == 0
    assert 0 < plan["hours"] <= 1.01 * HOURS
    assert plan["runs"] == sum(rung["runs"] for rung in plan["rungs"]) + len(plan["ways"])
    assert plan["bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_of_onnx_not_even_a_plan_is_made(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match="pip install onnx onnxscript onnxruntime"):
        concord.ship_plan("digits", max_parameters=LIMIT, hours=HOURS)


def test_hours_too_short_say_how_many_are_needed(tmp_path):
    with pytest.raises(UsageError) as refused:
        search(tmp_path / "out", hours=60 / 3600)
    assert "hours are too short for one candidate: 1 epochs of" in str(refused.value)
    assert "Give at least" in str(refused.value)
    assert not list(tmp_path.glob("out/runs/*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_parameters": 20}, "no network is under the limit of 20 parameters"),
        ({"hours": 0}, "the hours must be a number above 0"),
        ({"max_macs": -1}, "the limit of MACs must be a number above 0, got -1"),
        ({"max_bytes": 9_000}, "the ONNX file of the smallest, .*, needs"),
    ],
)
def test_what_cannot_be_is_refused(options, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        search(tmp_path / "out", **options)


def test_the_smallest_file_is_named_and_is_under_a_limit_of_its_own_size(tmp_path):
    with pytest.raises(UsageError, match=r"the ONNX file of the smallest, .*, needs") as refused:
        search(tmp_path / "out", max_bytes=1_000)
    (size,) = re.findall(r"needs ([\d,]+) bytes", str(refused.value))
    least = int(size.replace(",", ""))
    assert concord.ship_plan("digits", max_bytes=least, hours=HOURS).runs > 0
    assert not (tmp_path / "out").exists()


def test_a_refused_search_leaves_a_folder_that_was_there(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="20 parameters"):
        search(tmp_path / "out", max_parameters=20)
    assert (tmp_path / "out").is_dir()


def test_too_few_images_to_validate_on_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"the validation part has 14 images, .* at least 30: add images"):
        search(tmp_path / "out", valid=0.01)


def test_a_teacher_of_other_classes_is_refused_before_anything_is_trained(tmp_path):
    for k, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(40):
            pixels = np.random.default_rng(i).integers(0, 200, (8, 8)) + 50 * k
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{i}.png")
    member = concord.Member("m", network="noel2017_st(filters=2)")
    config = {"data": {"source": str(tmp_path / "photos")}, "members": [member.model_dump(exclude_none=True)]}
    concord.train({**config, "train": {"epochs": 1, "threads": 1}}, tmp_path / "run")
    with pytest.raises(DataError, match="names the classes cat, dog; the data have 0, 1, 2, 3, 4 and 5 more"):
        search(tmp_path / "out", teacher=tmp_path / "run")
    with pytest.raises(CheckpointError, match="is not a run folder"):
        search(tmp_path / "out", teacher=tmp_path / "nothing")
    assert not (tmp_path / "out" / "runs").exists()


def test_the_command_says_what_was_found(found, capsys):
    shipped, _ = found
    given = ["digits", "--max-parameters", "6000", "--hours", str(HOURS), "--out", shipped.folder]
    status, out, _ = call(capsys, "ship", *given)
    assert status == 0
    assert out.startswith(shipped.network)
    assert "int8: " in out
    status, out, _ = call(capsys, "ship", *given, "--max-ms", "soon", "--json")
    assert (status, json.loads(out)["status"]) == (2, 2)


def test_the_page_shows_the_keys_of_results_json(found):
    shipped, _ = found
    (block,) = blocks(ROOT / "docs/ship.md", "json")
    given = json.loads(json.dumps(shipped.to_dict()))
    for decision in given["decisions"]:  # rows of short runs and of ways have some keys of their own
        own = {"network", "parameters", "macs", "expected_seconds", "way", "about"}
        decision["rows"] = [{k: v for k, v in row.items() if k not in own} for row in decision["rows"]]
    may_be_empty = {
        "$.decisions[].left_out",
        "$.uncertainty.notes",
        "$.plan.left_out",
        "$.plan.candidates[].milliseconds",
    }
    assert set(unlike(json.loads(block), given)) <= may_be_empty
