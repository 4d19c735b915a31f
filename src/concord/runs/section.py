"""What every table of a configuration keeps to.

Unknown keys are refused with the nearest known one; types are strict, so that "0.1" is no number; NaN and
infinity are refused. Nothing here imports torch.
"""

from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


def _writable(given: object) -> object:
    try:
        str(given).encode()
    except UnicodeEncodeError:
        raise ValueError("a name that is not valid UTF-8 cannot be kept in a configuration") from None
    return given


Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(gt=0, le=10**9)]
Text = Annotated[str, Field(min_length=1), BeforeValidator(_writable)]


class _Door(ModelMetaclass):
    """Makes records in Python: what is refused is a UsageError, as it is in a settings file."""

    def __call__(cls, **settings: Any) -> Any:
        try:
            return super().__call__(**settings)
        except ValidationError as error:
            from concord.runs.toml import refusal  # which knows the whole configuration, made of these

            model = cast("type[BaseModel]", cls)
            raise refusal(error, model, settings, f"concord.{model.__name__}") from None


class Section(BaseModel, metaclass=_Door):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Headed(_Door):
    def __call__(cls, *first: Any, **settings: Any) -> Any:
        names = list(cast("type[BaseModel]", cls).model_fields)
        if len(first) > 1 or (first and names[0] in settings):
            raise TypeError(f"{cls.__name__} takes {names[0]} by place, and the rest by name")
        return super().__call__(**dict(zip(names, first, strict=False)), **settings)


class Headed(Section, metaclass=_Headed):
    """A table whose first key may be given by place: ``Member("st", network="noel2017_st")``."""

    if TYPE_CHECKING:

        def __init__(self, *first: Any, **settings: Any) -> None: ...
