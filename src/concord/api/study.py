"""A study from its settings to its tables and its page.

STUDY/table.md         the tables, STUDY/study.json the same as data, STUDY/report.html with figures
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concord.studies import study as studies
from concord.studies.processes import threads_each

if TYPE_CHECKING:
    from concord.training.observer import Observer


def study(
    settings: Mapping[str, Any],
    out: str | Path,
    *,
    jobs: int | None = None,
    allow_code: Collection[str] = (),
    report: bool = True,
    observer: "Observer | None" = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run every cell of the grid that is not finished yet, and give the figures of all of them.

    ``failed`` holds the reason of every run that gave no result; the tables are without those. UsageError if
    another process is at work in the folder.
    """
    from concord.training.observer import SILENT

    folder, observer = Path(out), observer or SILENT
    varied, cells = studies.planned(folder, settings)
    threads_each(len(cells), jobs)  # a wrong number of jobs makes no folder, nor does a wrong network
    studies.refuse_rivals(varied)
    with studies.held(folder):
        studies.claim(folder, settings)
        failed = studies.run_cells(folder, cells, jobs, allow_code, observer, stop)
        failed |= studies.incomplete_cohorts(folder, cells)

        from concord.report import study_view as views  # imports torch, after the processes have begun

        view = views.study_view(folder, varied, [c for c in cells if c.name not in failed])
        figures = views.write_tables(folder, view)
        for text in studies.notices(folder, cells):
            observer.notice(text)
        if report:
            views.write_study_report(folder, folder / "report.html", allow_code=allow_code, observer=observer)
    return {**figures, "failed": failed}
