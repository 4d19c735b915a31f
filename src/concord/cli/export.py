"""``concord export``: one member, or the ensemble, as a file that other programs load.

Example:
    $ concord export runs/first --member noel2017_st --to st.onnx
"""

from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli.options import AllowCode, Json, Run, print_json
from concord.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from concord.cli.loading import Loaded

SUFFIXES = (".onnx", ".safetensors", ".pt2")
TOLERANCE = 1e-5  # largest difference in any probability between ONNX Runtime and PyTorch
BATCHES = (1, 3, 8)


def export(
    run: str | Path, to: str | Path, *, member: str = "ensemble", allow_code: Collection[str] = ()
) -> dict[str, Any]:
    """Write one member or the ensemble to ``to``; its suffix decides: .onnx, .pt2 or .safetensors.

    ONNX and torch.export take pixels (B, C, H, W) as float32 on the 0..255 scale and give probabilities (B,
    K): normalisation and softmax are inside. An ONNX file is checked against ONNX Runtime on three batch
    sizes. What cannot be written leaves an older file as it was (ResourceError).
    """
    from concord.cli.loading import load_run
    from concord.files.atomic import deliver

    to = Path(to)
    if to.suffix not in SUFFIXES:
        raise UsageError(f"--to {to}: the suffix decides the format, expected one of {', '.join(SUFFIXES)}")
    loaded = load_run(Path(run), allow_code=allow_code, device="cpu")
    chosen = loaded.chosen(member)
    if to.suffix == ".safetensors" and len(chosen) > 1:
        raise UsageError("safetensors holds the weights of one member: name it with --member")
    content, told = _made(loaded, chosen, to.suffix)
    deliver(to, content)
    classes = list(loaded.interface.classes)
    return {"file": str(to), "member": member, "classes": classes, "bytes": len(content), **told}


def _made(loaded: "Loaded", chosen: "Mapping[str, nn.Module]", suffix: str) -> tuple[bytes, dict[str, Any]]:
    """The file in memory, since the libraries' own writers fail on a full disk each in its own way."""
    if suffix == ".safetensors":
        ((member, network),) = chosen.items()
        return _safetensors(loaded, network, member)
    network = _network(loaded, list(chosen.values()))
    return _onnx(network, loaded) if suffix == ".onnx" else _pt2(network, loaded)


def _network(loaded: "Loaded", members: "list[nn.Module]") -> "nn.Module":
    """Pixels in, probabilities out, in float32 and ordinary memory layout."""
    import torch
    from torch import Tensor, nn

    class Deployed(nn.Module):
        mean: Tensor
        std: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.members = nn.ModuleList(members)
            shape = (1, -1, 1, 1)
            self.register_buffer("mean", torch.tensor(loaded.interface.normalise.mean).view(shape))
            self.register_buffer("std", torch.tensor(loaded.interface.normalise.std).view(shape))

        def forward(self, pixels: Tensor) -> Tensor:
            x = (pixels - self.mean) / self.std
            return torch.stack([member(x) for member in self.members]).mean(0).softmax(-1)

    return Deployed().eval().to(memory_format=torch.contiguous_format)


def _example(loaded: "Loaded", batch: int) -> Any:
    import torch

    generator = torch.Generator().manual_seed(batch)
    return torch.randint(0, 256, (batch, *loaded.interface.shape), generator=generator).float()


def _onnx(network: "nn.Module", loaded: "Loaded") -> tuple[bytes, dict[str, Any]]:
    import logging

    import torch

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


def _largest_difference(network: "nn.Module", loaded: "Loaded", content: bytes) -> float:
    """Of any probability between ONNX Runtime and PyTorch, over three batch sizes."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = torch.zeros(())
    for batch in BATCHES:
        pixels = _example(loaded, batch)
        (given,) = session.run(None, {"pixels": pixels.numpy()})
        with torch.no_grad():
            apart = (torch.from_numpy(given) - network(pixels)).abs().max()
        worst = torch.maximum(worst, apart)  # which keeps what is not a number
    return worst.item()


def _pt2(network: "nn.Module", loaded: "Loaded") -> tuple[bytes, dict[str, Any]]:
    import torch

    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (_example(loaded, 2),), dynamic_shapes={"pixels": {0: batch}})
    file = BytesIO()
    torch.export.save(program, file)
    return file.getvalue(), {"format": "torch.export"}


def _safetensors(loaded: "Loaded", network: "nn.Module", member: str) -> tuple[bytes, dict[str, Any]]:
    import json

    from safetensors.torch import save

    from concord.training.checkpoint import plain

    described = next(m for m in loaded.config.members if m.name == member)
    metadata = {"network": described.network, "interface": json.dumps(loaded.interface.plain())}
    return save(plain(network.state_dict()), metadata=metadata), {"format": "safetensors"}


def add_to(app: typer.Typer) -> None:
    app.command(
        "export",
        help="One member or the ensemble as ONNX (checked against ONNX Runtime), torch.export or"
        " safetensors.\n\nExample: concord export runs/first --member noel2017_st --to st.onnx",
    )(export_command)


def export_command(
    run: Run,
    to: Annotated[
        Path, typer.Option(help="The file to write: .onnx, .safetensors or .pt2.", show_default=False)
    ],
    member: Annotated[str, typer.Option(help="A member's name, or ensemble.")] = "ensemble",
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    written = export(run, to, member=member, allow_code=allow_code or [])
    if json_:
        print_json(written)
        return
    checked = (
        f"; equal to PyTorch within {written['largest_difference']:.0e} in ONNX Runtime for batches of"
        f" {', '.join(map(str, BATCHES))}"
        if "largest_difference" in written
        else ""
    )
    print(f"{written['file']}: {written['member']}, {written['bytes']:,} bytes{checked}")
