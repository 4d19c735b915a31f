"""``concord baseline``: what a network has to beat, in one table with the network.

Example:
    $ concord baseline svm_rbf knn linear --data data/mnist --run runs/first
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import attend, complete
from concord.cli.options import AllowCode, Json, print_json, tables_of
from concord.cli.solver import exit_interrupted, interruptible
from concord.errors import UsageError

if TYPE_CHECKING:
    from concord.cli.contest import Contest

IMAGES_PER_TRY = 10_000
LARGEST_SEED = 2**32 - 1  # scikit-learn's


def baselines(
    names: Sequence[str],
    data: str | None = None,
    *,
    runs: Sequence[str | Path] = (),
    options: Mapping[str, float] | None = None,
    seed: int = 0,
    limit: int | None = None,
    choose: bool = False,
    choose_on: int = IMAGES_PER_TRY,
    settings: Sequence[str] = (),
    allow_code: Collection[str] = (),
) -> dict[str, Any]:
    """Train these baselines, and give their figures and those of the members of ``runs``.

    ``options`` are settings such as c and gamma. With ``choose`` every other setting is chosen on a
    validation split of the training images, with at most ``choose_on`` images to train on for each try.
    """
    contest = _prepared_contest(
        names, data, runs, options or {}, seed, limit, choose, choose_on, settings, allow_code
    )
    list(contest.rows())  # each row is made when it is asked for
    return contest.document()


def _prepared_contest(
    names: Sequence[str],
    data: str | None,
    runs: Sequence[str | Path],
    options: Mapping[str, float],
    seed: int,
    limit: int | None,
    choose: bool,
    choose_on: int,
    settings: Sequence[str],
    allow_code: Collection[str],
) -> "Contest":
    """Everything that can be refused is refused here, before anything is trained."""
    from concord.baseline.wanted import check_options, named

    methods = named(names)
    check_options(methods, options)
    _require_whole_number("--seed", seed, 0, LARGEST_SEED)
    _require_whole_number("--choose-on", choose_on, 2)
    if data is None and not runs:
        raise UsageError("say where the images come from: --data PATH (or --data digits), or --run RUN")
    flags = [("data.source", data), ("data.limit", limit), ("data.seed", None if runs else seed)]

    from concord.cli.contest import Contest
    from concord.cli.loading import load_run
    from concord.training import toml
    from concord.training.config import Data

    loaded = [load_run(Path(run), allow_code=allow_code) for run in runs]
    # the first run says how the data is read and split, so that its test images come out again
    first_run = {"data": loaded[0].config.data.model_dump(exclude_none=True)} if loaded else None
    tables = tables_of(None, None, flags, settings, first_run)
    if no_data := sorted(set(tables) - {"data"}):
        raise UsageError(f"--set {no_data[0]}: only settings of data.* mean something to a baseline")
    data_settings = toml.checked(Data, tables["data"], "configuration", "data.")
    if choose and not data_settings.valid:
        raise UsageError("--choose needs validation images: give --set data.valid=0.1")
    return Contest(methods, options, data_settings, loaded, seed, choose_on if choose else None)


def _require_whole_number(option: str, value: Any, least: int, most: int | None = None) -> None:
    large_enough = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not large_enough or (most is not None and value > most):
        upper = f" to {most:,}" if most is not None else " or more"
        raise UsageError(f"{option} must be a whole number, {least}{upper}, got {value!r}")


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
    choose_on: ImagesPerTry = IMAGES_PER_TRY,
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
    contest = _prepared_contest(
        names, data, run or [], options, seed, limit, choose, choose_on, set_ or [], allow_code or []
    )
    finished = _make_rows(contest)
    if contest.rivals and json_:
        print_json(contest.document())
    elif contest.rivals:
        _print_tables(contest)
    if contest.rivals and out:
        _write_tables(contest, out)
    if not finished:
        exit_interrupted()


def _make_rows(contest: "Contest") -> bool:
    """All rows, or those that are ready when Ctrl-C comes; says whether it is all of them."""
    rows = contest.rows()
    try:
        while interruptible(lambda: next(rows, None)) is not None:
            pass
    except KeyboardInterrupt:
        contest.notices.append("interrupted")
        ready = "the table has what was ready" if contest.rivals else "nothing was ready"
        attend.tell(f"interrupted; {ready}")
        return False
    return True


def _print_tables(contest: "Contest") -> None:
    from concord.report.tables import plain

    print("\n\n".join(plain(table) for table in contest.tables()))


def _require_table_file(out: Path | None) -> None:
    if out is not None and (out.suffix not in (".html", ".md") or out.is_dir()):
        raise UsageError(f"--out {out}: expected the name of a file that ends in .html or .md")


def _write_tables(contest: "Contest", out: Path) -> None:
    from concord.files.atomic import write_text
    from concord.report.page import document
    from concord.report.parts import Section
    from concord.report.tables import markdown

    tables = contest.tables()
    if out.suffix == ".md":
        text = "\n".join(map(markdown, tables))
    else:
        sections = [
            Section(f"table-{number}", table.caption, (table,)) for number, table in enumerate(tables, 1)
        ]
        text = document("concord: baselines", contest.sentences(), sections)
    write_text(out, text)
