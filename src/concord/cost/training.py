"""What one update of a network costs: its forward and its backward pass, exactly.

A product a b whose result has the gradient g needs as many multiply-accumulates again for each gradient:
g b^T for a, a^T g for b. So a layer costs three times its forward pass, less the gradient of its input where
nothing before it learns (the first layer), and less that of its weights where they are frozen.
Normalisations, activations and pooling have no multiply-accumulates, here as in the forward pass. Neither the
loss nor the optimizer is among the figures.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.random import fork_rng
from torch.utils._pytree import tree_leaves

from concord.cost.backward import Update
from concord.cost.passes import Input, blaming_layers, passed
from concord.cost.record import times
from concord.cost.watch import TURN, watched
from concord.errors import UsageError

if TYPE_CHECKING:
    from concord.cost.document import TrainingDocument

BATCH = 64
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerTraining:
    """What one layer does in an update: by itself, without the layers inside."""

    path: str  # "" is the network itself
    type: str
    forward_macs: int
    input_gradient_macs: int  # of gradients of what depends on the network's input
    weight_gradient_macs: int
    kept_bytes: int  # what autograd saves from the forward to the backward pass
    moved_bytes: int  # read and written by all operations of both passes

    @property
    def macs(self) -> int:
        return self.forward_macs + self.input_gradient_macs + self.weight_gradient_macs


@dataclass(frozen=True)
class TrainingCost:
    """What one update costs: forward and backward pass of one batch."""

    network: str
    inputs: tuple[Shape, ...]  # of one sample
    batch: int
    learned: int  # parameters that learn; 0 of a teacher, which costs its forward pass alone
    layers: tuple[LayerTraining, ...] = field(repr=False)
    device: str  # "meta", where nothing is computed, or the device on which the network had to run
    without_rule: tuple[str, ...] = ()  # operations without a rule, which the totals leave out

    @property
    def forward_macs(self) -> int:
        return sum(layer.forward_macs for layer in self.layers)

    @property
    def input_gradient_macs(self) -> int:
        return sum(layer.input_gradient_macs for layer in self.layers)

    @property
    def weight_gradient_macs(self) -> int:
        return sum(layer.weight_gradient_macs for layer in self.layers)

    @property
    def backward_macs(self) -> int:
        return self.input_gradient_macs + self.weight_gradient_macs

    @property
    def macs(self) -> int:
        """Of both passes."""
        return self.forward_macs + self.backward_macs

    @property
    def kept_bytes(self) -> int:
        return sum(layer.kept_bytes for layer in self.layers)

    @property
    def moved_bytes(self) -> int:
        return sum(layer.moved_bytes for layer in self.layers)

    @property
    def given(self) -> str:
        """``3x224x224``; ``1x28x28 + 24`` for a picture and 24 symbols."""
        return " + ".join(map(times, self.inputs))

    def to_dict(self) -> "TrainingDocument":
        """The document that ``concord cost --training --json`` prints under ``training``."""
        from concord.cost.document import training_document

        return training_document(self)

    def macs_of(self, updates: int) -> int:
        """Multiply-accumulates of a training of this many updates with batches of this size."""
        if updates < 0:
            raise UsageError(f"a training has at least 0 updates, got {updates}")
        return updates * self.macs


def count_training(network: nn.Module, *inputs: Input, batch: int | None = None) -> TrainingCost:
    """What one update of the network costs; inputs are tensors with a batch, or shapes of one sample.

        MACs = sum over products: forward + gradient of its input, if anything before it learns
                                           + gradient of its weights, if they learn

    The network trains on a copy without weights on the meta device, in training mode; one without a parameter
    that learns runs forwards alone, in evaluation mode. ``batch`` is the number of samples of shapes, 64 by
    default; tensors bring their own. Every output gets a gradient, the inputs get none. A network that cannot
    run without numbers trains for real on a copy, and ``device`` says so.

    Raises what ``count`` does, and UsageError for a batch that is not that of a tensor, or below 1.
    """
    size = _batch(inputs, batch)
    with torch.inference_mode(False):
        layers, device, without_rule = passed(network, inputs, _update, batch=size, itself=False)
    return TrainingCost(
        type(network).__name__,
        tuple(tuple(x.shape[1:]) if isinstance(x, Tensor) else tuple(x) for x in inputs),
        size,
        sum(p.numel() for p in network.parameters() if p.requires_grad),
        layers,
        device,
        without_rule,
    )


def _batch(inputs: tuple[Input, ...], batch: int | None) -> int:
    sizes = {len(x) for x in inputs if isinstance(x, Tensor) and x.ndim}
    size = batch if batch is not None else next(iter(sizes), BATCH)
    if size < 1 or sizes - {size}:
        given = f"; the tensors have {' and '.join(map(str, sorted(sizes)))} samples" if sizes else ""
        raise UsageError(f"a batch is a whole number of samples, at least 1, got {size}{given}")
    return size


def _update(
    network: nn.Module, inputs: tuple[Tensor, ...], real: bool
) -> tuple[tuple[LayerTraining, ...], str, tuple[str, ...]]:
    """One forward and one backward pass."""
    learning = [p for p in network.parameters() if p.requires_grad]
    walk = Update(network, inputs)
    with blaming_layers(network), TURN, _mode(network, bool(learning)), fork_rng(devices=[]), _in_the_open():
        with watched(walk, gradients=bool(learning)), saved_tensors_hooks(walk.pack, walk.unpack):
            out = network(*inputs)
        walk.keep()
        outputs = [y for y in tree_leaves(out) if isinstance(y, Tensor) and y.requires_grad]
        if outputs:
            gradients = [torch.ones_like(y) for y in outputs]
            with watched(walk):
                torch.autograd.grad(outputs, learning, gradients, allow_unused=True)
    kinds = {path: type(module).__name__ for path, module in network.named_modules()}
    layers = tuple(
        LayerTraining(path, kinds[path], one.forward, one.inputs, one.weights, one.kept, one.moved)
        for path, one in walk.spent.items()
        if one.forward or one.kept or one.moved
    )
    return layers, inputs[0].device.type, tuple(walk.without_rule)


@contextmanager
def _mode(network: nn.Module, training: bool) -> Iterator[None]:
    """In this mode; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _in_the_open() -> Iterator[None]:
    """Without rounding to fewer bits, and without oneDNN, whose cells hide products."""
    onednn: Any = torch.backends.mkldnn  # its switch is a descriptor
    before = onednn.enabled
    onednn.enabled = False
    try:
        with torch.autocast("cpu", enabled=False):
            yield
    finally:
        onednn.enabled = before
