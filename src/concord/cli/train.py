"""``concord train``.

Example:
    $ concord train --members noel2017_st,noel2017_m --consensus kl --epochs 30 --out runs/first
"""

from pathlib import Path
from typing import Annotated

import typer

from concord.cli import complete, progress
from concord.cli.options import (
    NAMED_MEMBERS,
    AllowCode,
    Epochs,
    Json,
    Quiet,
    Settings,
    TrainingData,
    code_named,
    mark_pretrained,
    tables_of,
)
from concord.cli.score_text import report_result
from concord.consensus.names import NONE
from concord.errors import UsageError

TRAIN_HELP = (
    "Train members on data into a run folder.\n\n"
    "Example: concord train --data photos/ --members noel2017_st,resnet18 --consensus kl"
    " --epochs 30 --out runs/first\n\n"
    "--data takes digits (scikit-learn's, the default), a folder of class folders, IDX files, CIFAR-10's"
    " binary version or an .npz file. With --task segment images with masks, with detect images with boxes"
    " (VOC, YOLO or COCO); of sequences: a .csv or .jsonl file with one on each line, a"
    " folder of texts for each class, a text, or a made set such as parity. A member is a network of"
    " `concord zoo`, of torchvision or timm, or your"
    " own package.module:factory, optionally with a name: small=noel2017_st,big=noel2017_m."
)


TrainedMembers = Annotated[
    str | None,
    typer.Option(
        help=f"Networks, separated by commas; default: a pair that suits the data. {NAMED_MEMBERS}",
        autocompletion=complete.networks,
    ),
]
Pretrained = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MEMBER[=FILE]",
        help="Member that starts from the pretrained weights of its library, or from those of a file"
        " (safetensors or a torch state dict); may be repeated.",
    ),
]
ConsensusCost = Annotated[
    str | None,
    typer.Option(
        help="Cost between predictions: none (default), l2, sce, kl, ...", autocompletion=complete.costs
    ),
]
Weight = Annotated[
    float | None,
    typer.Option(
        help="Weight of the consensus cost (alpha); default of kl and sce_tf1: 1, rising linearly from 0;"
        " the other costs need one."
    ),
]
ConsensusEdges = Annotated[
    str | None,
    typer.Option(
        help="Which members learn from which: chain (default), all, ring, star, one_way, mean, ...",
        autocompletion=complete.edges,
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        help="classify (pictures, the default), segment (a class for each pixel), detect (boxes), or of"
        " sequences: sequence (a class for each), segments (a class for each step), language (the next"
        " character), ctc (labels without places).",
        autocompletion=complete.tasks,
    ),
]


def add_to(app: typer.Typer) -> None:
    app.command("train", help=TRAIN_HELP)(train_command)


def train_command(
    data: TrainingData = None,
    members: TrainedMembers = None,
    pretrained: Pretrained = None,
    consensus: ConsensusCost = None,
    weight: Weight = None,
    edges: ConsensusEdges = None,
    epochs: Epochs = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images or sequences per update; default: 64.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of initial weights, order of samples and dropout; default: 0.")
    ] = None,
    task: TaskName = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, ... or auto (default: cuda if there is one).")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; options override it.")] = None,
    set_: Settings = None,
    out: Annotated[Path, typer.Option(help="Run folder to create.")] = Path("runs/run"),
    allow_code: AllowCode = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    flags = [
        ("data.source", data),
        ("consensus.cost", consensus),
        ("consensus.weight", weight),
        ("consensus.edges", edges),
        ("train.epochs", epochs),
        ("train.batch_size", batch_size),
        ("train.seed", seed),
        ("train.device", device),
        ("train.task", task),
    ]
    tables = tables_of(config, members, flags, set_ or [])
    if weight and tables.get("consensus", {}).get("cost", NONE) == NONE:
        raise UsageError(f"--weight {weight:g} needs a cost between predictions, for example --consensus l2")
    tables.setdefault("members", [])
    mark_pretrained(tables["members"], pretrained or [])
    allowed = [*(allow_code or []), *code_named(tables, members)]
    from concord.api.train import train

    with progress.stop_flag() as stop, progress.training(quiet) as observer:
        result = train(tables, out, allow_code=allowed, observer=observer, stop=stop)
    report_result(result.to_dict(), json_)
