"""Files of tensors that lie: refused by path, before anything is read that a header promises."""

import json
import struct

import pytest
import torch
from safetensors.torch import save

from concord.errors import CheckpointError
from concord.files import tensors
from concord.runs import predictions
from concord.runs.folder import RunFolder
from concord.training import checkpoint


def crowd(count):
    """So many tensors, all of them empty."""
    one = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({str(i): one for i in range(count)}).encode()
    return struct.pack("<Q", len(header)) + header


BOMBS = {
    "length 2^63": (struct.pack("<Q", 2**63) + b"{}", "a header of more than 10485760 bytes"),
    "11 MiB of sound header": (save({}, {"note": "x" * 11 * 2**20}), "a header of more than 10485760 bytes"),
    "100,000 tensors": (crowd(100_000), "it lists more than 20,000 tensors"),
    "seven bytes": (b"1234567", "not a safetensors file"),
    "a type that torch lacks": (crowd(1).replace(b"U8", b"F4"), "not a safetensors file ('F4')"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_votes_that_are_none_are_refused_by_path(bomb, tmp_path):
    content, words = BOMBS[bomb]
    (tmp_path / "votes.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        predictions.votes(RunFolder(tmp_path))
    assert str(refused.value).startswith(f"{tmp_path}/votes.safetensors: not a safetensors file")
    assert words in str(refused.value)


@pytest.mark.fault(20)
def test_a_crowd_of_tensors_is_refused_before_it_is_listed(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path, 1, {"member-a": {"x": torch.arange(3)}}, {})
    assert checkpoint.load(path).tensors["member-a"]["x"].tolist() == [0, 1, 2]
    assert len(tensors.parse_tensors(path, crowd(20_000))) == 20_000
    monkeypatch.setattr(tensors, "load", lambda content: pytest.fail("listed"))
    with pytest.raises(CheckpointError, match="more than 20,000 tensors"):
        tensors.parse_tensors(path, crowd(20_001))


def test_votes_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "votes.safetensors").symlink_to("/proc/self/mem")
    with pytest.raises(CheckpointError, match=r"votes\.safetensors: cannot be read \(Input/output error\)"):
        predictions.votes(RunFolder(tmp_path))
