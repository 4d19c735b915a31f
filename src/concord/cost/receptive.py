"""What one unit of the last layers sees of each input."""

from collections.abc import Iterator, Sequence

from concord.cost.field import Field
from concord.cost.local import input_of
from concord.cost.record import Layer, ReceptiveField


def receptive_fields(layers: Sequence[Layer]) -> Iterator[ReceptiveField]:
    """For each input, that of the last layer with as many axes of it as any."""
    last: dict[int, tuple[list[Field], Layer]] = {}
    for layer in layers:
        local_axes = [f for f in layer.fields if f is not None]
        for number in {input_of(f) for f in local_axes}:
            kept = [f for f in local_axes if input_of(f) == number]
            if number not in last or len(kept) >= len(last[number][0]):
                last[number] = kept, layer
    for number, (kept, layer) in sorted(last.items(), key=lambda item: item[0]):
        yield _receptive_field(number, kept, layer)


def _receptive_field(number: int, kept: Sequence[Field], last: Layer) -> ReceptiveField:
    """Where along one axis nothing but padding is read, no unit sees anything of the others either."""
    blind = any(f.size == 0 for f in kept)
    return ReceptiveField(
        number,
        last.path,
        last.type,
        tuple(f.unbounded for f in kept),
        tuple(0 if blind else f.size for f in kept),
        tuple(float(f.jump) for f in kept),
        tuple(f.start for f in kept),
        last.fields,
    )
