"""Reports: one HTML file about runs or a study, or a model card in Markdown."""

from collections.abc import Collection, Sequence
from pathlib import Path

from concord.errors import UsageError
from concord.files.atomic import write_text
from concord.files.place import require_folder_of
from concord.report.card_of_runs import card_text
from concord.report.other_task import CLASSIFY, other_task_page
from concord.report.page import page
from concord.report.sequence_page import sequence_page
from concord.report.sequence_view import sequence_view
from concord.report.study_view import write_study_report
from concord.report.views import run_view
from concord.report.vision_page import vision_page
from concord.report.vision_view import vision_view
from concord.runs.folder import RunFolder
from concord.runs.kinds import kind_of_run
from concord.studies.study import is_study
from concord.training.observer import SILENT, Observer

HTML, MARKDOWN = (".html", ".htm"), (".md", ".markdown")


def write_report(
    runs: str | Path | Sequence[str | Path],
    to: str | Path | None = None,
    *,
    data: str | None = None,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> Path:
    """Write the report of these runs (or of one study folder) and give its path.

    Default: report.html in the first folder. A path that ends in .md gets a model card of the first run; the
    others show how much it varies, and must be the same training with other seeds, else UsageError. So is a
    path that ends otherwise.
    """
    paths = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    studies = [path for path in paths if is_study(path)]
    target = Path(to) if to else paths[0] / "report.html"
    _require_suffix(target)
    if to:
        require_folder_of(target)
    if is_card(target):
        _refuse_for_card(studies, data, allow_code)
        write_text(target, card_text(paths, observer))
        return target
    if studies and len(paths) > 1:
        raise UsageError(f"{studies[0]} is a study, which has a report of its own; give it alone")
    if studies:
        return write_study_report(studies[0], target, data=data, allow_code=allow_code, observer=observer)
    if foreign := [path for path in paths if RunFolder(path).config().train.task != CLASSIFY]:
        if len(paths) > 1:
            raise UsageError(f"{foreign[0]} is of another task; give it alone")
        kind = kind_of_run(foreign[0])
        if kind == "sequences":
            text = sequence_page(sequence_view(foreign[0], data, allow_code, observer))
        elif kind == "vision":
            text = vision_page(vision_view(foreign[0], data, allow_code, observer))
        else:
            text = other_task_page(RunFolder(foreign[0]))
        write_text(target, text)
        return target
    views = [run_view(path, data, allow_code, observer) for path in paths]
    title = views[0].name if len(views) == 1 else f"{len(views)} runs"
    write_text(target, page(views, title=f"concord: {title}"))
    return target


def is_card(target: Path) -> bool:
    return target.suffix.lower() in MARKDOWN


def _require_suffix(target: Path) -> None:
    if target.suffix.lower() not in (*HTML, *MARKDOWN):
        raise UsageError(
            f"{target}: a report ends in .html, a model card in .md; other formats are not written"
        )


def _refuse_for_card(studies: Sequence[Path], data: str | None, allow_code: Collection[str]) -> None:
    """A card has the figures that a run ended with: it scores nothing again, and loads no network."""
    if data or allow_code:
        raise UsageError("a model card has the figures of the run: give neither --data nor --allow-code")
    if studies:
        raise UsageError(
            f"{studies[0]} is a study; a model card is about one training: name the runs of one row,"
            f" {studies[0] / 'cells'}/..., whose seeds differ"
        )
