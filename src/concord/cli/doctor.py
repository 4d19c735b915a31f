"""``concord doctor``: whether this machine can train, and with what.

Example:
    $ concord doctor --json
"""

from typing import Any

import typer

from concord.cli.options import Json, print_json
from concord.errors import amount


def add_to(app: typer.Typer) -> None:
    app.command(
        "doctor",
        help="Check whether this machine can train; exit status 1 if it cannot.\n\nExample: concord doctor",
    )(doctor_command)


def doctor_command(json_: Json = False) -> None:
    from concord.runs.doctor import doctor

    found = doctor()
    if json_:
        print_json(found)
    else:
        _print(found)
    if not found["ok"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    from concord.runs.doctor import EXTRAS

    print(f"concord {found['concord']}, Python {found['python']}")
    for name, installed in found["versions"].items():
        print(f"  {name:14}{installed or 'missing'}")
    for name, there in found["extras"].items():
        cure = "" if there else f"not installed: pip install {' '.join(EXTRAS[name])}"
        print(f"  extra {name:8}{cure or 'installed'}")
    print(
        f"device {found['device']}, {found['processor']},"
        f" {amount(found['threads'], 'thread')} on {amount(found['cores'], 'core')}"
    )
    print(f"native bfloat16: {'yes' if found['bfloat16'] else 'no, training uses float32'}")
    native = found["native"]
    why = f" ({native['reason']})" if native["reason"] else ""
    print(f"kernel of binary layers: {native['path'] or 'none'} of {', '.join(native['runs'])}{why}")
    print(f"disk free here: {found['disk_free'] / 2**30:.1f} GiB")
    print("\n".join(found["problems"]) or "ready to train")
