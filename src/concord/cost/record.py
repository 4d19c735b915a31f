"""The result of a count: one frozen record per layer, and their sum."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from concord.cost.arithmetic import Fields, Shape, Work
from concord.cost.rules import worked
from concord.cost.signs import FLOAT

if TYPE_CHECKING:
    from concord.cost.document import CostDocument


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer or operation, all its calls together."""

    path: str  # of the module that did it; "" is the network itself
    type: str  # Conv2d, or the operation: add, mean
    output: Shape  # with the batch
    parameters: int  # 0 if another row has counted them
    buffers: int
    macs: int
    other_operations: int
    activations: int  # elements of new tensors; a layer that works in place makes none
    calls: int
    one_call: Work = field(repr=False)
    fields: Fields = field(repr=False)

    @property
    def binary_operations(self) -> int:
        """Products of signs and signs, which are among the MACs."""
        signs = self.one_call.signs
        return 0 if signs is None else self.calls * signs.products

    @property
    def parameter_bits(self) -> int:
        """32 for each parameter; of binary layers 1 for each sign and 32 for each scale."""
        signs = self.one_call.signs
        return FLOAT * self.parameters if signs is None else signs.bits(self.parameters)

    @property
    def rule(self) -> str:
        """Formula = substitution = result: the parameters, and MACs and other operations of one call."""
        calls = [f"{self.calls} calls"] if self.steps and self.calls > 1 else []
        return "; ".join([*self.steps, *calls])

    @property
    def steps(self) -> list[str]:
        """The rule, figure by figure."""
        rule, steps = self.one_call.rule, []
        if self.parameters:  # another row may have counted a weight that is shared
            steps.append(f"{worked(rule.parameters, rule.letters, self.parameters)} parameters")
        if rule.macs:
            steps.append(f"{worked(rule.macs, rule.letters, self.one_call.macs)} MACs")
        if rule.other and self.one_call.other:
            steps.append(f"{worked(rule.other, rule.letters, self.one_call.other)} other")
        return steps


class ReceptiveField(NamedTuple):
    """What one unit sees of an input, in positions along each axis: of a picture, height and width."""

    input: int  # which one, the first is 0
    path: str  # the last layer whose units see a part of the input that moves with them
    type: str  # of that layer, or its operation
    size: tuple[int, ...]  # of a unit that no border cuts, as on a larger input
    seen: tuple[int, ...]  # the largest part of this input that a unit sees
    stride: tuple[float, ...]  # how far apart the fields of two neighbours are
    start: tuple[float | None, ...]  # centre of the first unit's field; the first position is 0
    fields: Fields  # for every axis of that layer's output

    @property
    def exact(self) -> bool:
        """Whether some unit of this input sees as much as ``size`` says."""
        return self.size == self.seen and all(f.exact for f in self.fields if f is not None)

    @property
    def text(self) -> str:
        """``29x29``; ``at most 29x29`` for a bound; ``81x81 (of this input 32x32)`` if all are cut."""
        known = "" if all(f.all_phases for f in self.fields if f is not None) else "at most "
        return f"{known}{times(self.size)}" + (
            f" (of this input {times(self.seen)})" if self.seen != self.size else ""
        )

    @property
    def phases(self) -> tuple[int, ...]:
        """Sizes that units see by turns, away from borders; more than one behind up-convolutions."""
        return tuple(sorted({size for f in self.fields if f is not None for size in f.sizes}))

    def __repr__(self) -> str:
        return f"ReceptiveField({self.text}, stride {times([f'{s:g}' for s in self.stride])}, {self.path!r})"


