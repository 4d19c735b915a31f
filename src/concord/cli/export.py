"""``concord export``: one member, or the ensemble, as a file that other programs load.

Example:
    $ concord export runs/first --member noel2017_st --to st.onnx --script label.py
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from concord.cli import progress
from concord.cli.options import AllowCode, Json, MemberName, Run, print_json
from concord.consensus.names import ENSEMBLE


def add_to(app: typer.Typer) -> None:
    app.command(
        "export",
        help="One member or the ensemble as ONNX, torch.export or OpenVINO, which take uint8 pixels and are"
        " checked against concord predict, or as safetensors, which holds the weights. With ONNX comes a"
        " Python script that labels image files without concord.\n\n"
        "Example: concord export runs/first --member noel2017_st --to st.onnx --script label.py",
    )(export_command)


def export_command(
    run: Run,
    to: Annotated[
        Path, typer.Option(help="The file to write: .onnx, .pt2, .xml or .safetensors.", show_default=False)
    ],
    member: MemberName = ENSEMBLE,
    script: Annotated[
        Path | None,
        typer.Option(help="Write the script that labels image files with the ONNX file here."),
    ] = None,
    packed: Annotated[
        bool,
        typer.Option(
            "--packed", help="Binary weights as bits in a .safetensors file, which concord predict takes."
        ),
    ] = False,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated", help="Divide logits by the temperature that the run found on its validation part."
        ),
    ] = False,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    from concord.api.evaluate import export
    from concord.files.text import printable

    written = export(
        run,
        to,
        member=member,
        script=script,
        packed=packed,
        calibrated=calibrated,
        allow_code=allow_code or [],
        observer=progress.Quiet(),
    )
    if json_:
        print_json(written.to_dict())
        return
    steps = ", ".join(map(str, written.checked_steps))
    steps = f" with {steps} steps" if steps else ""
    far = f" within {written.largest_difference:.0e}" if written.largest_difference else ", bit for bit,"
    checked = (
        f"; equal to concord predict{far} for batches of"
        f" {', '.join(map(str, written.checked_batches))}{steps}"
        if written.largest_difference is not None
        else ""
    )
    # a script on standard output stands there alone: it may be sent into a file
    line = f"{printable(written.file)}: {written.member}, {written.bytes:,} bytes{checked}"
    print(line, file=sys.stderr if written.script and not script else None)
    if script:
        shown = printable(script)
        print(f"{shown}: run `python {shown} photo.jpg ...` (needs onnxruntime, pillow and numpy)")
    elif written.script:
        beside = printable(to.name)
        about = f"Labels without concord: save this script beside {beside}, or use --script label.py"
        print(about, file=sys.stderr, flush=True)
        print(written.script, end="")
