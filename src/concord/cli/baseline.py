"""``concord baseline``: what a network has to beat, in one table with the network.

Example:
    $ concord baseline svm_rbf knn linear --data data/mnist --run runs/first
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from concord.cli import complete, progress
from concord.cli.options import AllowCode, Json, print_json, refuse_commas
from concord.cli.solver import exit_interrupted, interruptible
from concord.errors import UsageError
from concord.files.place import require_folder_of

if TYPE_CHECKING:
    from concord.runs.comparison import Comparison


BaselineNames = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="Classifiers: svm_linear, svm_rbf, svm_poly (svm: all three), perceptron, linear, logistic, "
        "pca_quadratic, knn, mlp; or all.",
        show_default=False,
    ),
]
RunsBeside = Annotated[
    list[Path] | None,
    typer.Option(
        help="Run whose members stand in the same table; may be repeated.", autocompletion=complete.runs
    ),
]
ChooseSettings = Annotated[
    bool, typer.Option("--choose", help="Choose settings on a validation split of the training images.")
]
ImagesPerTry = Annotated[
    int, typer.Option(min=2, help="Maximum number of training images for each setting that --choose tries.")
]
DataSetting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of data, for example data.size=32; may be repeated.",
        autocompletion=complete.settings,
    ),
]


def add_to(app: typer.Typer) -> None:
    app.command(
        "baseline",
        help="Train classifiers of scikit-learn on any data and put them in one table with the networks of a"
        " run: error with interval, seconds, size, MACs.\n\n"
        "Example: concord baseline svm_rbf knn linear --data data/mnist --run runs/first",
    )(baseline_command)


def baseline_command(
    names: BaselineNames,
    data: Annotated[
        str | None, typer.Option(help="Name or path of the data; default: the data of --run, or digits.")
    ] = None,
    run: RunsBeside = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the splits (without --run) and of the classifiers.")
    ] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of training images; default: all.")
    ] = None,
    choose: ChooseSettings = False,
    choose_on: ImagesPerTry = 10_000,
    price: Annotated[
        float | None, typer.Option("--c", help="Penalty of a wrong sample (svm_*, logistic).")
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="Scale of the kernel (svm_rbf, svm_poly).")] = None,
    degree: Annotated[int | None, typer.Option(help="Degree of the polynomial (svm_poly).")] = None,
    neighbours: Annotated[int | None, typer.Option(help="Number of neighbours (knn).")] = None,
    components: Annotated[
        int | None, typer.Option(help="Number of principal components (pca_quadratic).")
    ] = None,
    hidden: Annotated[int | None, typer.Option(help="Number of hidden units (mlp).")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training images (mlp, perceptron).")
    ] = None,
    set_: DataSetting = None,
    out: Annotated[Path | None, typer.Option(help="Write the tables to FILE.html or FILE.md.")] = None,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    refuse_commas("baseline", names)
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
    """All rows, or those that are ready when Ctrl-C comes; whether all are there."""
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
    from concord.report.tables import as_text

    print("\n\n".join(as_text(table) for table in comparison_tables(comparison)))


def _require_table_file(out: Path | None) -> None:
    if out is not None and (out.suffix not in (".html", ".md") or out.is_dir()):
        raise UsageError(f"--out {out}: expected the name of a file that ends in .html or .md")
    if out is not None:
        require_folder_of(out)


def _write_tables(comparison: "Comparison", out: Path) -> None:
    from concord.files.atomic import write_text
    from concord.report.comparison import comparison_text

    write_text(out, comparison_text(comparison, out.suffix == ".md"))
