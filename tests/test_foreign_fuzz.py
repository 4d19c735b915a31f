"""Every file of a run or a study damaged or forged at random: the same figures or a refusal, nothing else."""

import random
import shutil
from dataclasses import asdict

import pytest
from forged_made import EXAMPLES, QUIET, REFUSED, SOAK, Quiet, harm
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trust_made import (
    asked,
    complete,
    files_of,
    run,
    unfinished,
)
from trust_made import settings as tables

import concord
from concord.errors import ConcordError
from concord.report.study_tables import study_tables
from concord.report.study_view import study_view
from concord.report.verdict import verdict_sentences
from concord.runs import toml
from concord.studies.cells import refuse_strangers
from concord.studies.study import planned

# settings of a study are those of whoever gives the command (2); data of a run may be gone (3), or do not fit
# what a forged checkpoint says that goes into its members
ALSO = {"config.toml": {3}, "state.json": {3}, "study.toml": {2}}
# verbs, those that take long less often
OFTEN = ("eval", "card", "predict", "resume", "export")
VERBS = (*OFTEN * 4, "attack", "baseline", "report")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that was attacked, one that was stopped, a picture, and what every verb shows of the runs."""
    folder = tmp_path_factory.mktemp("foreign")
    Image.new("L", (8, 8), 77).save(folder / "x.png")
    runs = {"complete": complete(folder), "unfinished": unfinished(folder)}
    assert run("attack", runs["complete"], "--limit", "9")[0] == 0
    shown = Quiet()
    for name, path in runs.items():
        for verb in dict.fromkeys(VERBS):
            if (name, verb) == ("unfinished", "card"):
                continue
            copy = fresh(path, folder)
            status, figures, err = asked(verb, copy, folder)
            assert status == 0, err
            shown[name, verb] = figures
    return folder, runs, shown


def fresh(path, folder):
    """A copy under one name, because pages have the name of their run in them."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    return shutil.copytree(path, folder / "run")


def one_example(seed, made):
    """Damage or forge one file, ask one verb, and judge what it says."""
    folder, runs, shown = made
    numbers = random.Random(seed)
    name = numbers.choice(sorted(runs))
    verb = numbers.choice([verb for verb in VERBS if (name, verb) in shown])
    path = fresh(runs[name], folder)
    file = numbers.choice(files_of(path))
    forge = harm(file, [path], numbers)
    status, figures, err = asked(verb, path, folder)
    where = f"seed {seed}: {name} run, {verb}, {file.relative_to(path)}: status {status}: {err}"
    assert "Traceback" not in err, where
    if name == "unfinished" and "an earlier checkpoint is used" in err:
        assert str(file.parent) in err, where
    elif status == 0 and not forge:
        assert figures == shown[name, verb], where
    elif status == 0 and file.suffix == ".safetensors" and file.parent.parent.name == "ckpt":
        if verb == "card" and "is of other runs, weights or images" in err:  # those of the attack
            return
        assert figures == shown[name, verb], where  # of tensors only shape, type, name were forged
    elif forge and "--allow-code" in err:  # a name that was made that of foreign code
        assert status == 2, where
    elif status != 0:
        assert status in {REFUSED} | ALSO.get(file.name, set()), where


SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=EXAMPLES, derandomize=True, **QUIET)
@given(seed=SEEDS)
def test_a_damaged_or_forged_file_gives_the_same_figures_or_a_refusal(seed, made):
    one_example(seed, made)


@pytest.mark.soak
@settings(max_examples=SOAK, **QUIET)
@given(seed=SEEDS)
def test_so_do_two_thousand(seed, made):
    one_example(seed, made)


# A study


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A study of two seeds and two costs, and its figures."""
    folder = tmp_path_factory.mktemp("study")
    base = tables(folder, 1)
    base.pop("consensus")
    study = {"seeds": [0, 1], "arms": [{"cost": "l2", "weights": [0.1]}]}
    concord.study({**base, "study": study}, folder / "study", jobs=1)
    return folder, Quiet(figures_of(folder / "study"))


def figures_of(path):
    """What the tables and the page of a study are made of; the page itself takes long."""
    varied, cells = planned(path, toml.read(path / "study.toml"))
    refuse_strangers(path / "cells", cells)
    view = study_view(path, varied, cells)
    tables, verdict = study_tables(view), verdict_sentences(view)
    return {"view": asdict(view) | {"name": ""}, "tables": [*map(asdict, tables)], "verdict": verdict}


def shown_of(path):
    """Figures and status, as the command line would give them."""
    try:
        return figures_of(path), 0
    except ConcordError as error:
        return None, error.exit_status


def one_study(seed, studied):
    """The same of a file of a study. Of what is written of it (study.json, tables, page) nothing is read."""
    folder, sound = studied
    numbers = random.Random(seed)
    path = folder / "run"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(folder / "study", path)
    file = numbers.choice(files_of(path))
    forge = harm(file, sorted(path.glob("cells/*")), numbers)
    where = f"seed {seed}: study, {file.relative_to(path)}"
    found, status = shown_of(path)
    if status:
        assert status in {REFUSED} | ALSO.get(file.name, set()), where
    elif not forge:
        assert found == sound, where


@settings(max_examples=EXAMPLES, derandomize=True, **QUIET)
@given(seed=SEEDS)
def test_a_file_of_a_study_gives_the_same_figures_or_a_refusal(seed, studied):
    one_study(seed, studied)


@pytest.mark.soak
@settings(max_examples=SOAK, **QUIET)
@given(seed=SEEDS)
def test_so_do_two_thousand_of_a_study(seed, studied):
    one_study(seed, studied)
