"""The ``concord`` command: one module per verb; importing them imports no torch.

Errors that concord raises on purpose become one message on stderr and the exit status of their kind; with
--json stdout gets {"error": ..., "status": ...}. So do those of the system that nobody foresaw, by their
number. ``--debug`` anywhere on the line shows the traceback instead.
"""

import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from importlib.metadata import version
from typing import Annotated, TextIO

import typer

from concord.cli import (
    anchors,
    attack,
    baseline,
    bench,
    corrupt,
    cost,
    data,
    doctor,
    evaluate,
    explain,
    export,
    plain,
    predict,
    progress,
    report,
    resume,
    sample,
    study,
    train,
    zoo,
)
from concord.cli.options import nothing_but_json
from concord.cli.verb import Verb, Verbs
from concord.errors import ConcordError, DataError, ResourceError, UsageError, suggestion

# numbers of the system's errors that are about disk and memory
RESOURCES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOMEM)

app = typer.Typer(
    name="concord",
    cls=Verbs,
    help="Train small networks that behave like big ensembles, and see exactly what each network costs.\n\n"
    "An error is one message; --debug anywhere on the line shows its traceback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    train,
    resume,
    evaluate,
    predict,
    sample,
    export,
    report,
    study,
    cost,
    explain,
    zoo,
    data,
    anchors,
    doctor,
    bench,
    baseline,
    plain,
    attack,
    corrupt,
):
    module.add_to(app)
for group in (app, *(each.typer_instance for each in app.registered_groups)):
    assert group is not None
    if not isinstance(group.info.cls, type):  # typer's mark of what was not given
        group.info.cls = Verbs
    for command in group.registered_commands:
        command.cls = Verb


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"concord {version('concord')}")
        raise typer.Exit


@app.callback()
def before_every_verb(
    version_: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Options of ``concord`` itself."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb and leave with its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    as_json = "--json" in arguments and not {"--help", "-h"} & set(arguments)
    arguments = [a for a in arguments if a != "--debug"]
    try:
        _run(arguments, as_json)
    except SystemExit as left:  # typer has told what is wrong with the line
        if left.code == UsageError.exit_status and as_json:
            print(json.dumps({"error": "usage error: the message is on stderr", "status": left.code}))
        raise
    except KeyboardInterrupt:
        progress.tell("interrupted; nothing was being saved")
        sys.exit(130)
    except Exception as error:
        known = _foreseen(error)
        if known is None:
            raise
        if debug:
            traceback.print_exception(error)
        sys.exit(_tell(known, as_json))


def _run(arguments: list[str], as_json: bool) -> None:
    """One verb and its output: that it cannot be written is noticed while it can still be told."""
    stdout = sys.stdout
    with nothing_but_json() if as_json else nullcontext():
        shown = sys.stdout
        try:
            _check_verb(arguments)
            app(arguments)
        finally:
            if sys.stdout is not shown:  # typer's way to go on when nobody reads any more: with status 1
                sys.exit(ResourceError.exit_status)
            error = _flushed(stdout)
            if error and error.errno == errno.EPIPE:
                sys.exit(ResourceError.exit_status)
            if error:
                raise ResourceError(f"standard output: cannot write ({error.strerror})") from error


def _check_verb(arguments: list[str]) -> None:
    """UsageError for a verb that does not exist: in half the time of typer's, and with --json as JSON."""
    commands = [command.name or "" for command in app.registered_commands]
    verbs = [*commands, *(group.name or "" for group in app.registered_groups)]
    verb = arguments[0] if arguments else "-"
    if not verb.startswith("-") and verb not in verbs:
        asked = f" (did you mean `concord --{verb}`?)" if verb in ("help", "version") else ""
        raise UsageError(f"no verb {verb!r}{asked or suggestion(verb, verbs)}; `concord --help` lists them")


def _flushed(stream: TextIO | None) -> OSError | None:
    """Flush the stream; what it does not take goes nowhere, or it would fail once more when Python ends.

    Python has no stream where the process began with the file closed.
    """
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def _foreseen(error: Exception) -> ConcordError | None:
    """The error as concord tells it, or None for a fault of concord itself."""
    if isinstance(error, ConcordError):
        return error
    if _out_of_memory(error):
        cure = "a smaller train.batch_size or data.size helps"
        first = (str(error) or type(error).__name__).splitlines()[0]
        return ResourceError(f"out of memory ({first}); {cure}")
    if _too_large(error):
        first = (str(error) or type(error).__name__).splitlines()[0]
        return UsageError(f"a number is too large to compute with ({first}); give a smaller one")
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of Path.resolve
        return DataError(str(error))
    if not isinstance(error, OSError):
        return None
    reason = error.strerror or str(error) or type(error).__name__
    place = "" if error.filename is None else f"{error.filename}: "
    if error.errno in RESOURCES:
        cure = "make it writable" if error.errno == errno.EROFS else "make room on the disk or in memory"
        return ResourceError(f"{place}{reason}; {cure} and repeat the command")
    return DataError(f"{place}cannot be read or used ({reason}); --debug shows where it was needed")


def _tell(error: ConcordError, as_json: bool) -> int:
    with suppress(OSError):  # the error may be that nothing can be written
        progress.tell(str(error))
    if as_json:
        with suppress(OSError):
            print(json.dumps({"error": str(error), "status": error.exit_status}))
    _flushed(sys.stderr)
    _flushed(sys.stdout)
    return error.exit_status


def _out_of_memory(error: Exception) -> bool:
    text = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _too_large(error: Exception) -> bool:
    """Whether a float or an int64 cannot hold what was asked for."""
    torchs = isinstance(error, RuntimeError | ValueError | TypeError) and "overflow" in str(error).lower()
    return isinstance(error, OverflowError) or torchs


if __name__ == "__main__":
    main()
