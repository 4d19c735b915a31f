"""Compile the kernel: ``python -m concord.native.build``. Installing concord runs it.

Every set of instructions is a file with flags of its own, and one that runs anywhere chooses among them: so a
library that was built on one machine runs on every machine of its platform. The standard library is enough.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE / "kernel"
MADE = HERE / "kernel.so"
SEAL = ".sha256"  # suffix of the file beside it with its checksum, by which a damaged library is found
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti",
    "-ffp-contract=off",  # products and sums are rounded one by one, as in PyTorch
)  # fmt: skip
EVERYWHERE: dict[str, tuple[str, ...]] = {"dispatch": (), "portable": ()}
X86 = {
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vpopcntdq"),
    "avx2": ("-mavx2", "-mfma"),
    "popcnt": ("-mpopcnt",),
}


class BuildError(Exception):
    """The kernel cannot be compiled here; the text says why."""


def compiler() -> list[str]:
    """The C++ compiler: that of the variable CXX, which may have arguments, or the first that is found."""
    named = shlex.split(os.environ.get("CXX", ""))
    names = named[:1] or COMPILERS
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        raise BuildError(f"no C++ compiler is installed ({', '.join(names)})")
    return [found, *named[1:]]


def build(made: Path = MADE) -> None:
    """Compile, or raise BuildError. An older library stays where the new one fails."""
    if sys.platform not in ("linux", "darwin"):
        raise BuildError(
            f"the kernel is written for GCC and Clang on Linux and macOS, this is {sys.platform}"
        )
    if sys.byteorder != "little":
        raise BuildError("the kernel is written for little-endian processors")
    cxx = compiler()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, MADE.name)
        try:
            _compile(cxx, library, ("-fopenmp",))
        except BuildError:
            _compile(cxx, library, ())  # one thread
        _place(library.read_bytes(), made)


def _place(library: bytes, made: Path) -> None:
    """The library and its checksum, each whole or as it was before."""
    for path, content in ((made, library), (made.with_suffix(SEAL), sha256(library).hexdigest().encode())):
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(content)
        part.replace(path)


def _compile(cxx: list[str], library: Path, threads: tuple[str, ...]) -> None:
    intel = platform.machine().lower() in ("x86_64", "amd64")
    files = EVERYWHERE | X86 if intel else EVERYWHERE
    objects = {name: library.with_name(f"{name}.o") for name in files}
    _run_all(
        [*cxx, *FLAGS, *threads, *own, "-c", str(SOURCES / f"{name}.cpp"), "-o", str(objects[name])]
        for name, own in files.items()
    )
    # what is left of the C++ library is built in; that of OpenMP is torch's own, found by its plain name
    still = ("-static-libstdc++", "-static-libgcc") if sys.platform == "linux" else ()
    _run_all([[*cxx, "-shared", *threads, *still, *map(str, objects.values()), "-o", str(library)]])


def _run_all(commands: Iterable[list[str]]) -> None:
    """All at once; BuildError for the first that fails."""
    running = [
        (command, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for command in commands
    ]
    outputs = [process.communicate()[0] for _, process in running]
    for (command, process), output in zip(running, outputs, strict=True):
        if process.returncode:
            raise BuildError(f"{' '.join(command)} failed:\n{output[-2000:]}")


def main() -> int:
    """Status 0 if the library is there, else 1 with the reason on stderr."""
    try:
        build()
    except BuildError as error:
        print(f"concord: {error}. Binary layers will run in PyTorch, slowly", file=sys.stderr)
        return 1
    print(MADE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
