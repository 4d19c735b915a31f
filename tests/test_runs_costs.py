"""``concord.cost_of``: what Python has goes in, a frozen record comes out."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import concord
from concord.cli import app
from concord.errors import ShapeError, UsageError
from concord.runs.cost_inputs import Input, InputError


class Both(nn.Module):
    """A picture and words."""

    def __init__(self):
        super().__init__()
        self.see, self.read = nn.Conv2d(3, 4, 3), nn.Embedding(50, 4)

    def forward(self, picture, words):
        return self.see(picture).mean((2, 3)) + self.read(words).mean(1)


def test_a_module_with_the_sizes_of_a_sample():
    cost = concord.cost_of(nn.Conv2d(3, 5, (2, 3), stride=2), (3, 9, 8))
    # 5 filters of 3 x 2 x 3 numbers and a bias, at 4 x 3 places
    assert (cost.name, cost.inputs) == ("Conv2d", ((3, 9, 8),))
    assert (cost.parameters, cost.macs) == (5 * 18 + 5, 12 * 5 * 18)


@pytest.mark.parametrize(
    "inputs", [[3, 9, 8], torch.Size((3, 9, 8)), [(3, 9, 8)], ((3, 9, 8),), Input((3, 9, 8))]
)
def test_sizes_may_stand_in_any_sequence(inputs):
    assert concord.cost_of(nn.Conv2d(3, 5, 3), inputs).inputs == ((3, 9, 8),)


def test_a_tensor_brings_its_batch():
    cost = concord.cost_of(nn.Linear(7, 3), inputs=torch.zeros(4, 7))
    assert (cost.inputs, cost.macs) == (((7,),), 4 * 7 * 3)
    assert concord.cost_of("lenet5", torch.zeros(2, 1, 28, 28)).macs == 2 * concord.cost_of("lenet5").macs


@pytest.mark.parametrize("words", [Input((7,), ids=True), torch.zeros(1, 7, dtype=torch.int64)])
def test_several_inputs_stand_in_a_list(words):
    cost = concord.cost_of(Both(), [(3, 8, 8), words])
    assert (cost.inputs, cost.macs) == (((3, 8, 8), (7,)), 36 * 4 * 27)


def test_a_name_needs_no_input_and_takes_other_sizes():
    assert concord.cost_of("resnet18").inputs == ((3, 224, 224),)
    small = concord.cost_of("resnet18", (1, 64, 32), classes=10)
    assert small.parameters == 11_689_512 - 2 * 64 * 49 - 990 * 513
    assert small.layers[0].output == (1, 64, 32, 16)


@pytest.mark.parametrize("inputs", ["3x224x224", ["3x224x224"], ["ids:24"], (3, "224", 224)])
def test_a_string_is_refused_with_the_form_in_numbers(inputs):
    with pytest.raises(UsageError, match=r"a tensor or the sizes of a sample.*\(3, 224, 224\), got "):
        concord.cost_of("resnet18", inputs)


@pytest.mark.parametrize("inputs", [(3, 2.5, 8), [None], (True, 3), {"x": 3}, [[(3, 8)]]])
def test_what_is_neither_sizes_nor_tensors_is_refused(inputs):
    with pytest.raises(UsageError, match="expected a tensor or the sizes of a sample"):
        concord.cost_of("resnet18", inputs)


def test_sizes_of_nothing_are_refused():
    with pytest.raises(UsageError, match=r"at least 1, got \(3, 0, 8\)"):
        concord.cost_of("resnet18", (3, 0, 8))


def test_a_module_without_its_input_or_with_classes_is_refused():
    with pytest.raises(UsageError, match=r"cost_of\(Linear\): give its input"):
        concord.cost_of(nn.Linear(3, 2))
    with pytest.raises(UsageError, match="a module has its classes"):
        concord.cost_of(nn.Linear(3, 2), (3,), classes=10)


def test_errors_speak_of_values_and_not_of_options():
    with pytest.raises(InputError, match=r"smallest square picture that it takes is 3x63x63$") as small:
        concord.cost_of("alexnet", (3, 32, 32))
    assert small.value.use == (Input((3, 63, 63)),)
    with pytest.raises(
        InputError, match=r"takes a picture and token ids, such as 1x28x28 and 26 token ids; got 1x28x28$"
    ) as kinds:
        concord.cost_of("multimodal_densenet", (1, 28, 28))
    assert kinds.value.use == (Input((1, 28, 28)), Input((26,), ids=True))
    with pytest.raises(ShapeError) as layer:
        concord.cost_of(nn.Linear(3, 2), (5,))
    for error in (small, kinds, layer):
        assert "--" not in str(error.value)


def test_the_record_is_one_line_in_a_notebook():
    assert repr(concord.cost_of("resnet18")).startswith(
        "<resnet18, input 3x224x224: 11,689,512 parameters, 1,814,073,344 MACs, "
        "receptive field 435x435 (of this input 224x224), "
    )
    densenet = concord.cost_of("densenet201")
    for record in (densenet.cost, densenet.layers[100], densenet.receptive_field):
        assert len(repr(record)) < 500


def test_the_dictionary_is_the_document_of_the_command_line(capsys):
    with pytest.raises(SystemExit):
        app.main(["cost", "multimodal_densenet", "--json"])
    assert json.loads(capsys.readouterr().out) == concord.cost_of("multimodal_densenet").to_dict()


def test_calls_fields_and_sizes_in_the_dictionary():
    """One layer twice; 2 of 3 axes agree in nothing."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(2, 2, (1, 3), padding=(0, 1), bias=False)

        def forward(self, x):
            return self.one(self.one(x))

    found = concord.cost_of(Twice(), (2, 4, 5)).to_dict()
    (layer,) = found["layers"]
    assert (layer["calls"], layer["output"], layer["receptive_field"]) == (2, [2, 4, 5], [1, 5])
    assert (layer["macs"], layer["parameters"], layer["buffers"]) == (2 * 20 * 12, 12, 0)
    assert (found["flops"], found["activations"], found["peak_activations"]) == (4 * 20 * 12, 80, 120)
    assert found["bytes"] == {"32": 48, "16": 24, "8": 12, "1": 2}  # 12 bits are 2 bytes
    assert found["receptive_field"] == found["receptive_fields"][0]
    assert found["receptive_field"]["size"] == [1, 5]
    assert (found["receptive_field"]["stride"], found["receptive_field"]["start"]) == (1, 0)


def test_a_layer_is_exact_only_if_all_its_axes_are():
    cost = concord.cost_of(nn.Conv2d(1, 1, 3), (1, 5, 5))
    row, column = (axis for axis in cost.layers[0].fields if axis is not None)
    for axes in ((row, column._replace(all_phases=False)), (row._replace(all_phases=False), column)):
        bound = replace(cost.cost, layers=(replace(cost.layers[0], fields=axes),))
        assert replace(cost, cost=bound).to_dict()["layers"][0]["exact"] is False
    assert cost.to_dict()["layers"][0]["exact"] is True
