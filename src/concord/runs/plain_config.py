"""The configuration file of ``concord plain train``, in the words of the USTH CNN.

Departures from its ``file_config.txt``: TOML; stride and padding of the convolution; the size of the second
dense layer is ``num_classes`` (the source gives both, and they disagree: 2 and 3).
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveFloat

from concord.errors import UsageError
from concord.plain.cnn import Shape
from concord.runs import toml
from concord.runs.section import Section

Side = Annotated[int, Field(gt=0, le=1024)]
Size = Annotated[int, Field(gt=0, le=1024)]


class InputShape(Section):
    h: Side = 120
    w: Side = 120
    c: Annotated[int, Field(ge=1, le=3)] = 3


class Conv(Section):
    filter_size: Size = 3
    num_filters: Size = 4
    stride: Size = 1
    padding: Annotated[int, Field(ge=0, le=1024)] = 0


class MaxPool(Section):
    pooling_size: Size = 2


class Dense1(Section):
    output_size: Size = 12


class PlainConfig(Section):
    """The network of the USTH CNN and how it is trained; what is left out is as in the source."""

    input_shape: InputShape = InputShape()
    conv: Conv = Conv()
    maxpool: MaxPool = MaxPool()
    dense1: Dense1 = Dense1()
    num_classes: Annotated[int, Field(ge=2, le=1024)] = 3
    epochs: Annotated[int, Field(gt=0, le=10**6)] = 12
    learning_rate: PositiveFloat = 0.003
    seed: Annotated[int, Field(ge=0)] = 0  # random.Random takes -1 for 1

    def shape(self) -> Shape:
        """The sizes as the room ``plain`` takes them."""
        size = self.input_shape
        return Shape(
            (size.h, size.w, size.c),
            self.conv.filter_size,
            self.conv.num_filters,
            self.conv.stride,
            self.conv.padding,
            self.maxpool.pooling_size,
            self.dense1.output_size,
            self.num_classes,
        )


def read(path: Path) -> PlainConfig:
    """The checked configuration; UsageError that names the file and every fault in it."""
    tables = toml.read(path)
    config = toml.checked(PlainConfig, _without_dense2(tables, path), str(path))
    if config.input_shape.c == 2:
        raise UsageError(f"{path}:\n  input_shape.c: expected 3 (colour) or 1 (grey), got 2")
    return config


def _without_dense2(tables: dict[str, Any], path: Path) -> dict[str, Any]:
    """The source's file names dense2.output_size too: taken when it says the same as num_classes."""
    rest = {key: value for key, value in tables.items() if key != "dense2"}
    if "dense2" not in tables:
        return rest
    classes = tables.get("num_classes", 3)
    if tables["dense2"] != {"output_size": classes}:
        raise UsageError(
            f"{path}:\n  dense2: the second dense layer has one output for each class,"
            f" num_classes = {classes}: leave dense2 out (the USTH CNN gives 2 in one place and 3 in another)"
        )
    return rest
