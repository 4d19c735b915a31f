"""The documents say what is so: links lead somewhere, commands parse, examples run, settings are named."""

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from docs_made import ROOT, blocks
from pydantic import BaseModel

from concord.cli.app import app
from concord.runs import config, toml
from concord.studies import grid
from concord.studies.settings import Study

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/results/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def commands() -> list[str]:
    lines = [line for path in DOCUMENTS for block in blocks(path, "console") for line in block.splitlines()]
    return sorted({line[2:] for line in lines if line.startswith("$ concord ")})


@pytest.mark.parametrize("command", commands())
def test_commands_in_the_documents_parse(command):
    import typer.main

    group = typer.main.get_command(app)
    arguments = shlex.split(command)[1:]
    context = group.make_context("concord", list(arguments))
    name, verb, rest = group.resolve_command(context, list(arguments))
    while hasattr(verb, "resolve_command"):
        context = verb.make_context(name, list(rest))
        name, verb, rest = verb.resolve_command(context, list(rest))
    verb.make_context(name, list(rest))  # raises a usage error for an option or argument that is not there


@pytest.mark.parametrize("number", range(len(blocks(ROOT / "README.md", "python"))))
def test_python_examples_of_the_readme_run(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given: dict[str, object] = {"__name__": "readme"}  # the example defines all that it uses
    exec(compile(blocks(ROOT / "README.md", "python")[number], "README.md", "exec"), given)
    p, y_test = given["p"], given["y_test"]
    assert p.shape == (len(y_test), 10)
    assert (p.argmax(1) == y_test).mean() > 0.9


def test_the_examples_about_binary_networks_run(capsys):
    given: dict[str, object] = {"__name__": "binary"}
    for block in blocks(ROOT / "docs/binary.md", "python"):
        exec(compile(block, "docs/binary.md", "exec"), given)
    assert capsys.readouterr().out.splitlines() == ["tensor(True)", "True"]


def test_the_examples_about_costs_run():
    given: dict[str, object] = {"__name__": "cost"}
    for block in blocks(ROOT / "docs/cost.md", "python"):
        exec(compile(block, "docs/cost.md", "exec"), given)
    update = given["update"]
    # 30² places, 3²·3·8 products, and 28² places, 3²·8 products, once forwards and for each gradient
    first, second = 64 * 30 * 30 * 216, 64 * 28 * 28 * 72
    assert (update.forward_macs, update.backward_macs) == (first + second, first + 2 * second)
    assert update.macs_of(updates=1_000) == 1_000 * (2 * first + 3 * second)


def test_the_examples_about_sequences_run():
    given: dict[str, object] = {"__name__": "sequences"}
    for block in blocks(ROOT / "docs/sequences.md", "python"):
        exec(compile(block, "docs/sequences.md", "exec"), given)
    assert 0 < given["bits"] < 2
    assert given["shown"].shape == given["ahead"].shape == (2, 10, 1, 64, 64)


def test_the_example_about_segmentation_runs():
    given: dict[str, object] = {"__name__": "segmentation"}
    for block in blocks(ROOT / "docs/segmentation.md", "python"):
        exec(compile(block, "docs/segmentation.md", "exec"), given)
    assert 0 < given["error"] < 1
    assert given["maps"].shape == (2, 51, 75)


def fields(model: type[BaseModel]) -> set[str]:
    found = set(model.model_fields)
    for value in model.model_fields.values():
        for inner in toml._models(value.annotation):
            found |= fields(inner)
    return found


@pytest.mark.parametrize("name", sorted(fields(config.Config) | fields(Study)))
def test_every_setting_is_documented(name):
    text = (ROOT / "docs/configuration.md").read_text()
    assert re.search(rf"\b{name}\b", text)


def test_the_settings_shown_are_the_defaults():
    shown = tomllib.loads(blocks(ROOT / "docs/configuration.md", "toml")[0])
    read = toml.parse(shown)
    (member,) = read.members
    assert read == config.Config(members=[config.Member(name=member.name, network=member.network)])
    whole = read.model_dump(exclude_none=True)  # none of those that have a default is missing
    assert {section: set(whole[section]) for section in whole if section != "members"} == {
        section: set(table) for section, table in shown.items() if section != "members"
    }
    assert set(whole["members"][0]) == set(shown["members"][0])


def test_the_settings_shown_as_examples_are_legal():
    found = blocks(ROOT / "docs/configuration.md", "toml")
    run, extra, vision, study = (tomllib.loads(block) for block in found)
    run["members"].append({"name": "big", "network": "resnet18"})
    grid.parse({**run, **extra, **study})
    for task, table in vision.items():
        toml.parse({"data": {"source": "d"}, "members": run["members"], "train": {"task": task}, task: table})


def test_documents_name_no_folder_of_the_machine_they_were_written_on():
    home = str(Path.home())
    assert [path.name for path in DOCUMENTS if home in path.read_text() and home != "/"] == []
    assert sys.version_info >= (3, 11)
