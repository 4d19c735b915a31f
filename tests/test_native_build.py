"""The kernel is built when concord is installed; without a compiler the installation succeeds."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from native_made import needs_kernel

from concord.native import build

ROOT = Path(__file__).parents[1]
COPIED = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore")
TAG = sysconfig.get_platform().replace("-", "_").replace(".", "_")


@pytest.fixture
def project(tmp_path):
    """A copy of what a wheel is made from, with the library of an older build in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in COPIED:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "kernel.s*"))
    for suffix in (".so", ".sha256"):
        (folder / "src/concord/native/kernel").with_suffix(suffix).write_text("older")
    return folder


def wheel(project, compiler):
    """Its name, the names in it, and what was printed."""
    options = ("--no-deps", "--no-build-isolation", "--no-cache-dir", "--verbose", "--wheel-dir", "dist")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "."],
        cwd=project, env={**os.environ, "CXX": compiler}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (project / "dist").iterdir()
    with zipfile.ZipFile(made) as archive:
        return made.name, archive.namelist(), done.stdout + done.stderr


def test_without_a_compiler_the_wheel_is_for_any_platform_and_has_no_library(project):
    """One that an older build left in the folder is not taken along, and stays there."""
    name, names, printed = wheel(project, "no-such-compiler")
    assert name == "concord-0.1.0-py3-none-any.whl"
    assert "no C++ compiler is installed (no-such-compiler). Binary layers will run in PyTorch" in printed
    assert not [path for path in names if path.endswith((".so", ".sha256"))]
    assert "concord/native/kernel/driver.h" in names
    assert (project / "src/concord/native/kernel.so").read_text() == "older"


@needs_kernel
def test_with_a_compiler_the_wheel_is_for_this_platform_and_holds_library_and_sources(project):
    name, names, _ = wheel(project, " ".join(build.compiler()))
    assert name == f"concord-0.1.0-py3-none-{TAG}.whl"
    assert {"concord/native/kernel.so", "concord/native/kernel.sha256"} <= set(names)
    sources = {f"concord/native/kernel/{path.name}" for path in build.SOURCES.iterdir()}
    assert sources <= set(names)
    assert not [path for path in names if path.endswith((".part", ".o"))]


def test_a_compiler_that_fails_leaves_the_older_library_alone(tmp_path, monkeypatch):
    made = tmp_path / "kernel.so"
    made.write_text("older")
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(build.BuildError, match=r"false .* failed"):
        build.build(made)
    assert [path.name for path in tmp_path.iterdir()] == ["kernel.so"]
    assert made.read_text() == "older"


def test_the_compiler_of_the_variable_may_have_arguments(monkeypatch):
    monkeypatch.setenv("CXX", "env LANG=C false")
    found, *arguments = build.compiler()
    assert Path(found).name == "env"
    assert arguments == ["LANG=C", "false"]


@pytest.mark.parametrize(("name", "value"), [("platform", "win32"), ("byteorder", "big")])
def test_platforms_that_the_kernel_is_not_written_for_are_named(tmp_path, monkeypatch, name, value):
    monkeypatch.setattr(sys, name, value)
    with pytest.raises(build.BuildError, match="the kernel is written for"):
        build.build(tmp_path / "kernel.so")


def test_the_command_says_why_and_what_happens_instead(monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert build.main() == 1
    assert "no-such-compiler). Binary layers will run in PyTorch, slowly" in capsys.readouterr().err
