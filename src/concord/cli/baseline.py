"""``concord baseline``: what a network has to beat, in one table with the network.

Example:
    $ concord baseline svm_rbf knn linear --data data/mnist --run runs/first
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from concord.cli import complete, progress
from concord.cli.options import AllowCode, Json, print_json
from concord.cli.solver import exit_interrupted, interruptible
from concord.errors import UsageError

if TYPE_CHECKING:
    from concord.runs.comparison import Comparison


BaselineNames = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="svm_linear, svm_rbf, svm_poly (svm: these three), perceptron, linear, logistic, "
        "pca_quadratic, knn, mlp; all.",
        show_default=False,
    ),
]
RunsBeside = Annotated[
    list[Path] | None,
    typer.Option(
        help="Put the members of this run beside them; may be repeated.", autocompletion=complete.runs
    ),
]
ChooseSettings = Annotated[
    bool, typer.Option("--choose", help="Choose settings on a validation split of the training images.")
]
ImagesPerTry = Annotated[int, typer.Option(min=2, help="Most images to train on for each try of --choose.")]
DataSetting = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting of data.*.")
]


def add_to(app: typer.Typer) -> None:
    app.command(
        "baseline",
        help="SVM, perceptron, linear, quadratic, nearest neighbours and MLP on any data, in one table with"
        " the networks of a run: error with interval, seconds, numbers kept, MACs.\n\n"
        "Example: concord baseline svm_rbf knn linear --data data/mnist --run runs/first",
    )(baseline_command)


def baseline_command(
    names: BaselineNames,
    data: Annotated[str | None, typer.Option(help="Where the images come from; digits needs none.")] = None,
    run: RunsBeside = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the splits (without --run) and of what draws.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Most images to train on.")] = None,
    choose: ChooseSettings = False,
    choose_on: ImagesPerTry = 10_000,
    price: Annotated[
        float | None, typer.Option("--c", help="svm_*, logistic: price of a wrong sample.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="svm_rbf, svm_poly: scale of the kernel.")] = None,
    degree: Annotated[int | None, typer.Option(help="svm_poly.")] = None,
    neighbours: Annotated[int | None, typer.Option(help="knn.")] = None,
    components: Annotated[int | None, typer.Option(help="pca_quadratic.")] = None,
    hidden: Annotated[int | None, typer.Option(help="mlp: hidden units.")] = None,
    epochs: Annotated[int | None, typer.Option(help="mlp, perceptron.")] = None,
    set_: DataSetting = None,
    out: Annotated[Path | None, typer.Option(help="Write the tables to FILE.html or FILE.md.")] = None,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    _require_table_file(out)
    given_options: dict[str, float | None] = {
        "c": price,
        "gamma": gamma,
        "degree": degree,
        "neighbours": neighbours,
        "components": components,
        "hidden": hidden,
        "epochs": epochs,
    }
    options = {name: value for name, value in given_options.items() if value is not None}
    from concord.api.baseline import prepared
    from concord.runs.watching import never

    comparison = prepared(
        names,
        data,
        run or [],
        options,
        seed,
        limit,
        choose,
        choose_on,
        set_ or [],
        allow_code or [],
        progress.Lines(),
        never,
    )
    finished = _make_rows(comparison)
    if comparison.rivals and json_:
        print_json(comparison.document())
    elif comparison.rivals:
        _print_tables(comparison)
    if comparison.rivals and out:
        _write_tables(comparison, out)
    if not finished:
        exit_interrupted()


def _make_rows(comparison: "Comparison") -> bool:
    """All rows, or those that are ready when Ctrl-C comes; says whether it is all of them."""
    rows = comparison.rows()
    try:
        while interruptible(lambda: next(rows, None)) is not None:
            pass
    except KeyboardInterrupt:
        comparison.notices.append("interrupted")
        ready = "the table has what was ready" if comparison.rivals else "nothing was ready"
        progress.tell(f"interrupted; {ready}")
        return False
    return True


def _print_tables(comparison: "Comparison") -> None:
    from concord.report.comparison import comparison_tables
    from concord.report.tables import plain

    print("\n\n".join(plain(table) for table in comparison_tables(comparison)))


def _require_table_file(out: Path | None) -> None:
    if out is not None and (out.suffix not in (".html", ".md") or out.is_dir()):
        raise UsageError(f"--out {out}: expected the name of a file that ends in .html or .md")


def _write_tables(comparison: "Comparison", out: Path) -> None:
    from concord.files.atomic import write_text
    from concord.report.comparison import comparison_text

    write_text(out, comparison_text(comparison, out.suffix == ".md"))
