"""Files of run folders damaged or forged at random, for the tests that read them."""

import random
import shutil

from hypothesis import HealthCheck
from trust_made import files_of, sealed, with_other_json, with_other_tensors

EXAMPLES, SOAK = 100, 2_000
REFUSED = 4
# without it a run is another thing, or one that was never attacked, or one that nobody knows the origin of
MAY_BE_GONE = ("result.json", "attack.json", "stamp.json")
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


class Quiet(dict):
    """Figures that are too long for hypothesis to print."""

    __repr__ = object.__repr__


def damaged(content, numbers):
    """A bit turned over, an end cut off, a part overwritten."""
    data = bytearray(content)
    change = numbers.randrange(3)
    place = numbers.randrange(len(data)) if data else 0
    if change == 0 and data:
        data[place] ^= 1 << numbers.randrange(8)
    elif change == 1:
        del data[place:]
    else:
        data[place : place + 8] = numbers.randbytes(8)
    return bytes(data)


def forged(file, content, numbers):
    if file.suffix == ".safetensors" and len(content) > 16:
        return with_other_tensors(content, numbers)
    if file.suffix == ".json":
        return with_other_json(content, numbers)
    if file.suffix == ".jsonl":
        lines = content.splitlines(keepends=True)
        row = numbers.randrange(len(lines))
        lines[row] = with_other_json(lines[row], numbers) + b"\n"
        return b"".join(lines)
    return damaged(content, numbers)


def harm(file, runs, numbers):
    """Damage or remove a file, or forge it and all digests of its run; whether it was forged."""
    content, kind = file.read_bytes(), numbers.random()
    if kind < 0.5:
        file.write_bytes(forged(file, content, numbers))
        for path in runs:
            sealed(path)
        return True
    if kind < 0.6 and file.name not in MAY_BE_GONE:
        file.unlink()
    else:
        file.write_bytes(damaged(content, numbers))
    return False


# a run stands on data, which may be gone (3); what config.toml asks of them may not be met by them
ALSO = {"config.toml": {3}, "state.json": {3}, "interface.json": {3}}


def fresh(path, folder):
    """A copy under one name, because pages have the name of their run in them."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    return shutil.copytree(path, folder / "run")


def one_example(seed, made, ask):
    """One file harmed: the same figures, a refusal, or for a forged file other figures.

    ``made``: a folder, runs by name, and what each verb showed of each; ``ask(verb, path, name)`` gives
    status, figures and messages.
    """
    folder, runs, shown = made
    numbers = random.Random(seed)
    name, verb = numbers.choice(sorted(shown))
    path = fresh(runs[name], folder)
    file = numbers.choice(files_of(path))
    forge = harm(file, [path], numbers)
    status, figures, err = ask(verb, path, name)
    where = f"seed {seed}: {name} run, {verb}, {file.relative_to(path)}: status {status}: {err}"
    assert "Traceback" not in err, where
    if name == "stopped" and "an earlier checkpoint is used" in err:
        assert str(file.parent) in err, where
    elif status == 0 and not forge:
        assert figures == shown[name, verb], where
    elif forge and "--allow-code" in err:  # a name that was made that of foreign code
        assert status == 2, where
    elif status != 0:
        assert status in {REFUSED} | ALSO.get(file.name, set()), where
