"""The document of ``concord cost --json``, whose keys other programs rely on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concord.cost.record import Cost, Layer, Priced, ReceptiveField

COMPARED = ("parameters", "macs", "other_operations", "peak_activations")


def as_documents(several: "Sequence[Priced]") -> list[dict[str, Any]]:
    """The documents of several networks, each with its ratios to the first."""
    first = several[0].cost
    return [{**as_json(one), "ratios_to_first": _ratios(one.cost, first)} for one in several]


def _ratios(cost: "Cost", first: "Cost") -> dict[str, float | None]:
    """None where the first has none."""
    wholes = {name: getattr(first, name) for name in COMPARED}
    return {name: getattr(cost, name) / whole if whole else None for name, whole in wholes.items()}


def as_json(priced: "Priced") -> dict[str, Any]:
    """The document of --json for one network."""
    from concord.cost.energy import energy

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
        "bytes": {str(bits): spent.file_bytes(bits) for bits in (32, 16, 8, 1)},
        "energy_joules": list(energy(spent)),
        "receptive_field": _field_json(spent.receptive_field),
        "receptive_fields": [_field_json(seen) for seen in spent.receptive_fields],
        "device": spent.device,
        "without_rule": list(spent.without_rule),
        "layers": [_layer_json(layer) for layer in spent.layers],
    }


def _field_json(field: "ReceptiveField | None") -> dict[str, Any] | None:
    """One number where all axes agree, a list where they differ."""
    if field is None:
        return None
    return {
        "size": _one(field.size),
        "stride": _one(field.stride),
        "start": _one(field.start),
        "exact": field.exact,
        "layer": field.path,
        "input": field.input,
    }


def _one(numbers: Sequence[Any]) -> Any:
    whole = [int(n) if n is not None and n == int(n) else n for n in numbers]
    return whole[0] if len(set(whole)) == 1 else whole


def _layer_json(layer: "Layer") -> dict[str, Any]:
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
        "receptive_field": _one([f.size for f in layer.fields if f is not None] or [None]),
        "exact": all(f.exact for f in layer.fields if f is not None),
        "rule": layer.rule,
    }
