"""``concord export``: one member, or the ensemble, as a file that other programs load.

Example:
    $ concord export runs/first --member noel2017_st --to st.onnx
"""

from pathlib import Path
from typing import Annotated

import typer

from concord.cli import progress
from concord.cli.options import AllowCode, Json, Run, print_json


def add_to(app: typer.Typer) -> None:
    app.command(
        "export",
        help="One member or the ensemble as ONNX (checked against ONNX Runtime), torch.export or"
        " safetensors.\n\nExample: concord export runs/first --member noel2017_st --to st.onnx",
    )(export_command)


def export_command(
    run: Run,
    to: Annotated[
        Path, typer.Option(help="The file to write: .onnx, .safetensors or .pt2.", show_default=False)
    ],
    member: Annotated[str, typer.Option(help="A member's name, or ensemble.")] = "ensemble",
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    from concord.api.evaluate import export
    from concord.runs.export import BATCHES

    written = export(run, to, member=member, allow_code=allow_code or [], observer=progress.Quiet())
    if json_:
        print_json(written)
        return
    checked = (
        f"; equal to PyTorch within {written['largest_difference']:.0e} in ONNX Runtime for batches of"
        f" {', '.join(map(str, BATCHES))}"
        if "largest_difference" in written
        else ""
    )
    print(f"{written['file']}: {written['member']}, {written['bytes']:,} bytes{checked}")
