"""Can this machine train, and how."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from concord.errors import UsageError
from concord.native.library import chosen, state
from concord.runs.packages import NEEDED

EXTRAS = {
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "timm": ("timm",),
    "heic": ("pillow-heif",),
    "openvino": ("openvino",),
    "bench": ("faster-coco-eval", "fvcore", "ptflops", "pycocotools", "thop", "torchinfo"),
}
LEAST_DISK = 2**30


def doctor() -> dict[str, Any]:
    """Versions, threads, disk, device and the kernel of binary layers.

    ``ok`` is false if something that training needs is missing. A kernel that was not built does not
    count: PyTorch gives the same numbers then, slowly.
    """
    versions = {name: _version(name) for name in NEEDED}
    extras = {name: all(map(_version, packages)) for name, packages in EXTRAS.items()}
    free = shutil.disk_usage(".").free
    problems = [f"{name} is not installed: pip install {name}" for name, v in versions.items() if v is None]
    if free < LEAST_DISK:
        problems.append(f"only {free / 2**20:.0f} MiB of disk are free here")
    if not os.access(".", os.W_OK):
        problems.append("the current folder cannot be written to; give --out a folder elsewhere")
    found = _torch(problems) | {"native": _native(problems)}
    return {
        "ok": not problems,
        "problems": problems,
        "concord": _version("concord"),
        "python": platform.python_version(),
        "versions": versions,
        "extras": extras,
        "cores": os.cpu_count(),
        "disk_free": free,
        **found,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _native(problems: list[str]) -> dict[str, Any]:
    """Path in use (None if the variable names a wrong one), paths that run here, why if not the kernel."""
    try:
        used = state()
    except UsageError as error:
        problems.append(str(error))
        return {"path": None, "runs": list(chosen("torch")[1].runs), "reason": str(error)}
    return {"path": used.path, "runs": list(used.runs), "reason": used.reason}


def _torch(problems: list[str]) -> dict[str, Any]:
    try:
        import torch

        cuda = torch.cuda.is_available()
        for device in ("cpu", "cuda") if cuda else ("cpu",):
            twos = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
            assert twos.sum().item() == 8, f"a wrong product on {device}"
        from concord.runs.precision import native_bfloat16

        return {
            "threads": torch.get_num_threads(),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "bfloat16": native_bfloat16("cuda" if cuda else "cpu"),
        }
    except Exception as error:  # whatever stops torch is the finding
        problems.append(f"torch does not work: {error}")
        return {"threads": None, "processor": None, "device": None, "bfloat16": None}
