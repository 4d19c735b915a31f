"""How every verb reads its command line: what is wrong with it is answered with what to type instead.

A setting that was typed as an option is answered with its ``--set``, a superfluous argument with how names
are separated. Nothing here imports torch.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from typer.core import TyperCommand, TyperGroup

from concord.cli.repeats import refuse_repeats
from concord.errors import UsageError, suggestion

# what other programs call an option or a setting of concord
OTHER_NAMES = {
    "alpha": "weight",
    "batch": "batch_size",
    "bs": "batch_size",
    "dataset": "data",
    "gpu": "device",
    "image_size": "size",
    "img_size": "size",
    "learning_rate": "lr",
    "loss": "consensus",
    "model": "members",
    "models": "members",
    "network": "members",
    "networks": "members",
    "num_epochs": "epochs",
    "num_workers": "workers",
    "output": "out",
    "wd": "weight_decay",
}
IMAGES, SIZE = "name the images after the run", "use --input 3x32x32, channels first"
OPERATIONS = "it belongs to an operation, such as `concord explain convolution`"
HINTS = {  # (verb, what was typed as an option) -> what to do
    **{("predict", name): IMAGES for name in ("data", "file", "files", "image", "images", "input")},
    **{
        ("explain network", name): OPERATIONS
        for name in (
            "input",
            "kernel",
            "stride",
            "padding",
            "dilation",
            "output_padding",
            "pointwise",
            "kind",
        )
    },
    **{("cost", name): SIZE for name in ("shape", "size", "resolution", "image_size", "img_size")},
}
EXPORTS = (".onnx", ".pt2", ".safetensors")
FLAG_VALUES = ("true", "false", "yes", "no", "on", "off", "1", "0")
RESUME = "resume"  # the verb whose settings are those of a run that exists


class _Flags:
    """A command whose help shows no type beside an option that takes no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        options: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for option in options:
            if getattr(option, "is_flag", False):
                option.metavar = ""
        return options


class Verb(_Flags, TyperCommand):
    """A verb of concord."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """UsageError, with what to type, for a line that the verb does not take."""
        typed = list(args)
        strict, ctx.allow_extra_args = not ctx.allow_extra_args and not ctx.resilient_parsing, True
        try:
            if strict:
                refuse_repeats(self.make_parser(ctx).parse_args(list(args))[2], typed)
            left = super().parse_args(ctx, args)
        except Exception as error:
            name = _name_of(ctx)
            if hasattr(error, "option_name") and hasattr(error, "possibilities"):
                _refuse_option(self, name, error.option_name, typed)
            if not hasattr(error, "format_message"):  # not an error of the command line
                raise
            example = _example(self) if not getattr(error, "message", "-") else ""
            raise UsageError(f"{_words(error, typed)}{example}; see `concord {name} --help`") from None
        if strict and ctx.args:
            _refuse_argument(self, _name_of(ctx), ctx.args[0], typed)
        return left


class Verbs(_Flags, TyperGroup):
    """A group of verbs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if not hasattr(error, "option_name"):  # the help of a group is an exception too
                raise
            about = f"no option {error.option_name}; options follow the verb"
            raise UsageError(f"{about}, see `{_line(ctx)} --help`") from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """UsageError that lists the verbs, for one that is not there."""
        verbs = self.list_commands(ctx)
        if args[0] not in verbs and not ctx.resilient_parsing:
            near = suggestion(args[0], verbs)
            raise UsageError(f"`{_line(ctx)}` has no verb {args[0]!r}{near}; there are: {', '.join(verbs)}")
        return super().resolve_command(ctx, args)


def _line(ctx: Any) -> str:
    """``concord data``: what was typed up to here."""
    return f"concord {_name_of(ctx)}".strip()


def _name_of(ctx: Any) -> str:
    """``data check``: the verb as it is typed after concord."""
    names = []
    while ctx.parent is not None:
        names.append(str(ctx.info_name))
        ctx = ctx.parent
    return " ".join(reversed(names))


def _words(error: Any, typed: Sequence[str]) -> str:
    """An error of typer in plain words: ``--epochs must be a whole number, got '1.5'``."""
    from concord.runs.phrases import plain

    names = getattr(getattr(error, "param", None), "opts", ())
    option = next((name for name in names if name.startswith("--")), None)
    message = plain(error.message or "")
    if option is None or not message.startswith("must "):
        text: str = error.format_message()
        file = next((word for word in typed if word.endswith(EXPORTS)), "")
        given = f": use --to {shlex.quote(file)}" if option == "--to" and file else ""
        return text.rstrip(".") + given
    value = _typed(option, typed)[1]
    return f"{option} {message}" + ("" if value is None else f", got {value!r}")


