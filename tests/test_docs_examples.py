"""What the documents show is what happens: commands of the README run, JSON has the shape that is told."""

import io
import json
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from docs_made import ROOT, blocks, unlike
from PIL import Image

from concord.cli import app

STUDY = """
data = { limit = 40, size = 28 }
members = [{ name = "a", network = "lenet5" }, { name = "b", network = "noel2017_st(filters=2)" }]
train = { epochs = 1, threads = 1 }
study = { seeds = [0], arms = [{ cost = "l2", weights = [0.1] }] }
"""
EPOCHS = 2  # in place of the 30 of the README


def said(*arguments):
    """Exit status, standard output and standard error of one command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        app.main(list(map(str, arguments)))
    return left.value.code, out.getvalue(), err.getvalue()


def photos(folder, seed, *, bright):
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(seed)
    for i in range(24):
        pixels = numbers.integers(0, 120, (28, 28, 3), dtype=np.uint8)
        pixels[:, :14] += 100 * bright
        Image.fromarray(pixels).save(folder / f"{i}.{'jpg' if i % 2 else 'png'}")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The folder in which the commands of "Your own images" ran one after the other, and what each gave."""
    pytest.importorskip("onnxruntime", reason="the README exports to ONNX: needs the extra export")
    home = tmp_path_factory.mktemp("readme")
    for seed, name in enumerate(("photos/cat", "photos/dog", "new", "more")):
        photos(home / name, seed, bright=bool(seed % 2))
    block = next(block for block in blocks(ROOT / "README.md", "console") if "data check" in block)
    commands = [line.removeprefix("$ concord ") for line in block.splitlines()]
    for part, seed in (
        ("train/cat", 7),
        ("train/dog", 8),
        ("test/cat", 7),
    ):  # every test image is in train too
        photos(home / "faulty" / part, seed, bright=False)
    (home / "faulty/train/cat/copy.png").write_bytes((home / "faulty/train/cat/0.png").read_bytes())
    (home / "faulty/train/dog/empty.png").touch()
    (home / "faulty/test/eel").mkdir()
    (home / "faulty/test/eel/1.png").write_bytes((home / "new/0.png").read_bytes())
    (home / "study.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        given = {}
        for command in commands:
            shorter = re.sub("--epochs [0-9]+", f"--epochs {EPOCHS}", command)
            status, out, err = said(*shlex.split(shorter))
            assert status == 0, f"{shorter}: {err}"
            given[command.split()[0]] = out
    return home, given


def test_the_commands_for_own_images_do_what_the_readme_says(told):
    home, given = told
    assert list(given) == ["data", "train", "eval", "predict", "export", "report"]
    assert "48 images (cat 24, dog 24)" in given["data"]
    labels = (home / "labels.csv").read_text().splitlines()
    files = [line.split(",")[0].strip('"') for line in labels[1:]]
    assert [name.partition("/")[0] for name in files] == ["photos"] * 24
    assert (home / "st.onnx").stat().st_size > 100_000
    assert "<html" in (home / "runs/first/report.html").read_text()


# JSON

COMMANDS = {
    "train": ("resume", "runs/first"),
    "eval": ("eval", "runs/first", "--against", "digits"),
    "predict": ("predict", "runs/first", "new/", "--top", 2, "--probabilities", "--sets", "lac"),
    "cost": ("cost", "lenet5"),
    "cost of a run": ("cost", "lenet5", "--training", "--measured", "--batch", 2),
    "zoo": ("zoo", "resnet20", "lenet5"),
    "explain": ("explain", "blstm_segments", "--to", "page.html"),
    "study": ("study", "study.toml", "--jobs", 1, "--out", "study"),
    "baseline": ("baseline", "logistic", "--choose", "--data", "photos/", "--run", "runs/first"),
    "attack": ("attack", "runs/first", "--method", "pgd", "--eps", "0.1", "--target", "cat", "--limit", 8),
    "corrupt": ("corrupt", "runs/first", "--limit", 8),
    "data check": ("data", "check", "faulty"),
    "doctor": ("doctor",),
    "export": ("export", "runs/first", "--member", "noel2017_st", "--to", "again.onnx"),
    "report": ("report", "runs/first"),
    "metrics.jsonl": (),
}


def documents():
    """Verb -> the document that json.md shows, in its order."""
    text = (ROOT / "docs/json.md").read_text()
    shown = re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return dict(zip(COMMANDS, map(json.loads, shown), strict=True))


TOO_FEW = {  # validation images, for temperatures and thresholds
    f"$.uncertainty.{row}.{key}"
    for row in ("members.noel2017_st", "members.resnet18", "ensemble")
    for key in ("temperature", *(f"sets.{method}.threshold" for method in ("lac", "aps", "raps")))
}
# what may be empty or null in some place of these runs
EMPTY = {
    "train": {"$.notices", "$.error_correlation[][]", *TOO_FEW},  # no mistake, no correlation
    "eval": {"$.error_correlation[][]", *TOO_FEW},
    "cost": {"$.without_rule", "$.layers[].receptive_field"},
    "cost of a run": {"$.training.without_rule", "$.measured.not_measured"},
    "zoo": {"$[].sizes"},
    "explain": {  # of a recurrent network in both directions
        "$.receptive_field",
        "$.levels",
        "$.steps_seen.past",
        "$.steps_seen.future",
        "$.layers[].receptive_field",
    },
    "study": {
        "$.failed",
        "$.tables[].notes",
        "$.shares[].share",  # of one seed
        "$.shares[].share_per_cost",
        "$.shares[].low",
        "$.shares[].high",
        "$.shares[].gain.low",
        "$.shares[].gain.high",
        "$.shares[].reason",
    },
    "baseline": {
        "$.notices",
        "$.rows[].published",
        "$.rows[].support_vectors",
        "$.rows[].support_vectors_per_class",
    },
    "attack": {"$.notices", "$.step_size"},
    "data check": {"$.notices"},
    "doctor": {"$.problems"},
    "metrics.jsonl": {"$.consensus"},  # of a first epoch of one update, in which the weight is still 0
}


@pytest.mark.parametrize("verb", COMMANDS)
def test_json_has_the_shape_that_is_told(verb, told, monkeypatch):
    monkeypatch.chdir(told[0])
    if verb == "metrics.jsonl":
        given = json.loads(Path("runs/first/metrics.jsonl").read_text().splitlines()[0])
    else:
        status, out, err = said(*COMMANDS[verb], "--json")
        assert status == (verb == "data check"), err
        given = json.loads(out)
    if verb == "cost of a run":  # shown are the keys that its options add
        given = {key: given[key] for key in documents()[verb]}
    assert set(unlike(documents()[verb], given)) <= EMPTY.get(verb, set())


def test_unlike_shapes_are_found():
    shown = {"a": 1, "b": {"NAME": [0.5]}, "c": None, "d": "x", "e": {"NAME": 1}}
    assert unlike(shown, {"a": 2.5, "b": {"x": [1], "y": [2.5]}, "c": None, "d": "", "e": {"any": 1}}) == []
    given = {"a": True, "b": {"x": ["1"], "y": []}, "d": 1, "e": {}, "f": 1}
    assert sorted(unlike(shown, given)) == ["$.a", "$.b.x[]", "$.b.y", "$.c", "$.d", "$.e", "$.f"]
