"""Checkpoints: whole or not there, and noticed when they are not what was saved."""

import errno
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_made import content, save
from run_made import file_limit
from safetensors.torch import save as tensor_bytes
from torch import nn

from concord.errors import CheckpointError, ResourceError
from concord.files import manifest
from concord.runs import weights
from concord.training import checkpoint
from concord.training.state import pack_optimizer, unpack_optimizer


def mark(found):
    return found.state["step"]


def rewrite_manifest(path, **changes):
    """The manifest as it would be if these files had been saved."""
    file = path / "MANIFEST.json"
    found = json.loads(file.read_text())
    for name in found["files"]:
        if (path / name).is_file():
            found["files"][name] = manifest.entry_of((path / name).read_bytes())._asdict()
    file.write_text(json.dumps(found | changes))


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# What is saved comes back


def test_tensors_and_state_come_back_bit_for_bit(tmp_path):
    tensors = {
        "a": {"x": torch.randn(3, 4), "y": torch.tensor([1, 2]), "z": torch.tensor(float("nan"))},
        "b": {
            "half": torch.randn(5).bfloat16(),
            "none": torch.zeros(0, 3),
            "double": torch.randn(2).double(),
        },
        "c": {},
    }
    state = {"seconds": 0.1 + 0.2, "none": None, "text": 'é "\\ \n', "deep": [{"x": [1, 2.5]}]}
    found = checkpoint.load(checkpoint.save(tmp_path, 7, tensors, state))
    assert found.state == state
    assert found.tensors.keys() == tensors.keys()
    for name, part in tensors.items():
        assert found.tensors[name].keys() == part.keys()
        for key, tensor in part.items():
            assert found.tensors[name][key].dtype == tensor.dtype
            torch.testing.assert_close(found.tensors[name][key], tensor, rtol=0, atol=0, equal_nan=True)


def test_any_memory_layout_and_tied_weights_can_be_saved(tmp_path):
    base = torch.arange(24.0).reshape(1, 2, 3, 4)
    tensors = {
        "laid": base.to(memory_format=torch.channels_last),
        "turned": base[0, 0].T,
        "one": base[0, 0],
        "same": base[0, 0],
        "grad": nn.Parameter(base),
    }
    found = checkpoint.load(checkpoint.save(tmp_path, 1, {"a": tensors}, {}))
    assert all(torch.equal(found.tensors["a"][k], v) for k, v in tensors.items())


def test_a_state_that_is_no_json_is_refused_before_anything_is_visible(tmp_path):
    for state in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            checkpoint.save(tmp_path, 1, {}, state)
    assert names(tmp_path) == []


def test_the_newest_is_found_and_old_ones_go(tmp_path):
    for step in (3, 20, 100, 99_999_999, 100_000_000):
        save(tmp_path, step, 2)
    assert [p.name for p in checkpoint.steps(tmp_path)][-2:] == ["step-99999999", "step-100000000"]
    assert mark(checkpoint.newest(tmp_path)[0]) == 100_000_000
    checkpoint.prune(tmp_path, 2, {"step-00000020"})
    assert names(tmp_path) == ["step-00000020", "step-100000000", "step-99999999"]


def test_where_nothing_was_saved_there_is_nothing(tmp_path):
    assert checkpoint.newest(tmp_path) == (None, [])
    assert checkpoint.newest(tmp_path / "nowhere") == (None, [])
    checkpoint.prune(tmp_path / "nowhere", 2, ())


# A training goes on while somebody reads


def while_reading(monkeypatch, happens):
    """Each of these happens in turn, at the moment at which the next file of a checkpoint is read."""
    real, left = manifest.content, list(happens)

    def content(path, entry):
        if left:
            left.pop(0)()
        return real(path, entry)

    monkeypatch.setattr(manifest, "content", content)


