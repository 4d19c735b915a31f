"""What the Tab key offers after ``concord --install-completion``, without torch: networks, folders, members,
costs, edges and settings."""

from contextlib import suppress
from pathlib import Path

import typer

from concord.consensus.names import COSTS, EDGES, ENSEMBLE
from concord.errors import ConcordError


def networks(incomplete: str) -> list[str]:
    """Networks of the zoo for the last of several names with commas between them, also behind ``small=``."""
    from concord.zoo.registry import names

    last = incomplete.rpartition(",")[2].rpartition("=")[2]
    before = incomplete.removesuffix(last)
    return [f"{before}{name}" for name in names() if name.startswith(last)]


def explained(ctx: typer.Context, incomplete: str) -> list[str]:
    """Networks, and what else ``concord explain`` knows."""
    topics = getattr(ctx.parent and ctx.parent.command, "commands", ())
    return [*(name for name in topics if name.startswith(incomplete)), *networks(incomplete)]


def costs(incomplete: str) -> list[str]:
    return [name for name in COSTS if name.startswith(incomplete)]


def edges(incomplete: str) -> list[str]:
    return [name for name in EDGES if name.startswith(incomplete)]


def tasks(incomplete: str) -> list[str]:
    from concord.runs.sequences.settings import KINDS

    return [name for name in KINDS if name.startswith(incomplete)]


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """The keys that ``--set`` of the verb takes, with the equals sign; the values are the user's."""
    from concord.cli.verb import settings_of

    keys = settings_of(str(ctx.info_name))
    return sorted(f"{key}=" for key in keys if key.startswith(incomplete)) if "=" not in incomplete else []


def members(ctx: typer.Context, incomplete: str) -> list[str]:
    """The members of the run that the line names already."""
    return [name for name in _members(ctx) if name.startswith(incomplete)]


def members_and_ensemble(ctx: typer.Context, incomplete: str) -> list[str]:
    return [name for name in (*_members(ctx), ENSEMBLE) if name.startswith(incomplete)]


def _members(ctx: typer.Context) -> list[str]:
    from concord.runs.folder import RunFolder

    # an option without its value ends the reading of the line, and the run is left among the rest
    words = [*ctx.args, ctx.params.get("run") or "", *(ctx.params.get("runs") or ())]
    run = next((Path(word) for word in words if _has(Path(word), ("config.toml",))), None)
    with suppress(ConcordError, OSError):  # a damaged one: nothing to offer
        return [member.name for member in RunFolder(run).config().members] if run else []
    return []


def runs(incomplete: str) -> list[str]:
    """Run folders whose path begins so, and those one folder deeper; else the shell decides."""
    return _folders(incomplete, ("stamp.json",))


def runs_and_studies(incomplete: str) -> list[str]:
    return _folders(incomplete, ("stamp.json", "study.toml"))


def _folders(incomplete: str, marks: tuple[str, ...]) -> list[str]:
    head, slash, start = incomplete.rpartition("/")
    typed = f"{head}{slash}"
    near = [name for name in _names(Path(typed)) if name.startswith(start)]
    deeper = [f"{name}/{inner}" for name in near for inner in _names(Path(typed, name))]
    return [f"{typed}{name}" for name in sorted([*near, *deeper]) if _has(Path(typed, name), marks)]


def _names(folder: Path) -> list[str]:
    with suppress(OSError):  # no folder, or nobody's business
        return [path.name for path in folder.iterdir()]
    return []


def _has(folder: Path, marks: tuple[str, ...]) -> bool:
    with suppress(OSError):
        return any((folder / mark).is_file() for mark in marks)
    return False
