"""``concord doctor`` and ``concord zoo``: the types of what they print as JSON, and what they find."""

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
import torch
from run_made import call

import concord
from concord.native import library
from concord.runs.costs import cost_of
from concord.runs.doctor import EXTRAS
from concord.runs.packages import NEEDED
from concord.zoo.registry import networks


def of_type(shape, value):
    """Whether a JSON value has the shape: a type, a dict of shapes, or a list with the shape of its items."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(k in value and of_type(s, value[k]) for k, s in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(of_type(shape[0], item) for item in value)
    return isinstance(value, shape) and (shape is bool or type(value) is not bool)


DOCTOR = {
    "ok": bool,
    "problems": [str],
    "concord": str,
    "python": str,
    "versions": dict.fromkeys(("torch", "torchvision", "numpy", "pillow", "safetensors", "pydantic"), str),
    "extras": {"export": bool, "timm": bool, "bench": bool},
    "cores": int,
    "disk_free": int,
    "threads": int,
    "processor": str,
    "native": {"path": str, "runs": [str], "reason": str},
    "device": str,
    "bfloat16": bool,
}
ZOO = [{"name": str, "input": str | list, "parameters": int, "macs": int, "source": str, "sizes": dict}]


def test_doctor_tells_what_it_promises_and_says_yes(capsys):
    status, out, _ = call(capsys, "doctor", "--json")
    found = json.loads(out)
    assert of_type(DOCTOR, found), found
    assert (status, found["ok"], found["problems"]) == (0, True, [])
    assert found["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] == os.cpu_count()


def test_doctor_says_no_with_a_cure_for_each_problem(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("concord.runs.doctor.NEEDED", ("torch", "no-such-package"))
    monkeypatch.setattr("concord.runs.doctor.LEAST_DISK", 2**80)
    status, out, _ = call(capsys, "doctor", "--json")
    found = json.loads(out)
    assert (status, found["ok"]) == (1, False)
    assert found["versions"]["no-such-package"] is None
    assert found["problems"][0] == "no-such-package is not installed: pip install no-such-package"
    assert found["problems"][1].endswith("MiB of disk are free here")
    status, out, _ = call(capsys, "doctor")
    assert (status, found["problems"][0] in out, "ready to train" in out) == (1, True, False)


def test_doctor_names_the_kernel_in_use_and_is_content_without_one(monkeypatch, tmp_path, capsys):
    runs = library.chosen("")[1].runs
    monkeypatch.setenv("CONCORD_NATIVE", "torch")
    status, out, _ = call(capsys, "doctor", "--json")
    reason = library.chosen("torch")[1].reason
    assert (status, json.loads(out)["native"]) == (0, {"path": "torch", "runs": list(runs), "reason": reason})
    monkeypatch.delenv("CONCORD_NATIVE")
    monkeypatch.setattr(library, "FILE", tmp_path / "kernel.so")
    status, out, _ = call(capsys, "doctor")
    assert status == 0
    assert "kernel of binary layers: torch of torch (the kernel was not built: kernel.so is missing" in out
    found = concord.doctor()
    assert found["ok"]
    assert found["native"]["runs"] == ["torch"]


def test_doctor_says_no_to_a_kernel_that_does_not_run_here(monkeypatch, capsys):
    monkeypatch.setenv("CONCORD_NATIVE", "sse9")
    status, out, _ = call(capsys, "doctor", "--json")
    found = json.loads(out)
    assert (status, found["ok"], found["native"]["path"]) == (1, False, None)
    assert found["native"]["runs"][-1] == "torch"
    (problem,) = found["problems"]
    assert problem.startswith("CONCORD_NATIVE=sse9: ")


def test_doctor_looks_for_what_the_project_asks_for():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    asked = {"needed": project["dependencies"], **project["optional-dependencies"]}
    looked = {"needed": NEEDED, **EXTRAS}
    names = {key: [re.match(r"[\w-]+", line)[0] for line in asked[key]] for key in looked}
    assert {key: sorted(found) for key, found in looked.items()} == {k: sorted(v) for k, v in names.items()}


def test_zoo_lists_what_it_promises(capsys):
    status, out, _ = call(capsys, "zoo", "--json")
    assert (status, of_type(ZOO, json.loads(out))) == (0, True)


def test_zoo_tells_of_the_networks_that_are_named_in_their_order(capsys):
    status, out, _ = call(capsys, "zoo", "wide_resnet28_2", "lenet5", "--json")
    wide, lenet = json.loads(out)
    assert (status, wide["name"], lenet["name"]) == (0, "wide_resnet28_2", "lenet5")
    assert (wide["sizes"], lenet["sizes"]) == ({"depth": 28, "width": 2, "dropout": 0}, {})
    status, out, _ = call(capsys, "zoo", "wide_resnet28_2", "lenet5")
    assert status == 0
    assert "sizes       depth=28, width=2, dropout=0; set in brackets: 'wide_resnet28_2(depth=...)'" in out
    assert "sizes       none" in out


def test_zoo_refuses_a_network_that_it_has_not_with_the_nearest_one(capsys):
    status, out, err = call(capsys, "zoo", "lenet_5")
    assert (status, out) == (2, "")
    assert "the zoo has no network 'lenet_5' (did you mean 'lenet5'?); for networks of torchvision" in err


def test_zoo_gives_no_figures_of_other_sizes_for_those_it_lists(capsys):
    status, out, err = call(capsys, "zoo", "wide_resnet28_2(width=3)")
    assert (status, out) == (2, "")
    assert "concord cost 'wide_resnet28_2(width=3)' counts it at other sizes" in err


SIZED = [row for row in networks() if row["sizes"]]


@pytest.mark.parametrize("row", SIZED, ids=lambda row: row["name"])
def test_a_network_at_the_sizes_that_the_zoo_tells_is_the_one_it_lists(row):
    told = ", ".join(f"{size}={n}" for size, n in row["sizes"].items())
    spent = cost_of(f"{row['name']}({told})").to_dict()
    assert [spent[key] for key in ("input", "parameters", "macs")] == [
        row[key] for key in ("input", "parameters", "macs")
    ]
