"""What the documents show is what happens: commands of the README run, JSON has the shape that is told."""

import io
import json
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_docs import ROOT, blocks

from concord.cli import app

STUDY = """
data = { limit = 40, size = 28 }
members = [{ name = "a", network = "lenet5" }, { name = "b", network = "noel2017_st(filters=2)" }]
train = { epochs = 1, threads = 1 }
study = { seeds = [0], arms = [{ cost = "l2", weights = [0.1] }] }
"""
EPOCHS = 2  # in place of the 30 of the README


def said(*arguments):
    """Exit status and standard output of one command in this process."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()), pytest.raises(SystemExit) as left:
        app.main(list(map(str, arguments)))
    return left.value.code, out.getvalue()


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
    home = tmp_path_factory.mktemp("readme")
    for seed, name in enumerate(("photos/cat", "photos/dog", "new", "more")):
        photos(home / name, seed, bright=bool(seed % 2))
    block = next(block for block in blocks(ROOT / "README.md", "console") if "data check" in block)
    commands = [line.removeprefix("$ concord ") for line in block.splitlines()]
    (home / "study.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        given = {}
        for command in commands:
            shorter = re.sub("--epochs [0-9]+", f"--epochs {EPOCHS}", command)
            given[command.split()[0]] = said(*shlex.split(shorter))
    return home, given


def test_the_commands_for_own_images_do_what_the_readme_says(told):
    home, given = told
    assert list(given) == ["data", "train", "eval", "predict", "export", "report"]
    assert {status for status, _ in given.values()} == {0}
    assert "48 images (cat 24, dog 24)" in given["data"][1]
    labels = (home / "labels.csv").read_text().splitlines()
    files = [line.split(",")[0].strip('"') for line in labels[1:]]
    assert [name.partition("/")[0] for name in files] == ["new"] * 24 + ["more"] * 12  # *.jpg alone
    assert (home / "st.onnx").stat().st_size > 100_000
    assert "<html" in (home / "runs/first/report.html").read_text()


def test_the_table_of_costs_is_what_its_command_prints():
    (command,) = re.findall(r"^\$ concord (cost .* --input .*)$", (ROOT / "README.md").read_text(), re.M)
    (table,) = [block for block in blocks(ROOT / "README.md", "text") if block.startswith("Cost side by")]
    assert said(*shlex.split(command)) == (0, table)


# JSON

COMMANDS = {
    "train": ("resume", "runs/first"),
    "eval": ("eval", "runs/first"),
    "predict": ("predict", "runs/first", "new/"),
    "cost": ("cost", "lenet5"),
    "zoo": ("zoo", "resnet20", "lenet5"),
    "study": ("study", "study.toml", "--jobs", 1, "--out", "study"),
    "baseline": ("baseline", "perceptron", "--data", "photos/", "--run", "runs/first"),
    "attack": ("attack", "runs/first", "--eps", "0.1", "--target", "cat", "--limit", 8),
    "data check": ("data", "check", "photos/"),
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


def unlike(shown, given, where="$"):
    """Where the shapes differ: keys, lists, and whether a value is a truth, a number or a text."""
    if isinstance(shown, dict) and isinstance(given, dict):
        if list(shown) == ["NAME"]:
            return [x for key, value in given.items() for x in unlike(shown["NAME"], value, f"{where}.{key}")]
        keys = [f"{where}.{key}" for key in sorted(shown.keys() ^ given.keys())]
        return keys + [
            x for k in shown.keys() & given.keys() for x in unlike(shown[k], given[k], f"{where}.{k}")
        ]
    if isinstance(shown, list) and isinstance(given, list):
        return [x for i, value in enumerate(given) for x in unlike(shown[0], value, f"{where}[{i}]")]
    if shown is None or given is None:  # a figure that does not exist
        return []
    numbers = (int, float) if type(shown) in (int, float) else (type(shown),)
    return [] if type(given) in numbers else [where]


@pytest.mark.parametrize("verb", COMMANDS)
def test_json_has_the_shape_that_is_told(verb, told, monkeypatch):
    monkeypatch.chdir(told[0])
    if verb == "metrics.jsonl":
        given = json.loads(Path("runs/first/metrics.jsonl").read_text().splitlines()[0])
    else:
        status, out = said(*COMMANDS[verb], "--json")
        assert status == 0
        given = json.loads(out)
    assert unlike(documents()[verb], given) == []


def test_unlike_shapes_are_found():
    shown = {"a": 1, "b": {"NAME": [0.5]}, "c": None, "d": "x"}
    assert unlike(shown, {"a": 2.5, "b": {"x": [1], "y": [None]}, "c": {"any": 1}, "d": ""}) == []
    given = {"a": True, "b": {"x": ["1"]}, "d": 1, "e": 1}
    assert sorted(unlike(shown, given)) == ["$.a", "$.b.x[0]", "$.c", "$.d", "$.e"]
