"""What ``concord cost --json`` prints and ``Priced.to_dict()`` returns; other programs rely on the keys."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from concord.cost.energy import energy

if TYPE_CHECKING:
    from concord.cost.record import Cost, Layer, Priced, ReceptiveField
    from concord.cost.training import LayerTraining, TrainingCost

COMPARED = ("parameters", "macs", "other_operations", "peak_activations")
BITS = (32, 16, 8, 1)

Number = int | float | None
PerAxis = Number | list[Number]  # one number where all axes agree, a list where they differ


class FieldDocument(TypedDict):
    """A receptive field."""

    size: PerAxis
    seen: PerAxis
    stride: PerAxis
    start: PerAxis
    exact: bool
    layer: str
    input: int


class LayerDocument(TypedDict):
    """One layer or operation, all its calls together."""

    path: str
    type: str
    output: list[int]
    parameters: int
    buffers: int
    macs: int
    other_operations: int
    activations: int
    calls: int
    parameter_bits: int
    binary_operations: int
    memory_ratio: float | None  # predicted, of a binary layer
    predicted_speed: float | None  # of a layer with binary inputs too; a count of operations, not a time
    receptive_field: PerAxis
    exact: bool
    rule: str


class CostDocument(TypedDict):
    """One network."""

    network: str
    input: list[int] | list[list[int]]  # of one sample; a list of lists for several inputs
    parameters: int
    buffers: int
    macs: int
    flops: int
    other_operations: int
    activations: int
    peak_activations: int
    parameter_bits: int  # 1 for each sign of a binary layer, 32 for all other numbers
    bits_per_parameter: float | None
    binary_operations: int  # products of signs and signs, among the MACs
    bytes: dict[str, int]  # bits of each number -> size of the file
    energy_joules: list[float]
    receptive_field: FieldDocument | None
    receptive_fields: list[FieldDocument]
    device: str
    without_rule: list[str]
    layers: list[LayerDocument]


class ComparedDocument(CostDocument):
    """One network of several."""

    ratios_to_first: dict[str, float | None]


class LayerTrainingDocument(TypedDict):
    """One layer in an update, without the layers inside."""

    path: str
    type: str
    forward_macs: int
    input_gradient_macs: int
    weight_gradient_macs: int
    kept_bytes: int
    moved_bytes: int


class TrainingDocument(TypedDict):
    """One update of one network: all figures are those of a whole batch."""

    batch: int
    learned_parameters: int
    macs: int  # of the forward and of the backward pass
    forward_macs: int
    backward_macs: int
    input_gradient_macs: int
    weight_gradient_macs: int
    kept_bytes: int
    moved_bytes: int
    device: str
    without_rule: list[str]
    layers: list[LayerTrainingDocument]


def training_document(one: "TrainingCost") -> TrainingDocument:
    """The document of one update."""
    return {
        "batch": one.batch,
        "learned_parameters": one.learned,
        "macs": one.macs,
        "forward_macs": one.forward_macs,
        "backward_macs": one.backward_macs,
        "input_gradient_macs": one.input_gradient_macs,
        "weight_gradient_macs": one.weight_gradient_macs,
        "kept_bytes": one.kept_bytes,
        "moved_bytes": one.moved_bytes,
        "device": one.device,
        "without_rule": list(one.without_rule),
        "layers": [_layer_training(layer) for layer in one.layers],
    }


def _layer_training(layer: "LayerTraining") -> LayerTrainingDocument:
    return {
        "path": layer.path,
        "type": layer.type,
        "forward_macs": layer.forward_macs,
        "input_gradient_macs": layer.input_gradient_macs,
        "weight_gradient_macs": layer.weight_gradient_macs,
        "kept_bytes": layer.kept_bytes,
        "moved_bytes": layer.moved_bytes,
    }


def comparison_documents(several: "Sequence[Priced]") -> list[ComparedDocument]:
    """The documents of several networks, each with its ratios to the first."""
    first = several[0].cost
    return [{**document(one), "ratios_to_first": _ratios(one.cost, first)} for one in several]


def _ratios(cost: "Cost", first: "Cost") -> dict[str, float | None]:
    """None where the first network has none."""
    wholes: dict[str, int] = {name: getattr(first, name) for name in COMPARED}
    return {name: getattr(cost, name) / whole if whole else None for name, whole in wholes.items()}


def document(priced: "Priced") -> CostDocument:
    """The document of one network."""
    spent = priced.cost
    return {
        "network": priced.name,
        "input": list(priced.inputs[0]) if len(priced.inputs) == 1 else [list(s) for s in priced.inputs],
        "parameters": spent.parameters,
        "buffers": spent.buffers,
        "macs": spent.macs,
        "flops": spent.flops,
        "other_operations": spent.other_operations,
        "activations": spent.activations,
        "peak_activations": spent.peak_activations,
        "parameter_bits": spent.parameter_bits,
        "bits_per_parameter": spent.parameter_bits / spent.parameters if spent.parameters else None,
        "binary_operations": spent.binary_operations,
        "bytes": {str(bits): spent.file_bytes(bits) for bits in BITS},
        "energy_joules": list(energy(spent)),
        "receptive_field": None if spent.receptive_field is None else _field(spent.receptive_field),
        "receptive_fields": [_field(seen) for seen in spent.receptive_fields],
        "device": spent.device,
        "without_rule": list(spent.without_rule),
        "layers": [_layer(layer) for layer in spent.layers],
    }


def _field(field: "ReceptiveField") -> FieldDocument:
    return {
        "size": _one(field.size),
        "seen": _one(field.seen),
        "stride": _one(field.stride),
        "start": _one(field.start),
        "exact": field.exact,
        "layer": field.path,
        "input": field.input,
    }


def _one(numbers: Sequence[Number]) -> PerAxis:
    whole = [int(n) if n is not None and n == int(n) else n for n in numbers]
    return whole[0] if len(set(whole)) == 1 else whole


def _layer(layer: "Layer") -> LayerDocument:
    signs = layer.one_call.signs
    return {
        "path": layer.path,
        "type": layer.type,
        "output": list(layer.output[1:]),
        "parameters": layer.parameters,
        "buffers": layer.buffers,
        "macs": layer.macs,
        "other_operations": layer.other_operations,
        "activations": layer.activations,
        "calls": layer.calls,
        "parameter_bits": layer.parameter_bits,
        "binary_operations": layer.binary_operations,
        "memory_ratio": None if signs is None else signs.memory_ratio,
        "predicted_speed": None if signs is None else signs.predicted_speed,
        "receptive_field": _one([f.unbounded for f in layer.fields if f is not None] or [None]),
        "exact": all(f.exact for f in layer.fields if f is not None),
        "rule": layer.rule,
    }