@pytest.mark.parametrize("strict", [False, True])
def test_a_checkpoint_that_is_pruned_while_it_is_read_is_not_damaged(strict, tmp_path, monkeypatch):
    save(tmp_path, 1, 2)

    def go_on(step):
        save(tmp_path, step, 2)
        checkpoint.prune(tmp_path, 1, ())

    while_reading(monkeypatch, [lambda: go_on(2), lambda: go_on(3)])
    found, faults = checkpoint.newest(tmp_path, strict)
    assert (mark(found), faults) == (3, [])


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_not_damaged(tmp_path, monkeypatch):
    save(tmp_path, 1, 2)
    other = {"member-a": {"w": torch.zeros(5)}}
    while_reading(monkeypatch, [lambda: checkpoint.save(tmp_path, 1, other, {"step": "again"})])
    found, faults = checkpoint.newest(tmp_path)
    assert (mark(found), faults) == ("again", [])


def test_what_changes_without_end_is_told_as_that(tmp_path, monkeypatch):
    save(tmp_path, 1, 2)
    steps = iter(range(2, 10**6))

    def load(path):
        path.rename(path.with_name(f"step-{next(steps):08d}"))
        raise CheckpointError("gone")

    monkeypatch.setattr(checkpoint, "load", load)
    with pytest.raises(CheckpointError, match="changes faster than it can be read"):
        checkpoint.newest(tmp_path)


# kill -9

KILLER = """
import os, pathlib, shutil, signal, sys
import torch
from concord.training import checkpoint
sys.path.insert(0, {tests!r})
from checkpoint_made import save

STAGES = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "open")

def count(limit):
    seen = 0
    def wrap(real):
        def call(*a, **k):
            nonlocal seen
            seen += 1
            if seen == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*a, **k)
        return call
    for name in STAGES:
        setattr(os, name, wrap(getattr(os, name)))

def case(name, folder):
    if name == "next step":
        save(folder, 2)
        checkpoint.prune(folder, 1, ())
    elif name == "same step":
        save(folder, 1, mark=2)
    elif name == "after a kill":
        save(folder, 2)
    elif name == "best kept":
        save(folder, 2)
        checkpoint.prune(folder, 1, ["step-00000001"])

torch.set_num_threads(1)
base = pathlib.Path(sys.argv[1])
save(base / "start", 1)
os.fsync = lambda handle: None  # a kill, unlike a power cut, loses nothing that was written
for name in ("next step", "same step", "after a kill", "best kept"):
    for limit in range(1, 200):
        folder = base / name / str(limit)
        shutil.copytree(base / "start", folder)
        pid = os.fork()
        if not pid:
            if name == "after a kill":
                left = folder / f"step-00000002.tmp-{{os.getpid()}}"
                left.mkdir()
                (left / "member-a.safetensors").write_bytes(b"half")
            count(limit)
            try:
                case(name, folder)
            finally:
                os._exit(sys.exc_info()[0] is not None)
        status = os.waitpid(pid, 0)[1]
        assert status in (0, signal.SIGKILL)
        if status == 0:
            break
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folders in which a save was killed before its n-th system call, for every n; forks of one process."""
    base = tmp_path_factory.mktemp("kills")
    script = KILLER.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script, str(base)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return base


@pytest.mark.fault(1)
@pytest.mark.parametrize("case", ["next step", "same step", "after a kill", "best kept"])
def test_a_kill_at_every_stage_of_a_save_leaves_the_old_or_the_new(case, killed):
    stages = sorted((killed / case).iterdir(), key=lambda p: int(p.name))
    assert len(stages) > 10
    seen = []
    for folder in stages:
        found, faults = checkpoint.newest(folder)
        assert faults == []
        expected, _ = content(mark(found))
        assert all(torch.equal(found.tensors["member-a"][k], v) for k, v in expected["member-a"].items())
        seen.append(mark(found))
    assert seen == sorted(seen)  # from some stage on it is the new one
    assert (seen[0], seen[-1]) == (1, 2)


