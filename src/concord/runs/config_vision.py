"""The tables of a settings file that are about masks and boxes. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from concord.runs.section import Section, Text


class Segment(Section):
    """How masks are learned. ``border`` is w0 of the weight map of U-Net, 0 for none, ``sigma`` its width.

    ``objects`` is the class whose connected parts borders separate, and V_rand compares.
    """

    border: Annotated[float, Field(ge=0, le=1000)] = 0.0
    sigma: PositiveFloat = 5.0  # pixels
    objects: Text | None = None  # default: borders around class 1, no V_rand


class Detect(Section):
    """How boxes are learned and found."""

    # found by k-means in the boxes, as the network has them, or none: sides are learned without priors
    anchors: Literal["data", "network", "none"] = "data"
    scales: bool = False  # another size of the pictures every 10 batches
    direct: bool = True  # the middle of a box stays in its cell
    ignore: Annotated[float, Field(gt=0, le=1)] | None = (
        None  # IoU; default: .6 in version 2, .5 in version 3
    )
