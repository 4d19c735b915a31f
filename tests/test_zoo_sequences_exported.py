"""Every network for sequences as an ONNX file and a program of torch.export, for any batch and steps."""

from functools import partial

import pytest
import torch
from exported_made import as_onnx, as_program, assert_same
from sequences_made import OPTIONS, ROWS, STEPS
from torch import nn

from concord import zoo

pytest.importorskip("onnxruntime", reason="needs the extra export")

FEATURES = 3


class Together(nn.Module):
    """Many at once, because an export takes seconds."""

    def __init__(self, names):
        super().__init__()
        torch.manual_seed(0)
        build = {name: zoo.find(name).build(channels=FEATURES, classes=4, **OPTIONS[name]) for name in names}
        self.networks = nn.ModuleDict(build)

    def forward(self, numbers, symbols, lengths=None):
        return [
            network(numbers if len(ROWS[name]["input"]) > 1 else symbols, lengths)
            for name, network in self.networks.items()
        ]


def inputs(with_lengths, batch, steps, lengths):
    given = torch.randn(batch, steps, FEATURES), torch.randint(FEATURES, (batch, steps))
    return (*given, lengths) if with_lengths else given


@pytest.mark.parametrize("with_lengths", [True, False])
def test_onnx_files_give_what_the_networks_give(with_lengths):
    network = Together(STEPS).eval()
    ask, _ = as_onnx(network, inputs(with_lengths, 2, 9, torch.tensor([4, 9])))
    assert_same(ask, network, partial(inputs, with_lengths))


def test_programs_of_torch_export_give_what_the_networks_give():
    network = Together(["char_lstm", "gru_before", "tcn_adding", "char_tcn"]).eval()
    ask = as_program(network, inputs(True, 2, 9, torch.tensor([4, 9])))
    assert_same(ask, network, partial(inputs, True))
