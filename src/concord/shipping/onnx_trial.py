"""What a network needs as a file, before it is trained: bytes and milliseconds of ONNX Runtime.

Neither depends on the values of the weights; but equal tensors, as a new network has many, would be stored
once. So the weights are drawn at random first.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from concord.bench.latency import latency_of_onnx
from concord.runs.export_deployed import Deployed, example, pictures
from concord.runs.export_description import description
from concord.runs.export_formats import onnx_file
from concord.runs.interface import Interface
from concord.shipping.candidates import Candidate
from concord.zoo.build import build

MEMBER = "small"  # what the network that is shipped is called in every run
# of a trained network, as long as they can be, so that the real file is not larger
NUMBERS = dict.fromkeys(("temperature", "set_coverage", "set_threshold"), "0.12345678901234567")
TEMPERATURE = 0.5  # any that is not 1, for what divides by it
SECONDS = 0.3  # of calls that are timed


def with_file(candidate: Candidate, interface: Interface) -> Candidate:
    """The candidate with the bytes of its ONNX file, and the milliseconds of one image on one thread."""
    channels = interface.shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(candidate.network, channels=channels, classes=len(interface.classes))
        _shake(network)
    deployed = Deployed([network], interface.normalise, TEMPERATURE)
    about = description(interface, [candidate.network], MEMBER) | NUMBERS
    content, _ = onnx_file(deployed, pictures(interface.shape), about)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "model.onnx")
        file.write_bytes(content)
        took = latency_of_onnx(file, example(interface.shape, 1), seconds=SECONDS)
    needs = replace(candidate.needs, bytes=len(content), milliseconds=1000 * took.median)
    return replace(candidate, needs=needs)


@torch.no_grad()
def _shake(network: nn.Module) -> None:
    """Random values in every parameter and buffer; those of variances stay above 0."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
