"""Packed ensembles: narrow networks side by side, as groups of the channels of one network.

Source: O. Laurent, A. Lafage, E. Tartaglione, G. Daniel, J.-M. Martinez, A. Bursuc, G. Franchi,
"Packed-Ensembles for Efficient Uncertainty Estimation", ICLR 2023, arXiv:2210.09184, section 4.

Departures from the paper:
  * Members are kept apart along the batch between layers, so that networks which concatenate or shuffle
    channels are packed rightly too. The groups are the same.
  * gamma divides the convolutions between the first and the last layer; a dense layer is one group of each
    member. Where gamma divides the channels of a layer unevenly, the layer has the most groups below it.
  * Weights start as draws from those of the wide network, times sqrt(fan-in before / after): the start of
    the network, whatever it is, at the narrow width.
"""

from collections.abc import Sequence
from copy import deepcopy
from math import ceil, gcd, sqrt

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from concord.errors import ConcordError, UsageError
from concord.layers.members import LINEAR, Folded, GroupedLinear
from concord.layers.shortcut import PaddedShortcut
from concord.zoo.ensembles.inner import InnerEnsemble, replaced
from concord.zoo.ensembles.names import ALPHA, GAMMA, MEMBERS, MOST

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def packed_ensemble(
    network: nn.Module,
    shape: tuple[int, ...],
    members: int = MEMBERS,
    alpha: float = ALPHA,
    gamma: int = GAMMA,
) -> InnerEnsemble:
    """A network of ``members`` inner members, each ``network`` at alpha / members of its widths.

    A layer of C channels becomes one of alpha C in groups, gamma of each member, and has about alpha^2 /
    (members gamma) times its weights. Inputs and classes keep their number. ``shape`` is that of a sample; a
    pass of two samples finds how the layers follow each other. The network itself is not changed.

    Raises UsageError for a network with parameters outside of dense layers, convolutions and batch
    normalisations of torch.nn, and for one that cannot have other widths.

    Shape: (B, *shape) -> (B, K) in evaluation
    """
    if not 1 <= members <= MOST or gamma < 1 or not 0 < alpha < float("inf"):
        raise UsageError(
            f"members are at least 1 and at most {MOST}, gamma is at least 1 and alpha is above 0; got"
            f" {members}, {gamma} and {alpha}"
        )
    _announce(network, shape, members, alpha / members, gamma)
    return side_by_side([narrowed(network, shape, alpha / members, gamma) for _ in range(members)])


def _announce(network: nn.Module, shape: tuple[int, ...], members: int, factor: float, gamma: int) -> None:
    """Register as many numbers as the ensemble will have, without memory, for a limit of ``zoo.limits``."""
    try:
        narrow = narrowed(deepcopy(network).to("meta"), shape, factor, gamma)
    except UsageError:  # it happens again with numbers, or has to do with their absence
        return
    total = members * sum(parameter.numel() for parameter in narrow.parameters())
    nn.Module().register_parameter("all", nn.Parameter(torch.empty(total, device="meta")))


def side_by_side(networks: Sequence[nn.Module]) -> InnerEnsemble:
    """One network that computes what these networks of one architecture do, as groups of its channels.

    Running statistics are those of each network too. UsageError for parameters outside of known layers.
    """
    refuse_other_parameters(networks[0])
    parts = [dict(network.named_modules()) for network in networks]

    def made(path: str, module: nn.Module) -> nn.Module | None:
        return _grouped([part[path] for part in parts]) if _known(module) else None

    return InnerEnsemble(replaced(deepcopy(networks[0]), made), len(networks))


def narrowed(network: nn.Module, shape: tuple[int, ...], factor: float, gamma: int = 1) -> nn.Module:
    """The network at ``factor`` times its widths, rounded up to multiples of gamma, with a start of its own.

    What the input and the output have stays. Random numbers come from torch's global generator.

    Raises UsageError for one that cannot have other widths, and for parameters outside of known layers.
    """
    refuse_other_parameters(network)
    narrow = deepcopy(network)
    x = torch.zeros(2, *shape)
    if (weight := next(network.parameters(), None)) is not None:
        x = x.to(weight)
    order, wanted = _order(narrow, x)
    if not order:
        raise UsageError(f"{type(network).__name__} has no dense layer or convolution to pack")
    hooks = _Narrowing(narrow, order, factor, gamma)
    advice = f"{type(network).__name__} cannot have other widths"
    cure = "alpha equal to members keeps its widths; sizes of the network itself may make it narrower"
    try:
        given = _passed(hooks.network, x)
    except Exception as error:  # the network's own code may raise anything
        raise UsageError(f"{advice}: {' '.join(str(error).split())}; {cure}") from error
    finally:
        hooks.remove()
    if given.shape != wanted:
        raise UsageError(f"{advice}: its output becomes {tuple(given.shape)}, not {tuple(wanted)}; {cure}")
    return narrow


def refuse_other_parameters(network: nn.Module) -> None:
    """UsageError that names the first module with parameters which is none of the layers that are packed."""
    for path, module in network.named_modules():
        own = list(module._parameters.values())
        if any(p is not None and is_lazy(p) for p in own):
            raise UsageError(f"{path or 'the network'} has no sizes yet: run the network once, then pack it")
        if any(p is not None for p in own) and not _known(module):
            raise UsageError(
                "a packed ensemble is made of networks of dense layers, convolutions and batch normalisations"
                f" of torch.nn; {path or 'the network'} is a {type(module).__name__}"
            )


