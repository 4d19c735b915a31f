"""The seal of a complete run: RUN/MANIFEST.json holds size and SHA-256 of every file whose figures are shown.

Sealed are result.json, config.toml, metrics.jsonl, interface.json, the predictions, and the weights that the
result and snapshots stand for. Runs of older versions have no manifest, or one that names less: what is not
named is not checked.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from concord.errors import CheckpointError
from concord.files import bounded, manifest
from concord.files.manifest import Entry

FIGURES = ("config.toml", "interface.json", "metrics.jsonl")  # beside the result and what it comes with
REMADE = ("result.json", "predictions.safetensors")  # a resume makes these again from the checkpoint


def document(run: Path, files: Mapping[str, bytes], steps: Iterable[str]) -> bytes:
    """The manifest of a run that ends with these files and the weights of the checkpoints of these names."""
    there = {name: (run / name).read_bytes() for name in FIGURES if (run / name).is_file()}
    entries = {name: manifest.entry_of(content) for name, content in {**there, **files}.items()}
    for step in steps:
        entries |= _weights(run / "ckpt" / step)
    return manifest.document_of(entries)


def _weights(step: Path) -> dict[str, Entry]:
    _, entries = manifest.read(step)
    return {
        f"ckpt/{step.name}/{name}": entry for name, entry in entries.items() if name.startswith("member-")
    }


def there(run: Path) -> bool:
    """Whether the run is complete and has a manifest."""
    return (run / "result.json").is_file() and (run / manifest.FILE).exists()


def entries_of(run: Path) -> Mapping[str, Entry]:
    """What is sealed; nothing where the run is not complete or has no manifest.

    CheckpointError if the manifest is damaged.
    """
    return manifest.read(run)[1] if there(run) else {}


def check(run: Path, name: str, content: bytes, resume: str) -> None:
    """CheckpointError with what can be done if the file is sealed and is not what it was then."""
    sealed = entries_of(run).get(name)
    if sealed is not None and manifest.entry_of(content) != sealed:
        raise CheckpointError(_fault(run / name, resume))


def check_weights(run: Path, step: Path, resume: str) -> None:
    """CheckpointError if the members of this checkpoint are not those that the result was made with."""
    sealed = entries_of(run)
    for name, entry in _weights(step).items():
        if sealed.get(name, entry) != entry:
            raise CheckpointError(_fault(run / name, resume))


def broken(run: Path, resume: str) -> dict[str, str]:
    """Name -> what is wrong, for every sealed file that is missing or is not what it was."""
    found = {}
    for name, entry in entries_of(run).items():
        try:
            if (
                not name.startswith("ckpt/")
                and manifest.entry_of(bounded.read(_inside(run, name), entry.size)) != entry
            ):
                found[name] = _fault(run / name, resume)
        except ValueError:
            found[name] = _fault(run / name, resume)
        except OSError as error:
            found[name] = f"{run / name}: cannot be read ({error.strerror or error})"
    return found


def _inside(run: Path, name: str) -> Path:
    if "/" in name or name.startswith("."):
        raise CheckpointError(f"{run / manifest.FILE}: {name!r} is not a file of a run")
    return run / name


def _fault(file: Path, resume: str) -> str:
    return (
        f"{file}: damaged or edited, it is not what the run ended with (size or SHA-256 differs from"
        f" {manifest.FILE}). Put it back, or accept the files as they are: {resume} with --allow-changes"
        " makes the result again"
    )
