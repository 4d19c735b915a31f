"""An exported file in memory, checked, or the member that cannot be exported."""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from concord.errors import UsageError
from concord.runs.export_formats import Ask, ConversionError, Inputs, onnx_file, pt2_file

Deploy = Callable[[Sequence[nn.Module]], nn.Module]  # members -> the network as it is exported


def made(
    chosen: Mapping[str, nn.Module],
    deploy: Deploy,
    inputs: Inputs,
    about: Mapping[str, str],
    suffix: str,
    difference: Callable[[Ask], float],
) -> tuple[bytes, float]:
    """The file in memory, since the libraries' own writers fail on a full disk each in its own way.

    With it the ``difference`` between what it says and what ``predict`` does. UsageError that names the
    member that cannot be exported.
    """
    make = onnx_file if suffix == ".onnx" else pt2_file
    try:
        content, ask = make(deploy(list(chosen.values())), inputs, about)
        return content, difference(ask)
    except ConversionError as error:
        culprit = _culprit(chosen, deploy, inputs, suffix)
        others = ".safetensors (the weights of one member)"
        others = f".pt2 (torch.export) or {others}" if error.traced else others
        raise UsageError(
            f"{culprit} cannot be exported as {suffix}: {error}."
            f" Change that part of the network, or export to {others}"
        ) from error


def _culprit(chosen: Mapping[str, nn.Module], deploy: Deploy, inputs: Inputs, suffix: str) -> str:
    """The member that cannot be exported, of several the first that cannot alone."""
    if len(chosen) == 1:
        return f"member {next(iter(chosen))}"
    make = onnx_file if suffix == ".onnx" else pt2_file
    for name, network in chosen.items():
        try:
            make(deploy([network]), inputs, {})
        except ConversionError:
            return f"member {name}"
    return f"the ensemble of {', '.join(chosen)}"
