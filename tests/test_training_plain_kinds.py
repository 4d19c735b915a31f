"""Sizes, devices, types, ranges, slices and paths of a member's attributes go round a checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import nn

from concord.errors import UsageError, said
from concord.training.beside import Beside
from concord.training.plain_values import packed, unpacked

KINDS = [
    torch.Size([2, 3]),
    torch.device("cpu"),
    torch.device("cuda:1"),
    torch.bfloat16,
    range(1, 9, 2),
    slice(None, 5, 2),
    Path("a/b.txt"),
    {"shapes": [torch.Size([]), (torch.float32,)]},
]


@pytest.mark.parametrize("value", KINDS, ids=repr)
def test_a_value_comes_back_as_it_was(value):
    tensors = []
    document = packed(value, tensors)
    again = unpacked(document, tensors)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    "document", [{"dtype": "nn"}, {"device": "wool"}, {"Size": ["a"]}, {"slice": [1, 2, 3, 4]}]
)
def test_a_document_of_another_kind_is_refused(document):
    with pytest.raises(ValueError, match="no "):
        unpacked(document, [])


def test_what_a_forward_pass_notes_about_its_input_is_no_loss():
    class Noting(nn.Linear):
        def forward(self, x):
            self.shape, self.where, self.kind = x.shape, x.device, x.dtype
            return super().forward(x)

    member = Noting(3, 2)
    beside = Beside("a", member)
    member(torch.zeros(4, 3))
    assert beside.lost() == []


def test_the_text_of_an_error_is_one_bounded_line_even_if_it_cannot_be_made():
    class Bad(Exception):
        def __str__(self):
            raise RuntimeError

    assert said(Bad()) == "Bad: (its text cannot be made)"
    assert said(ValueError("one\n  two")) == "ValueError: one two"
    assert len(said(ValueError("x" * 10**6))) < 600


def test_a_factory_changes_the_default_type_for_nobody(tmp_path, monkeypatch):
    from concord.zoo.own import network

    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide64.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "def make(channels, classes):\n    torch.set_default_dtype(torch.float64)\n"
        "    torch.set_grad_enabled(False)\n    return nn.Linear(channels, classes)\n\n\n"
        "def broken(channels, classes):\n    torch.set_default_dtype(torch.float64)\n"
        "    raise ValueError('no')\n"
    )
    assert network("wide64.py:make", 2, 3).weight.dtype == torch.float64
    with pytest.raises(UsageError, match="ValueError: no"):
        network("wide64.py:broken", 2, 3)
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
