"""One member of a run, or the ensemble, as a file that other programs load."""

import json
import logging
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from concord.errors import UsageError
from concord.files.atomic import deliver
from concord.runs.loading import ENSEMBLE, Loaded, load_run
from concord.runs.machine import settled
from concord.training.checkpoint import plain
from concord.training.observer import SILENT, Observer

SUFFIXES = (".onnx", ".safetensors", ".pt2")
TOLERANCE = 1e-5  # largest difference in any probability between ONNX Runtime and PyTorch
BATCHES = (1, 3, 8)


class Deployed(nn.Module):
    """Pixels in, probabilities out, in float32 and ordinary memory layout."""

    mean: Tensor
    std: Tensor

    def __init__(self, members: list[nn.Module], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels - self.mean) / self.std
        return torch.stack([member(x) for member in self.members]).mean(0).softmax(-1)


def export(
    run: Path,
    to: Path,
    *,
    member: str = ENSEMBLE,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> dict[str, Any]:
    """Write one member or the ensemble to ``to``; its suffix decides: .onnx, .pt2 or .safetensors.

    ONNX and torch.export take pixels (B, C, H, W) as float32 on the 0..255 scale and give probabilities (B,
    K): normalisation and softmax are inside. An ONNX file is checked against ONNX Runtime on three batch
    sizes. What cannot be written leaves an older file as it was (ResourceError).
    """
    if to.suffix not in SUFFIXES:
        raise UsageError(f"--to {to}: the suffix decides the format, expected one of {', '.join(SUFFIXES)}")
    loaded = load_run(run, allow_code=allow_code, device="cpu", observer=observer)
    chosen = loaded.chosen(member)
    if to.suffix == ".safetensors" and len(chosen) > 1:
        raise UsageError("safetensors holds the weights of one member: name it with --member")
    with settled(loaded.config):
        content, more = _made(loaded, chosen, to.suffix)
    deliver(to, content)
    classes = list(loaded.interface.classes)
    return {"file": str(to), "member": member, "classes": classes, "bytes": len(content), **more}


def _made(loaded: Loaded, chosen: Mapping[str, nn.Module], suffix: str) -> tuple[bytes, dict[str, Any]]:
    """The file in memory, since the libraries' own writers fail on a full disk each in its own way."""
    if suffix == ".safetensors":
        ((member, network),) = chosen.items()
        return _safetensors(loaded, network, member)
    network = _network(loaded, list(chosen.values()))
    return _onnx(network, loaded) if suffix == ".onnx" else _pt2(network, loaded)


def _network(loaded: Loaded, members: list[nn.Module]) -> nn.Module:
    normalise = loaded.interface.normalise
    network = Deployed(members, normalise.mean, normalise.std)
    return network.eval().to(memory_format=torch.contiguous_format)


def _example(loaded: Loaded, batch: int) -> Any:
    generator = torch.Generator().manual_seed(batch)
    return torch.randint(0, 256, (batch, *loaded.interface.shape), generator=generator).float()


def _onnx(network: nn.Module, loaded: Loaded) -> tuple[bytes, dict[str, Any]]:
    try:
        import onnx
        import onnxruntime  # noqa: F401 - for the check
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise UsageError(f"ONNX needs {error.name}: pip install onnx onnxscript onnxruntime") from None

    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    program = torch.onnx.export(
        network,
        (_example(loaded, 2),),
        dynamo=True,
        verbose=False,
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {"classes": "\n".join(loaded.interface.classes)})
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    worst = _largest_difference(network, loaded, content)
    if not worst <= TOLERANCE:  # not a number is no agreement either
        raise UsageError(
            f"ONNX Runtime differs from PyTorch by {worst:.1e}, at most {TOLERANCE:g} is allowed"
        )
    return content, {"format": "onnx", "checked_batches": BATCHES, "largest_difference": worst}


def _largest_difference(network: nn.Module, loaded: Loaded, content: bytes) -> float:
    """Of any probability between ONNX Runtime and PyTorch, over three batch sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = torch.zeros(())
    for batch in BATCHES:
        pixels = _example(loaded, batch)
        (given,) = session.run(None, {"pixels": pixels.numpy()})
        with torch.no_grad():
            apart = (torch.from_numpy(given) - network(pixels)).abs().max()
        worst = torch.maximum(worst, apart)  # which keeps what is not a number
    return worst.item()


def _pt2(network: nn.Module, loaded: Loaded) -> tuple[bytes, dict[str, Any]]:
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (_example(loaded, 2),), dynamic_shapes={"pixels": {0: batch}})
    file = BytesIO()
    torch.export.save(program, file)
    return file.getvalue(), {"format": "torch.export"}


def _safetensors(loaded: Loaded, network: nn.Module, member: str) -> tuple[bytes, dict[str, Any]]:
    described = next(m for m in loaded.config.members if m.name == member)
    metadata = {"network": described.network, "interface": json.dumps(loaded.interface.plain())}
    return save(plain(network.state_dict()), metadata=metadata), {"format": "safetensors"}
