"""A member as a packed file: the numbers of the run from the file alone, and files that are damaged."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from run_made import call
from safetensors.torch import load, save
from sklearn.datasets import load_digits

import concord
from concord.errors import CheckpointError, UsageError
from concord.runs.loading import load_run
from concord.runs.packed_file import opened, read_packed
from concord.zoo import registry


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "run"
    members = [
        {"name": "xnor", "network": "xnor_lenet5"},
        {"name": "bwn", "network": "bwn_lenet5"},
        {"name": "st", "network": "noel2017_st"},
    ]
    settings = {"members": members, "train": {"epochs": 1, "threads": 1}, "data": {"limit": 300, "size": 28}}
    concord.train(settings, path)
    return path


@pytest.fixture(scope="module")
def file(run):
    return concord.export(run, run.parent / "xnor.safetensors", member="xnor", packed=True).file


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    for i, image in enumerate(load_digits().images[:70]):  # more than one batch
        Image.fromarray((image * 255 // 16).astype(np.uint8)).save(folder / f"{i:02}.png")
    (folder / "bad.png").write_text("no image")
    return folder


@pytest.mark.parametrize("member", ["xnor", "bwn"])
def test_the_file_alone_gives_the_numbers_of_the_run(run, digits, member, tmp_path):
    written = concord.Run(run).export(member, tmp_path / "m.safetensors", packed=True)
    assert (written.member, written.format, written.largest_difference) == (member, "safetensors", 0)
    theirs = concord.predict(run, digits, member=member, top=3, probabilities=True)
    assert concord.predict(tmp_path / "m.safetensors", digits, top=3, probabilities=True) == theirs
    assert concord.predict(tmp_path / "m.safetensors", digits, member=member) == concord.predict(
        run, digits, member=member
    )
    assert len({row.label for row in theirs}) > 1


def test_logits_are_equal_bit_for_bit(run, file):
    read, loaded = read_packed(file), load_run(run)
    x = torch.randn(5, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(read.network(x), loaded.members["xnor"].eval()(x))
    assert (read.name, read.interface) == ("xnor", loaded.interface)


def test_the_file_is_small(run, file):
    whole = concord.export(run, run.parent / "whole.safetensors", member="xnor").bytes
    assert whole > 4 * 433_760
    bits, floats = (25_000 + 400_000) / 8, 4 * (433_760 - 425_000 + 2 * 2_000)
    assert bits < file.stat().st_size < bits * 1.7 + floats + 8_000  # 20 channels take words of 64


def test_the_commands(run, digits, tmp_path, capsys):
    to = tmp_path / "m.safetensors"
    status, out, _ = call(capsys, "export", run, "--member", "xnor", "--to", to, "--packed")
    assert (status, out.split(" bytes")[0]) == (0, f"{to}: xnor, {to.stat().st_size:,}")
    assert "equal to concord predict, bit for bit, for batches of 1, 3, 8" in out
    _, theirs, _ = call(capsys, "predict", run, digits, "--member", "xnor", "--json")
    status, ours, err = call(capsys, "predict", to, digits, "--json")
    assert (status, json.loads(ours)) == (0, json.loads(theirs))
    assert "1 of 71 images could not be read" in err


def refused(capsys, file, image):
    status, out, err = call(capsys, "predict", file, image)
    assert out == ""
    assert "Traceback" not in err
    return status, err


def changed(file, about=None, tensors=None):
    """The file with other metadata or tensors, and the hash that belongs to these."""
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    own = json.loads(content[8 : 8 + size])["__metadata__"] | (about or {})
    made = save(tensors or load(content), own)
    skip = 8 + int.from_bytes(made[:8], "little")
    return save(load(made), own | {"sha256": hashlib.sha256(made[skip:]).hexdigest()})


def test_damaged_files_are_named(file, digits, tmp_path, capsys):
    whole = file.read_bytes()
    floats = registry.find("xnor_lenet5").build().state_dict()
    floats = {name: value.contiguous() for name, value in floats.items()}
    other = load(whole)
    other["head.bias"] = torch.zeros(11)
    flipped = bytearray(whole)
    flipped[-9] ^= 4
    header = bytearray(whole)
    header[20] ^= 64
    cases = {
        "cut": (whole[:-100], "not a safetensors file"),
        "short": (whole[:5], "not a safetensors file"),
        "header": (bytes(header), "not a safetensors file|damaged|not the tensors"),
        "flipped": (bytes(flipped), "damaged, its tensors are not those that were written"),
        "floats": (
            changed(file, tensors=floats),
            r"binary\.1\.weight is float32 \(50, 20, 5, 5\), expected int64 \(50, 25, 1\)",
        ),
        "shape": (changed(file, tensors=other), r"head\.bias is float32 \(11,\), expected float32 \(10,\)"),
        "network": (changed(file, {"network": "bwn_lenet5"}), "not the tensors of a packed bwn_lenet5"),
        "plain": (changed(file, {"network": "noel2017_st"}), "no binary layer"),
        "code": (changed(file, {"network": "os:system"}), "'os:system' is not a network of concord's zoo"),
        "large": (changed(file, {"network": "densenet40_12(depth=999997)"}), "cannot be built"),
        "classes": (changed(file, {"interface": "{}"}), "metadata do not describe a network"),
        "unpacked": (save(load(whole)), "not a packed file"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        status, err = refused(capsys, tmp_path / name, digits / "00.png")
        assert status == 4, (name, err)
        assert str(tmp_path / name) in err, name
        with pytest.raises(CheckpointError, match=message):
            opened(tmp_path / name, content)


def test_what_cannot_be_packed_is_refused(run, tmp_path, capsys):
    to = tmp_path / "m.safetensors"
    for command, words in (
        (("--member", "st", "--to", to), "member st (noel2017_st) has no binary layers"),
        (("--member", "xnor", "--to", tmp_path / "m.onnx"), "a packed file is a .safetensors file"),
        (("--to", to), "name one of xnor, bwn, st"),
    ):
        status, _, err = call(capsys, "export", run, *command, "--packed")
        assert status == 2
        assert words in " ".join(err.split())
    assert [*tmp_path.iterdir()] == []


def test_own_code_is_not_packed(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from concord.zoo import find\ndef net(channels, classes):\n"
        "    return find('xnor_lenet5').build(channels=channels, classes=classes)\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = {"members": [{"name": "own", "network": "mine.py:net"}], "data": {"limit": 100, "size": 28}}
    concord.train({**settings, "train": {"epochs": 1}}, tmp_path / "run", allow_code=["mine.py:net"])
    with pytest.raises(UsageError, match=r"member own is mine\.py:net.*concord's zoo"):
        concord.export("run", "m.safetensors", member="own", packed=True, allow_code=["mine.py:net"])


def test_another_member_than_the_one_in_the_file_is_refused(file, digits, capsys):
    status, _, err = call(capsys, "predict", file, digits, "--member", "st")
    assert (status, "holds the member xnor alone" in err) == (2, True)
    with pytest.raises(CheckpointError):
        concord.evaluate(file)


def test_a_packed_file_that_does_not_exist_is_named(digits, tmp_path, capsys):
    missing = tmp_path / "none.safetensors"
    status, out, err = call(capsys, "predict", missing, digits)
    assert (status, out) == (4, "")
    assert "none.safetensors: expected a packed file, the file does not exist" in err