def _known(module: nn.Module) -> bool:
    return type(module) in LINEAR or isinstance(module, _BatchNorm)


@torch.no_grad()
def _passed(network: nn.Module, x: Tensor) -> Tensor:
    """One pass in evaluation; modes are as before afterwards."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        return network(x)
    finally:
        for module in training:
            module.training = True


def _order(network: nn.Module, x: Tensor) -> tuple[list[nn.Module], torch.Size]:
    """Dense layers and convolutions in the order of their calls, and the shape of the output."""
    called: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, given, output: called.append(module))
        for module in network.modules()
        if type(module) in LINEAR
    ]
    try:
        output = _passed(network, x)
    except ConcordError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"the network does not take a sample of {tuple(x.shape[1:])}: {reason}") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, Tensor):
        raise UsageError(f"a packed network gives one tensor, not a {type(output).__name__}")
    return called, output.shape


class _Narrowing:
    """Hooks that give each layer the width of what reaches it, the first time that it is called."""

    def __init__(self, network: nn.Module, order: Sequence[nn.Module], factor: float, gamma: int) -> None:
        self.network, self.factor, self.gamma = network, factor, gamma
        self.first, self.last = order[0], order[-1]
        self._done: set[int] = set()
        known = [m for m in network.modules() if _known(m) or isinstance(m, PaddedShortcut)]
        self._hooks = [module.register_forward_pre_hook(self._before) for module in known]

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _before(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(layer) in self._done:
            return
        self._done.add(id(layer))
        width = inputs[0].shape[-1 if isinstance(layer, nn.Linear) else 1]
        if isinstance(layer, PaddedShortcut):
            layer.extra = self._out(layer, layer.extra)
        elif isinstance(layer, _BatchNorm):
            _narrow_norm(layer, width)
        elif isinstance(layer, nn.Linear):
            _narrow_weights(layer, self._out(layer, layer.out_features), width)
            layer.in_features, layer.out_features = width, len(layer.weight)
        elif isinstance(layer, CONVOLUTIONS):
            self._narrow_convolution(layer, width)

    def _out(self, layer: nn.Module, width: int) -> int:
        if layer is self.last:
            return width
        return self.gamma * max(1, ceil(self.factor * width / self.gamma - 1e-9))  # 4.000000001 is 4

    def _narrow_convolution(self, layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, width: int) -> None:
        if layer.groups == layer.in_channels > 1:  # each channel by itself
            out, groups = width * (layer.out_channels // layer.in_channels), width
        else:
            out = self._out(layer, layer.out_channels)
            most = layer.groups * (1 if layer in (self.first, self.last) else self.gamma)
            common = gcd(width, out)
            groups = next(n for n in range(min(most, common), 0, -1) if common % n == 0)
        _narrow_weights(layer, out, width // groups)
        layer.in_channels, layer.out_channels, layer.groups = width, out, groups


def _narrow_weights(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d, c_out: int, c_in: int) -> None:
    """Weights (C_out, C_in / groups, ...) and biases, drawn from those there are."""
    old = layer.weight
    new = _drawn(old, (c_out, c_in, *old.shape[2:])) * sqrt(old.shape[1] / c_in)
    layer._parameters["weight"] = nn.Parameter(new, old.requires_grad)
    if layer.bias is not None:
        layer._parameters["bias"] = nn.Parameter(_drawn(layer.bias, (c_out,)), layer.bias.requires_grad)


def _narrow_norm(layer: _BatchNorm, width: int) -> None:
    layer.num_features = width
    for name, old in layer._parameters.items():
        if old is not None:
            layer._parameters[name] = nn.Parameter(_drawn(old, (width,)), old.requires_grad)
    for name, statistic in layer._buffers.items():
        if statistic is not None and statistic.ndim:
            layer._buffers[name] = _drawn(statistic, (width,))


def _drawn(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """So many of the values, each as likely as the others, drawn with replacement."""
    flat = values.detach().flatten()
    return flat[torch.randint(len(flat), shape, device=flat.device)]


def _grouped(layers: Sequence[nn.Module]) -> nn.Module:
    """One layer that does for each member what its own does."""
    members, wide = len(layers), deepcopy(layers[0])
    learns = {name: p.requires_grad for name, p in wide.named_parameters()}
    if isinstance(wide, nn.Linear):
        joined = [_joined(layers, name) for name in learns]
        made = GroupedLinear(joined[0], joined[1] if len(joined) > 1 else None, members)
        for name, parameter in made.named_parameters():
            parameter.requires_grad_(learns[name])
        return made
    for name in learns:
        wide.register_parameter(name, nn.Parameter(_joined(layers, name), learns[name]))
    for name, buffer in list(wide._buffers.items()):
        if buffer is not None and buffer.ndim:
            wide._buffers[name] = _joined(layers, name)
    if isinstance(wide, _BatchNorm):
        wide.num_features *= members
    else:
        assert isinstance(wide, CONVOLUTIONS)
        wide.in_channels, wide.out_channels = members * wide.in_channels, members * wide.out_channels
        wide.groups *= members
    return Folded(wide, members)


def _joined(layers: Sequence[nn.Module], name: str) -> Tensor:
    """The tensors of that name one behind the other."""
    return torch.cat([getattr(layer, name).detach() for layer in layers])
