"""``concord explain convolution``, ``transposed``, ``pooling``, ``separable``: every step of small examples.

Example:
    $ concord explain transposed --input "1 2; 3 4" --kernel "1 2; 3 4"
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from concord.cli.grids import read_channels, read_grid, read_size
from concord.cli.options import Json, print_json
from concord.errors import UsageError

if TYPE_CHECKING:
    from concord.report.arithmetic_document import Worked

EXAMPLE = '--input "1 2; 3 4" --kernel "1 2; 3 4"'
Input = Annotated[
    str,
    typer.Option(
        "--input",
        metavar="ROWS",
        help='Numbers of the input, rows separated by ;, for example "1 2; 3 4".',
        show_default=False,
    ),
]
Kernel = Annotated[
    str,
    typer.Option(
        "--kernel", metavar="ROWS", help="Numbers of the kernel, as of the input.", show_default=False
    ),
]
Stride = Annotated[
    str, typer.Option("--stride", metavar="N", help="Stride; 2,1 is 2 down and 1 across, as of all sizes.")
]
Padding = Annotated[
    str, typer.Option("--padding", metavar="N", help="Rows and columns of zeros on every side.")
]
Dilation = Annotated[
    str,
    typer.Option(
        "--dilation", metavar="N", help="Distance of the numbers that neighbours in the kernel meet."
    ),
]


def add_to(verbs: typer.Typer) -> None:
    verbs.command(
        "convolution",
        help="Work out a convolution: every position, as networks compute it.\n\n"
        f"Example: concord explain convolution {EXAMPLE} --padding 1",
    )(convolution_command)
    verbs.command(
        "transposed",
        help="Work out a transposed convolution: inserted zeros, flipped kernel, every position.\n\n"
        f"Example: concord explain transposed {EXAMPLE} --stride 1",
    )(transposed_command)
    verbs.command(
        "pooling",
        help="Work out max or mean pooling: every window.\n\n"
        'Example: concord explain pooling --input "1 2 0; 3 4 1; 5 0 2" --size 2 --stride 1 --kind mean',
    )(pooling_command)
    verbs.command(
        "separable",
        help="Work out a separable convolution: each channel by itself, then each position by itself, and "
        "what that costs beside one convolution. Channels are separated by |.\n\n"
        'Example: concord explain separable --input "1 2; 3 4 | 0 1; 1 0" '
        '--kernel "1 0; 0 1 | 1 1; 1 1" --pointwise "1 2; 0 1; 1 0" --padding 1',
    )(separable_command)


def convolution_command(
    x: Input, kernel: Kernel, stride: Stride = "1", padding: Padding = "0", dilation: Dilation = "1",
    json_: Json = False,
) -> None:  # fmt: skip
    from concord.plain.worked_convolution import convolved

    with _refused():
        steps = convolved(
            read_grid("--input", x),
            read_grid("--kernel", kernel),
            stride=read_size("--stride", stride),
            padding=read_size("--padding", padding),
            dilation=read_size("--dilation", dilation),
        )
    _show(steps, json_)


def transposed_command(
    x: Input,
    kernel: Kernel,
    stride: Stride = "1",
    padding: Annotated[
        str, typer.Option(metavar="N", help="Rows and columns cut off from every side of the result.")
    ] = "0",
    output_padding: Annotated[
        str, typer.Option(metavar="N", help="Rows and columns added below and on the right.")
    ] = "0",
    dilation: Dilation = "1",
    json_: Json = False,
) -> None:
    from concord.plain.worked_transposed import transposed

    with _refused():
        steps = transposed(
            read_grid("--input", x),
            read_grid("--kernel", kernel),
            stride=read_size("--stride", stride),
            padding=read_size("--padding", padding),
            output_padding=read_size("--output-padding", output_padding),
            dilation=read_size("--dilation", dilation),
        )
    _show(steps, json_)


def pooling_command(
    x: Input,
    size: Annotated[str, typer.Option(metavar="N", help="Side of the window.")] = "2",
    kind: Annotated[str, typer.Option(metavar="KIND", help="max or mean.")] = "max",
    stride: Annotated[
        str | None, typer.Option(metavar="N", help="Stride. Default: the side of the window.")
    ] = None,
    padding: Padding = "0",
    json_: Json = False,
) -> None:
    from concord.plain.worked_pooling import pooled

    with _refused():
        steps = pooled(
            read_grid("--input", x),
            read_size("--size", size),
            kind=kind,
            stride=None if stride is None else read_size("--stride", stride),
            padding=read_size("--padding", padding),
        )
    _show(steps, json_)


def separable_command(
    x: Input,
    kernel: Kernel,
    pointwise: Annotated[
        str,
        typer.Option(
            metavar="ROWS", help="For each map a row with a weight for each channel.", show_default=False
        ),
    ],
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    json_: Json = False,
) -> None:
    from concord.plain.worked_separable import separable

    with _refused():
        steps = separable(
            read_channels("--input", x),
            read_channels("--kernel", kernel),
            read_grid("--pointwise", pointwise),
            stride=read_size("--stride", stride),
            padding=read_size("--padding", padding),
            dilation=read_size("--dilation", dilation),
        )
    _show(steps, json_)


@contextmanager
def _refused() -> Iterator[None]:
    """What plain Python refuses as a fault of the command line."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


def _show(steps: "Worked", as_json: bool) -> None:
    from concord.report.arithmetic import arithmetic_lines
    from concord.report.arithmetic_document import arithmetic_document

    if as_json:
        print_json(arithmetic_document(steps))
    else:
        print("\n".join(arithmetic_lines(steps)))
