"""Which path is used: the variable, what this processor has, and libraries that cannot be used."""

import os
import shutil
import subprocess
import sys
from hashlib import sha256

import pytest
from native_made import COMPILED, needs_kernel

from concord.errors import UsageError
from concord.native import build, library

FOREIGN = 'extern "C" int concord_abi() { return %d; }\n'
CONVOLVE = """
import torch
from concord.native import calls, library, ops, words
from concord.native.sizes import Sizes
weight = torch.tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)
sizes, bits = Sizes(3, 1, (1, 1)), words.weight_words(weight)
x = torch.tensor([2.0, -3.0, 0.0]).reshape(1, 3, 1, 1)
y = ops.binary_conv(x, bits, calls.arrange(bits, sizes), sizes.flat())
print(library.state().path, y.item())
"""


@pytest.fixture
def beside(monkeypatch, tmp_path):
    """The library is looked for in an empty folder."""
    monkeypatch.setattr(library, "FILE", tmp_path / "kernel.so")
    monkeypatch.setattr(library, "SEAL", tmp_path / "kernel.sha256")
    return tmp_path


def sealed(file):
    """Its checksum is right."""
    file.with_suffix(".sha256").write_text(sha256(file.read_bytes()).hexdigest())


def without_library(match):
    """PyTorch does the work for a reason like this one; a path that is asked for is refused with it."""
    loaded, state = library.chosen("")
    assert loaded is None
    assert (state.path, state.runs) == ("torch", ("torch",))
    assert match in state.reason
    assert library.chosen("torch")[1].path == "torch"
    with pytest.raises(UsageError, match=f"CONCORD_NATIVE=avx2: .*{match}"):
        library.chosen("avx2")


def in_a_process(path):
    """A convolution in a process of its own, which asks the environment once."""
    environment = {**os.environ, library.VARIABLE: path}
    return subprocess.run([sys.executable, "-c", CONVOLVE], env=environment, capture_output=True, text=True)


@needs_kernel
def test_an_unknown_name_is_refused_with_those_that_run_here():
    with pytest.raises(UsageError, match="CONCORD_NATIVE=avx1024: no path has that name; set it to one of"):
        library.chosen("avx1024")


@needs_kernel
def test_the_first_path_that_runs_here_is_taken_or_the_one_that_is_named():
    for name in COMPILED:
        loaded, state = library.chosen(name)
        assert (loaded.name, state.path, state.reason) == (name, name, "")
    assert library.chosen("")[0].name == COMPILED[0]
    loaded, state = library.chosen("torch")
    assert loaded is None
    assert (state.path, state.runs, state.reason) == (
        "torch", (*COMPILED, "torch"), "CONCORD_NATIVE=torch asks for it",
    )  # fmt: skip


@needs_kernel
def test_a_path_whose_instructions_the_processor_lacks_is_never_taken(monkeypatch):
    functions, _ = library._opened()

    class Old:
        """The same library on a processor that has only the last path."""

        def __getattr__(self, name):
            return getattr(functions, name)

        def concord_path_runs(self, path):
            return int(path == functions.concord_paths() - 1)

    monkeypatch.setattr(library, "_opened", lambda: (Old(), ""))
    assert library.chosen("")[1].path == "portable"
    assert library.chosen("")[1].runs == ("portable", "torch")
    with pytest.raises(
        UsageError, match="avx512: this processor lacks its instructions; set it to one of port"
    ):
        library.chosen("avx512")


@pytest.mark.parametrize("path", [*COMPILED[-1:], "torch"])
def test_the_variable_chooses_for_a_process(path):
    """Signs + - +, filter - + +: -1 - 1 + 1."""
    done = in_a_process(path)
    assert done.stdout.split() == [path, "-1.0"], done.stderr


def test_a_wrong_variable_is_one_clear_error_at_the_first_call():
    done = in_a_process("sse9")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("concord.errors.UsageError: CONCORD_NATIVE=sse9")


def test_a_library_that_is_missing_leaves_the_work_to_pytorch(beside):
    without_library("was not built: kernel.so is missing")


@needs_kernel
@pytest.mark.parametrize("kept", [0, 100, 5000, -100])
def test_a_library_that_was_cut_off_is_not_loaded(beside, kept):
    """Loading it would end the process by a signal."""
    whole = build.MADE.read_bytes()
    (beside / "kernel.so").write_bytes(whole[:kept])
    shutil.copy(build.MADE.with_suffix(".sha256"), beside)
    without_library("damaged: its checksum differs")


@needs_kernel
def test_a_library_of_which_a_byte_differs_is_not_loaded(beside):
    whole = bytearray(build.MADE.read_bytes())
    whole[len(whole) // 2] ^= 1
    (beside / "kernel.so").write_bytes(whole)
    shutil.copy(build.MADE.with_suffix(".sha256"), beside)
    without_library("damaged")


def test_a_library_without_its_checksum_or_of_no_known_format_is_not_loaded(beside):
    (beside / "kernel.so").write_bytes(b"not a library")
    without_library("cannot be loaded")
    sealed(beside / "kernel.so")
    without_library("cannot be loaded")


@needs_kernel
@pytest.mark.parametrize(
    ("abi", "reason"),
    [(library.ABI - 1, "another version of concord"), (library.ABI, "cannot be loaded")],
)
def test_a_library_of_another_version_is_not_used(beside, abi, reason):
    """One reports another number; one reports this number, and lacks the functions."""
    source, made = beside / "foreign.cpp", beside / "kernel.so"
    source.write_text(FOREIGN % abi)
    try:
        command = build.compiler()
    except build.BuildError as error:
        pytest.skip(str(error))
    subprocess.run([*command, "-shared", "-fPIC", str(source), "-o", str(made)], check=True)
    sealed(made)
    without_library(reason)
