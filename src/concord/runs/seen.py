"""What one unit of a network sees of a picture: the region that can reach it, and the gradient that does.

The region follows from the layers (``cost.field``) and holds for any weights. The gradient is that of the
unit's outputs, all channels added up, with the weights as they start: it shows how much of the region counts.

Source: W. Luo, Y. Li, R. Urtasun, R. Zemel, "Understanding the effective receptive field in deep
convolutional neural networks", 2016, arXiv:1701.04128, section 2.

Departures: one start of the weights and one picture in place of averages over many.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from concord.cost.field import Field
from concord.cost.record import Layer, Priced, times
from concord.errors import UsageError, suggestion
from concord.runs.cost_inputs import Input, usual_inputs
from concord.runs.costs import cost_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from concord.data.images.decode import Mode

Interval = tuple[int, int]  # first and last, both included
MODES: "dict[int, Mode]" = {1: "L", 3: "RGB"}


class AxisDocument(TypedDict):
    whole: list[int] | None
    region: list[int] | None
    gradient: list[int] | None
    exact: bool


class SeenDocument(TypedDict):
    """What ``concord explain field --json`` prints, but for the page."""

    network: str
    layer: str
    type: str
    map: list[int]
    unit: list[int]
    picture: list[int]
    rows: AxisDocument
    columns: AxisDocument


@dataclass(frozen=True)
class Axis:
    """What a unit sees along the rows or the columns of the picture; None where it sees nothing."""

    whole: Interval | None  # as if the picture did not end
    region: Interval | None  # what of it lies on the picture
    gradient: Interval | None  # where the gradient is not zero
    exact: bool  # else region and whole are bounds

    def to_dict(self) -> AxisDocument:
        whole, region, gradient = (ends and list(ends) for ends in (self.whole, self.region, self.gradient))
        return {"whole": whole, "region": region, "gradient": gradient, "exact": self.exact}


@dataclass(frozen=True, eq=False)
class Seen:
    """A unit of a map of a network, and the picture that it looks at."""

    network: str
    layer: str  # path of the module that makes the map; "" is the network itself
    type: str  # of that module, or its operation
    map: tuple[int, int]  # height and width
    unit: tuple[int, int]  # row and column, counted from 0
    rows: Axis
    columns: Axis
    picture: "Tensor" = field(repr=False)  # (C, H, W) uint8, as the network gets it before normalisation
    gradient: "Tensor" = field(repr=False)  # (H, W), the largest magnitude of all channels

    def to_dict(self) -> SeenDocument:
        return {
            "network": self.network,
            "layer": self.layer,
            "type": self.type,
            "map": list(self.map),
            "unit": list(self.unit),
            "picture": list(self.picture.shape[1:]),
            "rows": self.rows.to_dict(),
            "columns": self.columns.to_dict(),
        }


def seen_by_unit(
    network: str, image: str | Path, unit: tuple[int, int], *, layer: str | None = None, seed: int = 0
) -> Seen:
    """What the unit (row, column) of the last map of a network sees of an image, or of the map of ``layer``.

    The image is scaled to the size for which the network was made, the middle of its longer side kept, and
    the weights start from ``seed``.

    Raises UsageError for an unknown network, one that does not take a picture, a layer without a map, and a
    unit outside of it; DataError for a file that is not an image.
    """
    from concord.data.images.decode import open_image

    one = _picture_of(network)
    channels, height, width = one.shape
    priced = cost_of(network)
    chosen = map_of(priced, layer)
    _check_unit(unit, chosen, priced.name)
    pixels = open_image(Path(image), mode=MODES[channels], size=(height, width))
    return look(_started(network, channels, seed), priced.name, chosen, pixels, unit)


def look(network: "nn.Module", name: str, chosen: Layer, pixels: "Tensor", unit: tuple[int, int]) -> Seen:
    """What the unit of the map of a layer sees of a picture; the module is put into evaluation.

    Shape: pixels (C, H, W) uint8
    """
    from concord.runs.seen_gradient import gradient_of_unit

    magnitude = gradient_of_unit(network.eval(), chosen.path, chosen.output, pixels, unit)
    rows, columns = (
        _axis(f, place, magnitude.amax(1 - axis))
        for axis, (f, place) in enumerate(zip(_local(chosen), unit, strict=True))
    )
    height, width = chosen.output[-2:]
    return Seen(name, chosen.path, chosen.type, (height, width), unit, rows, columns, pixels, magnitude)


def map_of(priced: Priced, layer: str | None = None) -> Layer:
    """The last map whose units see a part of the picture, or the last one that this layer makes."""
    maps = [each for each in priced.layers if len(_local(each)) == 2]
    if not maps:
        raise UsageError(f"{priced.name}: none of its layers has units that see a part of a picture")
    if layer is None:
        return maps[-1]
    inside = [each for each in maps if f"{each.path}.".startswith(f"{layer}.")]
    if not inside:
        near = suggestion(layer, [each.path for each in maps])
        raise UsageError(
            f"{priced.name}: no layer {layer!r} has a map{near}; "
            f"`concord cost {priced.name}` lists the layers"
        )
    return inside[-1]


def _local(layer: Layer) -> list[Field]:
    """The axes along which units see a part of the picture, of a map with a batch and channels."""
    return [axis for axis in layer.fields if axis is not None] if len(layer.output) == 4 else []


def _axis(seen: Field, unit: int, magnitude: "Tensor") -> Axis:
    whole, places = seen.at(unit), magnitude.nonzero()[:, 0].tolist()
    return Axis(
        whole if whole[0] <= whole[1] else None,
        seen.region(unit),
        (places[0], places[-1]) if places else None,
        seen.all_phases and (seen.tight or seen.begin <= unit <= seen.end),
    )


def _picture_of(network: str) -> Input:
    """The one picture that the network takes."""
    if ":" in network:
        raise UsageError(f"{network}: networks of the zoo, torchvision and timm are explained")
    inputs: Sequence[Input] = usual_inputs(network)
    one = inputs[0]
    if len(inputs) > 1 or one.ids or len(one.shape) != 3 or one.shape[0] not in MODES:
        given = " and ".join(map(str, inputs))
        raise UsageError(
            f"{network} takes {given}; only networks of one grey or RGB picture see a field of it"
        )
    return one


def _check_unit(unit: tuple[int, int], chosen: Layer, name: str) -> None:
    height, width = chosen.output[-2:]
    if not (0 <= unit[0] < height and 0 <= unit[1] < width):
        raise UsageError(
            f"{name}: unit {unit[0]},{unit[1]} is outside of the map of {times((height, width))}; "
            f"rows are 0 to {height - 1}, columns 0 to {width - 1}"
        )


def _started(network: str, channels: int, seed: int) -> "nn.Module":
    import torch

    from concord.runs.cost_inputs import usual_classes
    from concord.training.seeding import seeded
    from concord.zoo.build import build

    with seeded(seed, torch.device("cpu")):
        return build(network, channels=channels, classes=usual_classes(network)).requires_grad_(False)
