"""What every table of a configuration keeps to.

Unknown keys are refused with the nearest known one; types are strict, so that "0.1" is no number; NaN and
infinity are refused. Nothing here imports torch.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _writable(given: object) -> object:
    try:
        str(given).encode()
    except UnicodeEncodeError:
        raise ValueError("a name that is not valid UTF-8 cannot be kept in a configuration") from None
    return given


Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(gt=0, le=10**9)]
Text = Annotated[str, Field(min_length=1), BeforeValidator(_writable)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Headed(Section):
    """A table whose first key may be given by place: ``Member("st", network="noel2017_st")``."""

    def __init__(self, *first: Any, **settings: Any) -> None:
        names = list(type(self).model_fields)
        if len(first) > 1 or (first and names[0] in settings):
            raise TypeError(f"{type(self).__name__} takes {names[0]} by place, and the rest by name")
        super().__init__(**dict(zip(names, first, strict=False)), **settings)