@pytest.mark.fault(1)
@pytest.mark.parametrize("case", ["next step", "same step", "after a kill", "best kept"])
def test_after_a_kill_saving_goes_on_and_cleans_up(case, killed, tmp_path):
    for stage in (killed / case).iterdir():
        folder = tmp_path / stage.name
        shutil.copytree(stage, folder)
        save(folder, 2, mark=3)
        checkpoint.prune(folder, 2, ())
        save(folder, 4)
        checkpoint.prune(folder, 2, ())
        assert mark(checkpoint.newest(folder)[0]) == 4
        assert names(folder) == ["step-00000002", "step-00000004"]


def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(tmp_path):
    (tmp_path / f"step-00000001.tmp-{os.getpid()}" / "x").mkdir(parents=True)
    assert mark(checkpoint.load(save(tmp_path, 1))) == 1


# Bit rot and truncation


def flip(file, bit):
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


@pytest.mark.fault(6)
def test_200_of_200_single_bit_flips_are_detected(tmp_path):
    path = save(tmp_path, 1)
    files = sorted(path.iterdir())
    numbers = random.Random(0)
    places = [(file, numbers.randrange(8 * file.stat().st_size)) for file in files for _ in range(40)]
    detected = 0
    for file, bit in places:
        flip(file, bit)
        with pytest.raises(CheckpointError, match=file.name if file.name != "MANIFEST.json" else str(path)):
            checkpoint.load(path)
        flip(file, bit)
        detected += 1
    assert detected == 200
    assert mark(checkpoint.load(path)) == 1


@pytest.mark.fault(6)
def test_every_byte_of_the_manifest_counts(tmp_path):
    path = save(tmp_path, 1)
    file = path / "MANIFEST.json"
    for byte in range(file.stat().st_size):
        bit = 8 * byte + byte % 8
        flip(file, bit)
        with pytest.raises(CheckpointError):
            checkpoint.load(path)
        flip(file, bit)
    assert mark(checkpoint.load(path)) == 1


FILES = ["member-a.safetensors", "optimizer.safetensors", "totals.safetensors", "state.json", "MANIFEST.json"]


@pytest.mark.fault(5)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fraction", [0, 0.01, 0.1, 0.5, 0.9, 0.99, "one byte"])
def test_a_file_cut_short_is_named_and_the_one_before_is_used(name, fraction, tmp_path):
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    size = file.stat().st_size
    os.truncate(file, size - 1 if fraction == "one byte" else int(size * fraction))
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(file.parent)
    found, faults = checkpoint.newest(tmp_path)
    assert mark(found) == 1
    assert [str(file) in fault for fault in faults] == [True]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_unreadable_file_is_named(name, tmp_path):
    file = save(tmp_path, 1) / name
    file.unlink()
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(file.parent)
    file.mkdir()
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(file.parent)


def test_when_all_are_damaged_all_are_listed_with_a_cure(tmp_path):
    for step in (1, 2):
        flip(save(tmp_path, step) / "state.json", 0)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.newest(tmp_path)
    assert str(caught.value).count("state.json: damaged") == 2
    assert "--out" in str(caught.value)


# Manifests and headers that lie