@dataclass(frozen=True)
class Cost:
    """What one forward pass in evaluation costs."""

    parameters: int  # numbers that training changes
    buffers: int  # numbers that the network keeps besides, such as running statistics
    macs: int
    other_operations: int
    activations: int  # elements of all tensors that the pass makes: what training keeps
    peak_activations: int  # most elements alive at once in inference, the input among them
    layers: tuple[Layer, ...] = field(repr=False)
    receptive_fields: tuple[ReceptiveField, ...]  # of the inputs of which some unit sees a part
    device: str  # "meta", where nothing is computed; "cpu" if the network could not run there
    without_rule: tuple[str, ...] = ()  # operations without a rule, which the totals leave out

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """Of the input with the most axes."""
        return max(self.receptive_fields, key=lambda seen: len(seen.size), default=None)

    @property
    def flops(self) -> int:
        """2 x MACs."""
        return 2 * self.macs

    @property
    def binary_operations(self) -> int:
        """Products of signs and signs; all other MACs are products of floats."""
        return sum(layer.binary_operations for layer in self.layers)

    @property
    def parameter_bits(self) -> int:
        """Bits of the parameters where those of binary layers are signs."""
        return sum(layer.parameter_bits for layer in self.layers)

    @property
    def binary_layers(self) -> tuple[Layer, ...]:
        """Layers whose weights are signs."""
        return tuple(layer for layer in self.layers if layer.one_call.signs is not None)

    def bits(self, each: int = 32) -> int:
        """Size of the parameters with ``each`` bits per number."""
        return each * self.parameters

    def file_bytes(self, each: int = 32) -> int:
        """Size of a file with parameters and buffers, ``each`` bits per number, without its header."""
        return -(-each * (self.parameters + self.buffers) // 8)


@dataclass(frozen=True)
class Block:
    """A module with everything inside it: sums over its layers."""

    path: str
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def other_operations(self) -> int:
        return sum(layer.other_operations for layer in self.layers)

    def parts(self) -> "list[Block | Layer]":
        """What is one level below: blocks, and layers that are no block's."""
        return grouped(self.layers, self.path)


def grouped(layers: Sequence[Layer], prefix: str = "") -> list[Block | Layer]:
    """Layers gathered by the module one level below ``prefix``, in the order in which they ran first."""
    found: dict[str | int, list[Layer]] = {}
    for number, layer in enumerate(layers):
        own = layer.path == prefix
        found.setdefault(number if own else _below(layer.path, prefix), []).append(layer)
    parts: list[Block | Layer] = []
    for path, inside in found.items():
        alone = isinstance(path, int) or all(layer.path == path for layer in inside)
        parts += inside if alone else [Block(str(path), tuple(inside))]
    return parts


def _below(path: str, prefix: str) -> str:
    """The first step of ``path`` below ``prefix``."""
    first = path.removeprefix(f"{prefix}." if prefix else "").partition(".")[0]
    return f"{prefix}.{first}" if prefix else first


@dataclass(frozen=True, repr=False)
class Priced:
    """A network, its inputs and its cost."""

    name: str
    inputs: tuple[tuple[int, ...], ...]  # shape of one sample of each input
    cost: Cost

    def __repr__(self) -> str:
        """One line: ``<resnet18, input 3x224x224: 11,689,512 parameters, 1,814,073,344 MACs, ...>``."""
        cost, seen = self.cost, self.cost.receptive_field
        field_ = f", receptive field {seen.text}" if seen else ""
        figures = f"{cost.parameters:,} parameters, {cost.macs:,} MACs{field_}, {len(cost.layers)} layers"
        return f"<{self.name}, input {self.given}: {figures}>"

    @property
    def parameters(self) -> int:
        return self.cost.parameters

    @property
    def macs(self) -> int:
        return self.cost.macs

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.cost.layers

    @property
    def receptive_field(self) -> ReceptiveField | None:
        return self.cost.receptive_field

    def to_dict(self) -> "CostDocument":
        """The document that ``concord cost --json`` prints, every layer with its rule."""
        from concord.cost.document import document

        return document(self)

    @property
    def given(self) -> str:
        """``3x224x224``; ``1x28x28 + 24`` for a picture and 24 symbols."""
        return " + ".join(map(times, self.inputs))


def times(shape: Sequence[object]) -> str:
    """``3x224x224``"""
    return "x".join(map(str, shape))
