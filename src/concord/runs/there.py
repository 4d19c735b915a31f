"""What a folder is that is not a run, and where runs are."""

from pathlib import Path

from concord.errors import suggestion

SAVED = "ensemble.json"  # makes a folder a saved ensemble of a Python user's modules
STUDY = "study.toml"  # makes a folder a study
MOST_RUNS = 3  # that a message names


def what_is_there(path: Path) -> str:
    """What a path is that is not a run, and where runs are."""
    if not path.exists():
        return f"the folder does not exist{suggestion(path.name, _runs_in(path.parent))}"
    if not path.is_dir():
        return "it is a file"
    if (path / SAVED).is_file():
        return f"it is a saved ensemble; in Python, concord.load({str(path)!r}, members={{...}}) reads it"
    if (path / STUDY).is_file():
        return f"it is a study, whose runs are the folders in {path / 'cells'}"
    runs = [str(path / name) for name in _runs_in(path)]
    more = ", ..." if len(runs) > MOST_RUNS else ""
    return f"runs in it: {', '.join(runs[:MOST_RUNS])}{more}" if runs else "config.toml is missing"


def _runs_in(folder: Path) -> list[str]:
    """Names of the runs in a folder; none where it cannot be read."""
    try:
        return sorted(each.name for each in folder.iterdir() if (each / "config.toml").is_file())
    except OSError:
        return []
