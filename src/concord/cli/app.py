"""The ``concord`` command: one module per verb; importing them imports no torch.

Errors that concord raises on purpose become one message on stderr and the exit status of their kind; with
--json stdout gets {"error": ..., "status": ...}. ``--debug`` anywhere on the line shows the traceback
instead.
"""

import json
import sys
from collections.abc import Sequence

import typer

from concord.cli import (
    attack,
    attend,
    baseline,
    bench,
    cost,
    data,
    doctor,
    evaluate,
    export,
    plain,
    report,
    resume,
    study,
    train,
    zoo,
)
from concord.errors import ConcordError, ResourceError, UsageError

app = typer.Typer(
    name="concord",
    help="Train small networks that behave like big ensembles, and see exactly what each network costs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    train,
    resume,
    evaluate,
    export,
    report,
    study,
    cost,
    zoo,
    data,
    doctor,
    bench,
    baseline,
    plain,
    attack,
):
    module.add_to(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb and leave with its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        app(arguments)
    except SystemExit as left:  # typer has told what is wrong with the line
        if left.code == UsageError.exit_status and "--json" in arguments:
            print(json.dumps({"error": "wrong use, see stderr", "status": left.code}))
        raise
    except ConcordError as error:
        if debug:
            raise
        sys.exit(_tell(error, "--json" in arguments))
    except KeyboardInterrupt:
        attend.tell("interrupted; nothing was being saved")
        sys.exit(130)
    except (MemoryError, RuntimeError) as error:
        if debug or not _out_of_memory(error):
            raise
        cure = "a smaller train.batch_size or data.size helps"
        sys.exit(
            _tell(
                ResourceError(
                    f"out of memory ({(str(error) or type(error).__name__).splitlines()[0]}); {cure}"
                ),
                "--json" in arguments,
            )
        )


def _tell(error: ConcordError, as_json: bool) -> int:
    attend.tell(str(error))
    if as_json:
        print(json.dumps({"error": str(error), "status": error.exit_status}))
    return error.exit_status


def _out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


if __name__ == "__main__":
    main()