def _example(verb: Verb) -> str:
    """A whole line of the verb, from its help, for one that lacks something."""
    found = re.search(r"Example: (.+)", verb.help or "")
    return f", for example `{found[1]}`" if found else ""


def _refuse_option(verb: Verb, name: str, option: str, typed: Sequence[str]) -> NoReturn:
    """UsageError: the setting of that name, or the nearest option."""
    word, value = _typed(option, typed)
    key = word.strip("-").replace("-", "_").lower()
    key = OTHER_NAMES.get(key, key)
    same, options, settings = f"--{key.replace('_', '-')}", _options(verb), _settings(verb, name)
    if (name, key) in HINTS or (name, word.strip("-")) in HINTS:
        instead = f": {HINTS.get((name, key)) or HINTS[name, word.strip('-')]}"
    elif same in options:
        instead = f": use {same}"
    elif found := _places(settings, key):
        instead = f": use {_all_set(name, settings, found, value)}"
    elif near := suggestion(word, options):
        instead = near
    elif near := suggestion(key, [place.rpartition(".")[2] for place in settings]):
        nearest = _places(settings, near.split("'")[1])
        instead = f" (did you mean {_all_set(name, settings, nearest, value)}?)"
    elif found := _places(settings_of("train"), key):
        place = next((each for each in found if each.startswith(("train.", "data."))), found[0])
        instead = f": it is a setting of `concord train`, --set {place}=..."
    else:
        instead = ""
    raise UsageError(f"no option {word}{instead}; `concord {name} --help` lists the options")


def _typed(option: str, typed: Sequence[str]) -> tuple[str, str | None]:
    """An option as it was typed, and the value after it; ``-lr`` was read as ``-l``."""
    for place, text in enumerate(typed):
        word, equals, value = text.partition("=")
        if word == option or (word.startswith(option) and not option.startswith("--")):
            after = typed[place + 1] if place + 1 < len(typed) else "-"
            return word, value if equals else None if re.match(r"-(?!\d|\.)", after) else after
    return option, None


def _options(verb: Verb) -> list[str]:
    return [name for option in verb.params for name in option.opts if name.startswith("--")]


def _settings(verb: Verb, name: str) -> dict[str, bool]:
    """The keys that ``--set`` of this verb takes, each with whether it is true or false."""
    return settings_of(name) if "--set" in _options(verb) else {}


def settings_of(name: str) -> dict[str, bool]:
    """The keys of the settings of a verb, each with whether it is true or false."""
    from concord.runs import toml

    if name == "study":
        from concord.studies.settings import Study

        return {f"study.{key}": flag for key, flag in toml.places(Study)} | dict(toml.places())
    return {key: flag for key, flag in toml.places() if name != "baseline" or key.startswith("data.")}


def _places(settings: Iterable[str], name: str) -> list[str]:
    """The settings of that name, or of that whole path; of a table the key that chooses its kind."""
    found = [key for key in settings if f".{key}".endswith(f".{name}")]
    return found or [key for key in settings if key.endswith((f".{name}.kind", f".{name}.source"))]


def _all_set(verb: str, settings: Mapping[str, bool], places: Sequence[str], value: str | None) -> str:
    """``--set data.seed=3 or --set train.seed=3``."""
    return " or ".join(_set(verb, place, value or ("true" if settings[place] else "...")) for place in places)


def _set(verb: str, place: str, value: str) -> str:
    return f"--set {shlex.quote(f'{place}={value}')}" + (" --allow-changes" if verb == RESUME else "")


def _refuse_argument(verb: Verb, name: str, text: str, typed: Sequence[str]) -> NoReturn:
    """UsageError for an argument too many."""
    key, equals, value = text.partition("=")
    option, options, settings = f"--{key.replace('_', '-')}", _options(verb), _settings(verb, name)
    last, before = ["", "", *typed[: typed.index(text)]][-1], ["", "", *typed[: typed.index(text)]][-2]
    if equals and option in options:
        instead = f": use {option} {shlex.quote(value)}"
    elif equals and (found := _places(settings, key)):
        instead = f": use {_all_set(name, settings, found, value)}"
    elif before == "--members":
        instead = f": separate members by commas, --members {last},{text}"
    elif last in options and text.lower() in FLAG_VALUES:
        instead = f": {last} takes no value"
    elif "--data" in options and "--data" not in typed and (re.search(r"[/.]", text) or Path(text).exists()):
        instead = f": use --data {shlex.quote(text)}"
    elif "--members" in options and "--members" not in typed:
        instead = f": members are given with --members {shlex.quote(text)}, data with --data"
    else:
        instead = ""
    raise UsageError(f"unexpected argument {text!r}{instead}; see `concord {name} --help`")