ENTRY = {"size": 0, "sha256": ""}
LIES = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "no keys": b"{}",
    "deep": b"[" * 100_000,
    "no files": b'{"format": 1, "step": 1}',
    "files a list": b'{"format": 1, "step": 1, "files": ["a"]}',
    "files null": b'{"format": 1, "step": 1, "files": null}',
    "entry a number": b'{"format": 1, "step": 1, "files": {"a": 3}}',
    "entry without hash": b'{"format": 1, "step": 1, "files": {"a": {"size": 3}}}',
    "no state": b'{"format": 1, "step": 1, "files": {}}',
    "format 2": b'{"format": 2, "step": 1, "files": {}}',
    "step a text": b'{"format": 1, "step": "1", "files": {}}',
    "another step": b'{"format": 1, "step": 2, "files": {}}',
    "NaN": b'{"format": 1, "step": NaN, "files": {}}',
    "no JSON": b"\x80\x81",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_is_none_is_refused_by_path(lie, tmp_path):
    path = save(tmp_path, 1)
    (path / "MANIFEST.json").write_bytes(LIES[lie])
    with pytest.raises(CheckpointError, match=str(path)):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "name",
    ["../secret", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "\x00", "a\n", ".hidden", "\ud800", "x" * 300],
    ids=ascii,
)
def test_a_manifest_reaches_no_file_outside_its_folder(name, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    path = save(tmp_path, 1)
    entry = {"size": 6, "sha256": manifest.entry_of(b"secret").sha256}
    listed = json.loads((path / "MANIFEST.json").read_text())
    listed["files"] = {name: entry} | listed["files"]
    (path / "MANIFEST.json").write_text(json.dumps(listed))
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


BOMBS = {
    "length 2^63": struct.pack("<Q", 2**63) + b"{}",
    "length 2^40": struct.pack("<Q", 2**40) + b"{}",
    "11 MiB of sound header": tensor_bytes({}, {"note": "x" * 11 * 2**20}),
    "11 MiB of header": struct.pack("<Q", 11 * 2**20) + b" " * 11 * 2**20,
    "length beyond the end": struct.pack("<Q", 1000) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"abcd",
    "a list": struct.pack("<Q", 2) + b"[]",
    "deep": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "seven bytes": b"1234567",
    "nothing": b"",
    "offsets beyond the end": tensor_bytes({"x": torch.zeros(4)})[:-4],
    "a pickle": b"\x80\x02cos\nsystem\nq\x00.",
    "a type that torch lacks": (lambda h: struct.pack("<Q", len(h)) + h)(
        b'{"x":{"dtype":"F4","shape":[0],"data_offsets":[0,0]}}'
    ),
    "unknown type": (lambda h: struct.pack("<Q", len(h)) + h)(
        b'{"x":{"dtype":"F7","shape":[1],"data_offsets":[0,0]}}'
    ),
}


@pytest.mark.fault(20)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_tensor_file_that_is_none_is_refused_though_its_hash_is_right(bomb, tmp_path):
    path = save(tmp_path, 1)
    (path / "member-a.safetensors").write_bytes(BOMBS[bomb])
    rewrite_manifest(path)
    with pytest.raises(CheckpointError, match=r"member-a\.safetensors: not a safetensors file"):
        checkpoint.load(path)


@pytest.mark.parametrize("state", [b"[1]", b"3", b"{", b"", b"[" * 100_000])
def test_a_state_that_is_none_is_refused_though_its_hash_is_right(state, tmp_path):
    path = save(tmp_path, 1)
    (path / "state.json").write_bytes(state)
    rewrite_manifest(path)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        checkpoint.load(path)


# Other people's folders

FOREIGN = [
    "mine",
    "step-1",
    "step-00000001-best",
    "step-00000001.tmp-backup",
    "step-00000001.tmp",
    "best",
    "step-0000000x",
    ".step-00000001",
]


def test_folders_that_concord_did_not_make_stay(tmp_path):
    for name in FOREIGN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    (tmp_path / "step-00000000").mkdir()  # named like one, without a manifest
    (tmp_path / "step-00000000" / "x").write_text("x")
    (tmp_path / "step-00000009").write_text("a file")
    for step in (1, 2, 3):
        save(tmp_path, step)
        checkpoint.prune(tmp_path, 1, ())
    assert set(names(tmp_path)) == {*FOREIGN, "step-00000000", "step-00000009", "step-00000003"}
    assert mark(checkpoint.newest(tmp_path)[0]) == 3


def test_what_is_newer_is_set_aside_and_not_removed(tmp_path):
    paths = [save(tmp_path, step) for step in (1, 2, 3)]
    checkpoint.set_aside(tmp_path, paths[0])
    assert names(tmp_path) == ["step-00000001", "step-00000002.aside", "step-00000003.aside"]
    save(tmp_path, 2, mark=5)
    checkpoint.set_aside(tmp_path, paths[0])
    assert names(tmp_path) == ["step-00000001", "step-00000002.aside", "step-00000003.aside"]


# Full and unwritable disks


@pytest.mark.parametrize("limit", [0, 100, 20_000])
def test_a_full_disk_leaves_the_one_before_and_no_rest(limit, tmp_path):
    save(tmp_path, 1, 10)
    with file_limit(limit), pytest.raises(ResourceError, match=r"step-00000002: the disk is full.*MiB free"):
        save(tmp_path, 2, 10_000)
    assert names(tmp_path) == ["step-00000001"]
    assert mark(checkpoint.newest(tmp_path)[0]) == 1
    assert mark(checkpoint.load(save(tmp_path, 2, 10_000))) == 2


@pytest.mark.parametrize("stage", ["fsync", "rename", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_an_error_of_the_disk_at_any_stage_leaves_the_one_before(stage, code, tmp_path, monkeypatch):
    save(tmp_path, 1)

    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, stage, fail)
    with pytest.raises(ResourceError, match=os.strerror(code)):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert names(tmp_path) == ["step-00000001"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match=r"file/ckpt.*Not a directory"):
        save(tmp_path / "file" / "ckpt", 1)


# Members and optimisers from tensors


def network(width=3):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2))


