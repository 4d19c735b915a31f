"""A network as the bytes of an ONNX, torch.export or safetensors file, with its description inside."""

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from concord.errors import UsageError, interrupts
from concord.files.text import printable
from concord.training.checkpoint import detached
from concord.training.foreign import out_of_memory
from concord.training.state import state_of

Ask = Callable[..., Any]  # inputs in their order -> the output, or a tuple of several, by the exported file
LONGEST_REASON = 200
ERRORS = 3  # and no warnings, of ONNX Runtime's log
REASONS = (  # (what torch or ONNX Runtime says, what it means to a user)
    (r"GuardOnDataDependentSymNode", "its forward pass branches on the values of a tensor"),
    (r"ConstraintViolationError|invalid dimensions for input", "its forward pass takes one batch size only"),
    (r"No ONNX function found for <OpOverload\(op='([^']+)'", r"ONNX has no operation for \1"),
)


@dataclass(frozen=True)
class Free:
    """An axis of any size ``multiple`` n + ``rest``, n >= ``least``."""

    name: str
    multiple: int = 1
    rest: int = 0
    least: int = 0

    def dim(self) -> Any:
        """The same as torch.export takes it."""
        if self.multiple == 1:
            return torch.export.Dim(self.name)
        whole: Any = self.multiple * torch.export.Dim(f"{self.name}_n", min=self.least)
        return whole + self.rest if self.rest else whole


@dataclass(frozen=True)
class Inputs:
    """What a network is exported for: its inputs by name, an example of each, and which axes are free."""

    example: Mapping[str, Tensor]
    free: Mapping[str, Mapping[int, str | Free]]  # input -> axis -> what it is called
    outputs: tuple[str, ...] = ("probabilities",)

    def shapes(self) -> dict[str, dict[int, Any]]:
        """The same as torch.export takes it."""
        return {
            name: {axis: (Free(size) if isinstance(size, str) else size).dim() for axis, size in axes.items()}
            for name, axes in self.free.items()
        }


class ConversionError(Exception):
    """The libraries cannot write, or cannot run, this network in this format; the message says why.

    ``traced``: torch.export can follow the network, and it is ONNX alone that cannot hold it.
    """

    def __init__(self, reason: str, traced: bool) -> None:
        super().__init__(reason)
        self.traced = traced


def need_packages(suffix: str) -> None:
    """UsageError if a package is missing that this format needs."""
    if suffix == ".xml":
        need_openvino()
    if suffix != ".onnx":
        return
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401 - for the check
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise UsageError(f"ONNX needs {error.name}: pip install onnx onnxscript onnxruntime") from None


def need_openvino() -> None:
    """UsageError if it is missing."""
    try:
        import openvino  # noqa: F401
    except ImportError:
        raise UsageError("an OpenVINO file needs openvino: pip install 'concord[openvino]'") from None


def onnx_file(network: nn.Module, inputs: Inputs, about: Mapping[str, str]) -> tuple[bytes, Ask]:
    """An ONNX file with these inputs and outputs, and ONNX Runtime on it.

    ConversionError if it cannot be made or run.
    """
    import onnx
    import onnxruntime

    with converting():
        program = torch.onnx.export(
            network,
            tuple(inputs.example.values()),
            dynamo=True,
            verbose=False,
            input_names=list(inputs.example),
            output_names=list(inputs.outputs),
            dynamic_shapes=inputs.shapes(),
        )
        assert program is not None
        model = program.model_proto
        _without_traces(model)
        onnx.helper.set_model_props(model, dict(about))
        model.doc_string = about.get("preparation", "")
        onnx.checker.check_model(model, full_check=True)
        content = model.SerializeToString()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def ask(*given: Tensor) -> Any:
        named = {name: x.numpy() for name, x in zip(inputs.example, given, strict=True)}
        with converting():
            found = tuple(map(torch.from_numpy, session.run(None, named)))
        return found if len(found) > 1 else found[0]

    return content, ask


def _without_traces(model: Any) -> None:
    """Remove what torch notes at every node and value: Python's stack, with paths of this machine."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]


def pt2_file(network: nn.Module, inputs: Inputs, about: Mapping[str, str]) -> tuple[bytes, Ask]:
    """A file of torch.export, and its program. ConversionError if it cannot be made or run."""
    file = BytesIO()
    program = traced(network, inputs)
    with converting():
        torch.export.save(program, file, extra_files={"concord.json": json.dumps(dict(about))})
        module = program.module()

    def ask(*given: Tensor) -> Any:
        with converting(), torch.no_grad():
            return module(*given)

    return file.getvalue(), ask


def traced(network: nn.Module, inputs: Inputs) -> torch.export.ExportedProgram:
    """The program of torch.export. ConversionError if it cannot be made."""
    with converting():
        return torch.export.export(network, tuple(inputs.example.values()), dynamic_shapes=inputs.shapes())


def safetensors_file(network: nn.Module, about: Mapping[str, str], interface: Mapping[str, Any]) -> bytes:
    """The weights of one member, with interface.json in the metadata."""
    return save(detached(state_of(network)), metadata={**about, "interface": json.dumps(interface)})


@contextmanager
def converting() -> Iterator[None]:
    """Whatever the libraries raise is a ConversionError; their logs and warnings do not reach the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):  # torch prints whole graphs there
            warnings.simplefilter("ignore")
            yield
    except BaseException as error:  # torch, onnx, onnxruntime and the network have no error in common
        if interrupts(error) or out_of_memory(error):
            raise
        traced = type(error).__name__ == "ConversionError"  # torch.onnx's, of what comes after torch.export
        raise ConversionError(_reason(error), traced) from error
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """Why, in one line: the first cause of a chain of errors, and of that the first sentence."""
    first = error
    while (cause := first.__cause__ or first.__context__) is not None:
        first = cause
    text = str(first).strip()
    for pattern, words in REASONS:
        if found := re.search(pattern, f"{type(first).__name__}: {text}"):
            return found.expand(words)
    sentence = printable(text.partition("\n")[0].partition(". ")[0]).rstrip(".") or type(first).__name__
    return sentence if len(sentence) <= LONGEST_REASON else sentence[:LONGEST_REASON] + " ..."
