"""The kernel under the address and undefined-behaviour sanitizers of the compiler: with --soak."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from native_made import needs_kernel

from concord.native import build

ROOT = Path(__file__).parents[1]
CHECKED = "-g -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined"
RUN = ("equal", "threads", "refused", "floats")


def found(library):
    """A library that comes with the compiler."""
    path = subprocess.check_output([*build.compiler(), f"-print-file-name={library}"], text=True).strip()
    if not Path(path).is_absolute():
        pytest.skip(f"the compiler has no {library}")
    return path


@pytest.mark.soak
@needs_kernel
def test_no_path_reads_or_writes_beyond_its_memory(tmp_path):
    """The tests of numbers, threads and refusals again, in a copy of concord whose kernel checks itself."""
    compiler = " ".join(build.compiler())
    first = [found("libasan.so"), found("libstdc++.so.6")]  # before torch, whose exceptions they watch
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "kernel.s*"))
    environment = {
        **os.environ,
        "CXX": f"{compiler} {CHECKED}",
        "PYTHONPATH": os.pathsep.join((str(tmp_path / "src"), str(ROOT / "tests"))),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps much to its end
    }
    subprocess.run([sys.executable, "-m", "concord.native.build"], check=True, env=environment)
    tests = [str(ROOT / f"tests/test_native_{name}.py") for name in RUN]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-s", *tests],
        env={**environment, "LD_PRELOAD": " ".join(first)}, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-5000:]
    assert "Sanitizer" not in output
    assert "runtime error" not in output
