"""Compile the kernel of the binary layers while concord is installed; go without where that fails."""

import importlib.util
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """A wheel with the kernel is for one platform, and for every Python 3 on it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        file = Path(self.root, "src/concord/native/build.py")
        spec = importlib.util.spec_from_file_location("concord_native_build", file)
        assert spec is not None
        assert spec.loader is not None
        native = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(native)
        try:
            native.build()
        except native.BuildError as error:
            print(f"concord: {error}. Binary layers will run in PyTorch, slowly", file=sys.stderr)
            return
        made = (native.MADE, native.MADE.with_suffix(native.SEAL))
        build_data["artifacts"] += [f"src/concord/native/{path.name}" for path in made]
        if version == "standard":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
