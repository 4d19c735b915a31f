"""``concord train``.

Example:
    $ concord train --members noel2017_st,noel2017_m --consensus l2 --weight 0.01 --epochs 30 --out runs/first
"""

from pathlib import Path
from typing import Annotated

import typer

from concord.cli import progress
from concord.cli.options import (
    AllowCode,
    Json,
    Members,
    code_named,
    mark_pretrained,
    tables_of,
)
from concord.cli.score_text import report_result

TRAIN_HELP = (
    "Train members on data and write a run folder.\n\n"
    "Example: concord train --data photos/ --members noel2017_st,resnet18 --consensus l2 --weight 0.01"
    " --epochs 30 --out runs/first\n\n"
    "--data takes digits (scikit-learn's, the default), a folder of class folders, IDX files, CIFAR-10's"
    " binary version or an .npz file. A member is a network of `concord zoo`, of torchvision or timm, or your"
    " own package.module:factory, optionally with a name: small=noel2017_st,big=noel2017_m."
)


def add_to(app: typer.Typer) -> None:
    app.command("train", help=TRAIN_HELP)(train_command)


def train_command(
    data: Annotated[str | None, typer.Option(help="Where the samples come from.")] = None,
    members: Members = None,
    pretrained: Annotated[
        list[str] | None,
        typer.Option(metavar="MEMBER", help="Start this member from its library's weights; may be repeated."),
    ] = None,
    consensus: Annotated[str | None, typer.Option(help="Cost between predictions: l2, sce, kl, ...")] = None,
    weight: Annotated[float | None, typer.Option(help="Weight of that cost (alpha).")] = None,
    edges: Annotated[str | None, typer.Option(help="chain, all, ring, star, one_way, mean, ...")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often every image is seen.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images of one update.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of starts, order, dropout.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file; options win over it.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting.")] = None,
    out: Annotated[Path, typer.Option(help="The run folder to make.")] = Path("runs/run"),
    allow_code: AllowCode = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
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
    ]
    tables = tables_of(config, members, flags, set_ or [])
    tables.setdefault("members", [])
    mark_pretrained(tables["members"], pretrained or [])
    allowed = [*(allow_code or []), *code_named(tables, members)]
    from concord.api.train import train

    with progress.stop_flag() as stop, progress.training(quiet) as observer:
        result = train(tables, out, allow_code=allowed, observer=observer, stop=stop)
    report_result(result.to_dict(), json_)
