"""Whether a network of the user's own can be exported, tried before hours of training."""

from torch import nn

from concord.runs.export_deployed import Deployed, pictures
from concord.runs.export_formats import ConversionError, traced
from concord.runs.interface import Interface

MOST = 150  # modules, whose tracing takes about a second


def why_not(name: str, network: nn.Module, interface: Interface) -> list[str]:
    """A sentence if torch.export cannot follow the network, which is changed: give one that nobody needs.

    A network of more than 150 modules is not tried. What ONNX alone cannot hold shows when it is exported.
    """
    if len(list(network.modules())) > MOST:
        return []
    try:
        traced(Deployed([network.cpu()], interface.normalise), pictures(interface.shape))
    except ConversionError as error:
        return [
            f"member {name!r} can be trained, but not be exported as .onnx or .pt2: {error}. Its weights can"
            " be (.safetensors)"
        ]
    return []
