"""Every file of a run on sequences damaged or forged at random: the same figures or a refusal."""

import json
from contextlib import suppress

import pytest
from forged_made import EXAMPLES, QUIET, SOAK, Quiet, fresh, one_example
from hypothesis import given, settings
from hypothesis import strategies as st
from run_made import after
from safetensors.torch import load
from sequence_runs_made import tables, train, write_data
from trust_made import OF_THE_FOLDER, run, sealed

import concord
from concord.errors import StoppedError


def command(verb, path, task):
    to = path.parent
    return {
        "eval": ["eval", path, "--json"],
        "resume": ["resume", path, "--json", "--quiet"],
        "report": ["report", path, "--to", to / "page.html"],
        "predict": ["predict", path, "--text", "cab" if task == "segments" else "the cat", "--json"],
        "export": ["export", path, "--member", "a", "--to", to / "a.safetensors"],
        "sample": ["sample", path, "--prompt", "the", "--length", 5],
    }[verb]


def asked(verb, path, task):
    """Status, what a verb showed without its clock times and the path, and its messages."""
    status, out, err = run(*command(verb, path, task))
    if status:
        return status, None, err
    if verb in ("eval", "resume"):
        return 0, {key: value for key, value in json.loads(out).items() if key not in OF_THE_FOLDER}, err
    if verb == "export":
        found = load((path.parent / "a.safetensors").read_bytes())
        return 0, {name: tensor.tolist() for name, tensor in found.items()}, err
    if verb == "report":
        return 0, (path.parent / "page.html").read_text(), err
    return 0, out, err


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Complete runs of two tasks, one that was stopped, and what every verb shows of them."""
    folder = tmp_path_factory.mktemp("fuzz")
    runs = {}
    for task in ("segments", "language"):
        (folder / task).mkdir()
        runs[task] = train(folder / task, task)
    (folder / "stopped").mkdir()
    settings = tables("segments", write_data(folder / "stopped", "segments"))
    with suppress(StoppedError):
        concord.train(settings, folder / "stopped" / "run", stop=after(6))
    runs["stopped"] = folder / "stopped" / "run"
    shown = Quiet()
    for name, path in runs.items():
        verbs = ["eval", "resume", "predict", "export"]
        verbs += ["report"] * (name != "stopped") + ["sample"] * (name == "language")
        for verb in verbs:
            status, figures, err = asked(verb, fresh(path, folder), kind(name))
            assert status == 0, err
            shown[name, verb] = figures
    return folder, runs, shown


def kind(name):
    return "language" if name == "language" else "segments"


def ask(verb, path, name):
    return asked(verb, path, kind(name))


@settings(max_examples=EXAMPLES, derandomize=True, **QUIET)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_damaged_or_forged_file_gives_the_same_figures_or_a_refusal(seed, made):
    one_example(seed, made, ask)


@pytest.mark.soak
@settings(max_examples=SOAK, **QUIET)
@given(seed=st.integers(0, 2**32 - 1))
def test_so_do_two_thousand(seed, made):
    one_example(seed, made, ask)


def test_forging_is_noticed_where_digests_fit(made):
    folder, runs, _ = made
    path = fresh(runs["segments"], folder)
    document = json.loads((path / "interface.json").read_text())
    (path / "interface.json").write_text(json.dumps({**document, "classes": ["new"]}))
    sealed(path)
    status, _, err = asked("predict", path, "segments")
    assert (status, "what the checkpoint says is used" in err) == (0, True)
