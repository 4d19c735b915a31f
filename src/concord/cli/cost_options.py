"""The options of ``concord cost``."""

from typing import Annotated

import typer

from concord.cli import complete

Networks = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORK...",
        help="Names from the zoo, torchvision or timm, or package.module:factory. "
        "Several networks are compared.",
        show_default=False,
        autocompletion=complete.networks,
    ),
]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SIZES",
        help="Size of one sample: 3x224x224 for numbers, ids:24 for 24 token ids. "
        "Repeat the option for a network with several inputs. Default: the usual input of the network.",
    ),
]
Classes = Annotated[
    int | None, typer.Option(min=1, help="Number of classes. Default: that of the network's paper.")
]
Depth = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of module levels to show; deeper layers are summed up. "
        "Default: all layers up to 60, else 1 level.",
    ),
]
Worked = Annotated[bool, typer.Option(help="Show the calculation for every layer, step by step.")]
Training = Annotated[
    bool,
    typer.Option("--training", help="Cost of an update instead: forward and backward pass of one batch."),
]
Measured = Annotated[
    bool,
    typer.Option(
        "--measured",
        help="Latency on this machine instead, for single samples and for a batch: median and spread.",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(min=1, help="Samples of a batch, for --training and --measured. Default: 64."),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of each engine, for --measured. Default: 1.")
]
Html = Annotated[str | None, typer.Option(metavar="FILE", help="Write the tables to one HTML file.")]
