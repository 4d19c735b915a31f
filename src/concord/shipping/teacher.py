"""A network of the user's that teaches: a member of a finished run on the same data."""

from concord.errors import CheckpointError, DataError
from concord.runs.config import Member
from concord.runs.folder import RunFolder
from concord.runs.interface import Interface
from concord.runs.teachers import run_and_member

NAME = "teacher"


def teacher_of(given: str, interface: Interface) -> Member:
    """The member as a teacher, to be put beside a network that learns.

    CheckpointError if there is no such finished run or member, DataError if it names other classes, or sees
    pictures of another shape or normalisation.
    """
    path, wanted = run_and_member(given)
    folder = RunFolder(path)
    members = {member.name: member for member in folder.config().members}
    if not folder.complete:
        raise CheckpointError(f"{path} is not finished, and a teacher is: {folder.resume} finishes it")
    name = wanted or next(iter(members))
    if name not in members or (not wanted and len(members) > 1):
        raise CheckpointError(
            f"{given}: name the member that teaches, such as {path}:{next(iter(members))}; the run has"
            f" {', '.join(members)}"
        )
    theirs = Interface.from_plain(folder.json("interface.json", ("shape", "classes", "mean", "std")))
    if theirs.classes != interface.classes:
        raise DataError(
            f"the teacher {given} names the classes {_some(theirs.classes)}; the data have"
            f" {_some(interface.classes)}. A teacher must be trained on the same classes"
        )
    if (theirs.shape, theirs.normalise) != (interface.shape, interface.normalise):
        raise DataError(
            f"the teacher {given} was trained on pictures of another shape or normalisation: train it on the"
            " same data with the same size, shares for validation and test, and seed"
        )
    return Member(name=NAME, network=members[name].network, teacher=f"{path.resolve()}:{name}")


def _some(classes: tuple[str, ...]) -> str:
    more = f" and {len(classes) - 5} more" if len(classes) > 5 else ""
    return f"{', '.join(classes[:5])}{more}"
