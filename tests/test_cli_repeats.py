"""An option that takes one value and is given twice is refused by every verb."""

import pytest
import typer.main

from concord.cli.app import app, main

LINES = {
    "members": (
        ["train", "--members", "a", "--members", "b"],
        "give it once, with commas between several values: --members a,b",
    ),
    "equals": (
        ["train", "--seed=1", "--seed", "2"],
        "--seed is given 2 times (1, 2); give it once: --seed 2",
    ),
    "three": (["attack", "r", *["--eps", "0.1"] * 3], "--eps is given 3 times (0.1, 0.1, 0.1); give it once"),
    "a path with a space": (["predict", "r", "x", "--csv", "a", "--csv", "b c"], "--csv 'b c'"),
    "beside a value that looks like it": (["train", "--out", "--x", "--out", "y"], "--out is given 2 times"),
    "in a group": (["data", "get", "mnist", "--into", "a", "--into", "b"], "--into b"),
}


@pytest.mark.parametrize("name", LINES)
def test_the_values_are_shown_and_what_to_type(name, capsys):
    line, instead = LINES[name]
    status, out, err = call(capsys, *line)
    assert (status, out) == (2, "")
    assert instead in err
    assert len(err.splitlines()) == 1


def call(capsys, *line):
    with pytest.raises(SystemExit) as left:
        main(line)
    return left.value.code, *capsys.readouterr()


def verbs(command, path=()):
    for name, inner in getattr(command, "commands", {}).items():
        yield from verbs(inner, (*path, name))
    if path and not getattr(command, "commands", None):
        yield path, command


VERBS = dict(verbs(typer.main.get_command(app)))
PLACES = [
    (path, option)
    for path, verb in VERBS.items()
    for option in verb.params
    if option.param_type_name == "option" and not option.is_flag and not option.multiple
]


@pytest.mark.parametrize(("path", "option"), PLACES, ids=lambda value: getattr(value, "name", None))
def test_every_option_that_takes_one_value_is_taken_once(path, option, capsys):
    arguments = ["x" for each in VERBS[path].params if each.param_type_name == "argument"]
    status, _, err = call(capsys, *path, *arguments, *[option.opts[0], "3"] * 2)
    assert status == 2
    assert f"{option.opts[0]} is given 2 times (3, 3); give it once" in err


def test_flags_and_repeatable_options_may_be_repeated(capsys):
    line = ["cost", "lenet5", "--input", "1x32x32", "--json", "--json"]
    assert call(capsys, *line)[0] == 0
