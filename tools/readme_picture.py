"""Draw docs/static/demo.svg, the picture of the README, from the study of `make demo`.

python tools/readme_picture.py demo
"""

import sys
from pathlib import Path

from concord.files.atomic import write_text
from concord.report.compare import member_sets
from concord.report.cost_error import error_against_cost
from concord.report.opening import study_spots
from concord.report.study_view import study_view
from concord.report.svg import standalone
from concord.runs import toml
from concord.studies.study import planned

TARGET = Path(__file__).parent.parent / "docs/static/demo.svg"


def main(folder: Path) -> None:
    """The first figure of the study's report, on white paper."""
    study, cells = planned(folder, toml.read(folder / "study.toml"))
    view = study_view(folder, study, cells)
    (members,) = member_sets(view.cells)
    title = "Test error against multiply-accumulates, with 95 % intervals over six seeds"
    write_text(TARGET, standalone(error_against_cost(list(study_spots(view, members)), title=title)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
