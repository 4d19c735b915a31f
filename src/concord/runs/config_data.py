"""The tables of a settings file that are about data: where samples come from, and how pictures change.

Nothing here imports torch.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from concord.runs.section import Count, Fraction, Section, Text

# a fraction that is cut off, or names of what is held out, such as "24-29"
Share = Annotated[
    Annotated[Fraction, Tag("fraction")] | Annotated[Text, Tag("names")],
    Discriminator(lambda given: "names" if isinstance(given, str) else "fraction"),
]
Value = Annotated[int, Field(ge=0)]
Code = Annotated[  # of a class in masks: a value, or a colour
    Annotated[Value, Tag("value")]
    | Annotated[tuple[Value, Value, Value], Field(strict=False), Tag("colour")],
    Discriminator(lambda given: "colour" if isinstance(given, list | tuple) else "value"),
]


class Data(Section):
    """Where the samples come from and how they are split."""

    source: Text = "digits"
    size: Count | None = None
    valid: Share = 0.1
    test: Share = 0.2
    seed: int = 0
    joint: bool = False  # pool train and test before splitting, as Noel 2017 did
    drop_duplicates: bool = False
    bad_images: Literal["error", "skip"] = "error"
    limit: Count | None = None  # most images to train on
    keep: Literal["auto", "memory", "disk", "decode"] = "auto"  # where the pixels of image files are
    largest_image: Annotated[float, Field(gt=0, le=178)] = 50.0  # megapixels; larger ones are not decoded
    workers: Annotated[int, Field(ge=0, le=256)] | None = None  # processes that make batches
    window: Count | None = None  # characters of a text in one sample: 128
    classes: dict[str, Code] | None = None  # of masks: name -> value or [r, g, b]

    @property
    def shares(self) -> tuple[float, float]:
        """The fractions for validation and test, of data whose samples have no names to hold out."""
        assert not isinstance(self.valid, str)  # see runs.vision.settings.fault
        assert not isinstance(self.test, str)
        return self.valid, self.test

    def of_pictures(self) -> dict[str, Any]:
        """The arguments of ``load_data``."""
        return self.model_dump(exclude={"window", "classes"})


Strength = Annotated[float, Field(ge=0, le=1000)]


def _mixing(alpha: float) -> float:
    if alpha and not 1e-3 <= alpha <= 1e3:
        raise ValueError("must be 0, or from 0.001 to 1000")
    return alpha


Alpha = Annotated[float, AfterValidator(_mixing)]
Pixels = Annotated[int, Field(ge=0, le=4096)]

ELSEWHERE = ("deform", "turn", "jitter", "mosaic")  # changes of masks and boxes alone


class Augment(Section):
    """Random changes of training images."""

    flip: bool = False
    shift: Pixels = 0
    crop: Pixels = 0
    resized_crop: Annotated[float, Field(ge=0, le=1)] = 0.0  # smallest area of a window that is scaled up
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability of a black window
    mixup: Alpha = 0.0  # labels become shares
    cutmix: Alpha = 0.0
    policy: Literal["trivial", "rand"] | None = None
    operations: Count | None = None  # of policy "rand": 2
    magnitude: Annotated[int, Field(ge=0, le=30)] | None = None  # of policy "rand": 9
    deform: Annotated[float, Field(ge=0, le=1000)] | None = None  # masks: pixels that 3x3 points move by
    turn: bool | None = None  # masks: by quarters of a circle
    jitter: Annotated[float, Field(ge=0, le=0.4)] | None = None  # boxes: how far each edge moves, of the side
    mosaic: Annotated[float, Field(ge=0, le=1)] | None = None  # boxes: probability of four pictures in one

    @property
    def changes(self) -> bool:
        """Whether training images differ from those in the files."""
        return any(value not in (None, 0) for value in self.model_dump().values())

    @model_validator(mode="after")
    def fits(self) -> "Augment":
        if self.policy != "rand" and (self.operations is not None or self.magnitude is not None):
            raise ValueError('operations and magnitude belong to policy = "rand"')
        return self
