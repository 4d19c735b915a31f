"""What stands in two places for a reason is held equal; what can stand in one place does."""

import ast
import inspect
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import concord
from concord.consensus import costs, edges, kdcl, names
from concord.data import draws
from concord.data.load import load
from concord.runs.config_data import Data
from concord.training.seeding import mix

ROOT = Path(concord.__file__).parent


def test_names_of_costs_and_edges_are_those_of_the_registries():
    assert set(names.PAIRS) == set(costs.COSTS)
    assert set(names.KDCL) == {*kdcl.TARGETS, "kdcl_general"}
    assert set(names.SHAPES) == set(edges.SHAPES)


def test_the_defaults_of_data_are_the_same_in_a_settings_file_and_in_python():
    python = {k: p.default for k, p in inspect.signature(load).parameters.items()}
    settings = {key: field.default for key, field in Data.model_fields.items()}
    shared = settings.keys() & python.keys() - {"source"}
    assert shared == settings.keys() - {"source", "window", "classes"}  # of texts, and of masks
    assert {key: python[key] for key in shared} == {key: settings[key] for key in shared}


@given(seed=st.integers(0, 2**63 - 1), index=st.integers(0, 2**40))
def test_a_seed_of_an_update_is_the_output_of_splitmix64_of_the_data_room(seed, index):
    assert mix(seed, index) == int(draws.splitmix64(seed, np.array([index]))[0]) >> 1


def test_the_name_of_the_ensemble_is_written_once():
    """A constant of that value has one home; texts may say ensemble as often as they like."""
    homes = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and node.value.value == names.ENSEMBLE
    ]
    assert homes == ["consensus/names.py"]