def found(tensors):
    return checkpoint.Checkpoint(Path("ckpt/step-00000001"), tensors, {})


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (network(4), "of another size: 0.bias"),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), "not expected: 0.bias"),
        (nn.Sequential(*network(), nn.Linear(2, 2)), "missing: 4.bias, 4.weight"),
    ],
    ids=["width", "smaller", "deeper"],
)
def test_a_checkpoint_of_another_network_says_so(other, reason):
    tensors = {"member-a": network().state_dict()}
    with pytest.raises(
        CheckpointError, match="member 'a' was made for another network, this is Sequential"
    ) as caught:
        weights.fill({"a": other}, found(tensors))
    assert reason in str(caught.value)


@pytest.mark.fault(7)
def test_a_member_that_was_not_saved_is_named():
    with pytest.raises(CheckpointError, match="step-00000001 has no member 'b'"):
        weights.fill({"b": network()}, found({"member-a": network().state_dict()}))


@pytest.mark.parametrize("kind", ["adam", "sgd", "sgd without momentum"])
def test_an_optimiser_goes_on_as_if_it_had_not_been_packed(kind):
    def make():
        torch.manual_seed(0)
        one = network().to(memory_format=torch.channels_last)
        scale = nn.Parameter(torch.tensor(1.0))  # as few dimensions as Adam's step count
        one.register_parameter("scale", scale)
        if kind == "adam":
            return one, torch.optim.Adam(one.parameters(), fused=True)
        momentum = 0.9 if kind == "sgd" else 0.0
        return one, torch.optim.SGD(one.parameters(), lr=0.1, momentum=momentum, fused=True)

    def update(one, optimizer, seed):
        x = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        (one(x).square().mean() * one.scale).backward()
        optimizer.step()

    straight, optimizer = make()
    for seed in range(6):
        update(straight, optimizer, seed)

    first, before = make()
    for seed in range(3):
        update(first, before, seed)
    second, after = make()
    weights.fill({"a": second}, found({"member-a": first.state_dict()}))
    unpack_optimizer(after, {"a": second}, pack_optimizer(before, {"a": first}))
    for seed in range(3, 6):
        update(second, after, seed)
    for key, tensor in straight.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key
    for one, other in zip(straight.parameters(), second.parameters(), strict=True):
        for key, value in optimizer.state[one].items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, after.state[other][key])
                assert value.stride() == after.state[other][key].stride()


def test_state_of_an_unknown_parameter_is_refused():
    one = network()
    with pytest.raises(CheckpointError, match="optimiser state of 'b/weight'"):
        unpack_optimizer(torch.optim.Adam(one.parameters()), {"a": one}, {"b/weight/step": torch.zeros(())})
