"""Costs worked out by hand, step by step."""

import re

import pytest
import torch
from cost_made import Calls, priced, three_layers
from torch import nn

from concord.cost.count import count
from concord.report.cost_tables import Priced
from concord.report.cost_worked import worked_answer
from concord.zoo.skeleton import skeleton


def test_the_worked_answer_of_source_001():
    lines = worked_answer(priced(three_layers(), (3, 128, 128), name="three"))
    text = "\n".join(lines)
    assert lines[0] == "three, input 3x128x128"
    for line in (
        "0: 5x5 convolution, stride 2, padding 2, 3x128x128 -> 64x64x64",
        "  H = W       floor((128 + 2·2 - 1·(5 - 1) - 1)/2) + 1 = 64",
        "  parameters  K²·M·N + N = 5²·3·64 + 64 = 4,864",
        "  MACs        H·W·K²·M·N = 64·64·5²·3·64 = 19,660,800",
        "  field       R = 1 + 4·1 = 5, J = 2·1 = 2",
        "  parameters  K²·M·N + N = 5²·64·128 + 128 = 204,928",
        "  MACs        H·W·K²·M·N = 32·32·5²·64·128 = 209,715,200",
        "  field       R = 5 + 4·2 = 13, J = 2·2 = 4",
        "4: 5x5 convolution, stride 2, padding 2, 128x32x32 -> 256x16x16",
        "  parameters  K²·M·N + N = 5²·128·256 + 256 = 819,456",
        "  MACs        H·W·K²·M·N = 16·16·5²·128·256 = 209,715,200",
        "  field       R = 13 + 4·4 = 29, J = 2·4 = 8",
        "7: Linear, to 200",
        "  parameters  D·N + N = 65536·200 + 200 = 13,107,400",
        "convolutions     4,864 + 204,928 + 819,456 = 1,029,248 parameters",
        "                 19,660,800 + 209,715,200 + 209,715,200 = 439,091,200 MACs",
        "all              14,136,648 parameters, 452,198,400 MACs",
        "fully connected  13,107,400 / 14,136,648 = 92.72 % of the parameters, 2.90 % of the MACs",
    ):
        assert line in lines, text


def test_a_layer_that_is_called_again_sees_what_its_last_call_sees():
    network = Calls(lambda s, x: s.one(s.one(s.one(x))), one=nn.Conv2d(2, 2, 3, padding=1))
    one = priced(network, (2, 9, 9))
    assert [f.size for f in one.cost.layers[0].fields[2:]] == [7, 7]
    assert one.cost.receptive_field.size == (7, 7)
    assert "  field       R = 5 + 2·1 = 7, J = 1·1 = 1, in the last call" in worked_answer(one)


def test_the_worked_answer_of_its_separable_form():
    lines = worked_answer(priced(three_layers(separable=True), (3, 128, 128)))
    assert "2: 5x5 convolution, stride 2, padding 2, one filter per map, 64x64x64 -> 64x32x32" in lines
    assert "  parameters  K²·M + M = 5²·64 + 64 = 1,664" in lines
    assert lines[-14:] == [
        "all              13,158,600 parameters, 52,002,816 MACs",
        "fully connected  13,107,400 / 13,158,600 = 99.61 % of the parameters, 25.20 % of the MACs",
        "separable        2 + 3",
        "  parameters     K²·M + M + M·N + N = 5²·64 + 64 + 64·128 + 128 = 9,984",
        "                 9,984 / 204,928 = 0.0487 of one convolution, 20.53 times fewer",
        "  MACs           H·W·M·(K² + N) = 32·32·64·(5² + 128) = 10,027,008",
        "                 10,027,008 / 209,715,200 = 0.0478 of one convolution, 20.92 times fewer",
        "                 1/N + 1/K² = 1/128 + 1/5² = 0.0478",
        "separable        5 + 6",
        "  parameters     K²·M + M + M·N + N = 5²·128 + 128 + 128·256 + 256 = 36,352",
        "                 36,352 / 819,456 = 0.0444 of one convolution, 22.54 times fewer",
        "  MACs           H·W·M·(K² + N) = 16·16·128·(5² + 256) = 9,207,808",
        "                 9,207,808 / 209,715,200 = 0.0439 of one convolution, 22.78 times fewer",
        "                 1/N + 1/K² = 1/256 + 1/5² = 0.0439",
    ]
    assert (
        "                 19,660,800 + 1,638,400 + 8,388,608 + 819,200 + 8,388,608 = 38,895,616 MACs" in lines
    )


def test_what_a_convolution_would_cost_in_two_steps():
    lines = worked_answer(priced(three_layers(), (3, 128, 128)))
    told = [lines[i : i + 2] for i, line in enumerate(lines) if line.startswith("  separable")]
    assert told[1:] == [
        [
            "  separable   K²·M + M + M·N + N = 5²·64 + 64 + 64·128 + 128 = 9,984 parameters and",
            "              H·W·M·(K² + N) = 32·32·64·(5² + 128) = 10,027,008 MACs "
            "would be 0.0487 and 0.0478 of that",
        ],
        [
            "  separable   K²·M + M + M·N + N = 5²·128 + 128 + 128·256 + 256 = 36,352 parameters and",
            "              H·W·M·(K² + N) = 16·16·128·(5² + 256) = 9,207,808 MACs "
            "would be 0.0444 and 0.0439 of that",
        ],
    ]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 1), (4, 9, 9)),
        (nn.Conv2d(4, 8, 3, groups=2), (4, 9, 9)),
        (nn.Conv2d(4, 8, (1, 3)), (4, 9, 9)),
        (nn.Conv2d(4, 1, 3), (4, 9, 9)),  # 4 (9 + 1) products at each position instead of 4 9
        (nn.Conv1d(4, 2, 3), (4, 9)),  # 12 + 4 + 8 + 2 parameters instead of 24 + 2
    ],
    ids=str,
)
def test_two_steps_are_not_told_where_they_save_nothing(layer, shape):
    assert not any("separable" in line for line in worked_answer(priced(layer, shape)))


def test_pairs_are_worked_with_their_own_biases_samples_and_axes():
    wide, point = nn.Conv1d(4, 4, 3, groups=4, bias=False), nn.Conv1d(4, 6, 1)
    network = nn.Sequential(wide, nn.BatchNorm1d(4), point)
    cost = count(network, torch.zeros(2, 4, 9))
    assert worked_answer(Priced("net", ((4, 9),), cost))[-6:] == [
        "separable        0 + 2",
        "  parameters     K·M + M·N + N = 3·4 + 4·6 + 6 = 42",
        "                 42 / 78 = 0.5385 of one convolution, 1.86 times fewer",
        "  MACs           B·T·M·(K + N) = 2·7·4·(3 + 6) = 504",
        "                 504 / 1,008 = 0.5000 of one convolution, 2.00 times fewer",
        "                 1/N + 1/K = 1/6 + 1/3 = 0.5000",
    ]


def pairs(*layers, shape=(4, 9, 9)):
    lines = worked_answer(priced(nn.Sequential(*layers), shape))
    start = next((i for i, line in enumerate(lines) if line.startswith("separable")), len(lines))
    return lines[start:]


def test_only_true_pairs_are_called_separable():
    depthwise = nn.Conv2d(4, 4, 3, groups=4)
    for shape, line, wide, point in [
        (
            (4, 9),
            "1/N + 1/K = 1/6 + 1/3 = 0.5000",
            nn.Conv1d(4, 4, 3, groups=4),
            nn.Conv1d(4, 6, 1),
        ),
        (
            (4, 4, 4, 4),
            "1/N + 1/K³ = 1/2 + 1/2³ = 0.6250",
            nn.Conv3d(4, 4, 2, groups=4),
            nn.Conv3d(4, 2, 1),
        ),
    ]:
        assert pairs(wide, point, shape=shape)[-1].strip() == line
    assert len(pairs(depthwise, nn.ReLU(), nn.Conv2d(4, 6, 1))) == 6
    assert pairs(nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 6, 1)) == []  # two filters per map
    assert pairs(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 6, 1)) == []
    assert pairs(nn.Conv2d(4, 4, (1, 3), groups=4), nn.Conv2d(4, 6, 1)) == []
    assert pairs(depthwise, nn.Conv2d(4, 6, 1, stride=2)) == []
    assert pairs(depthwise, nn.Conv2d(4, 6, 3)) == []
    assert pairs(depthwise, nn.Conv2d(4, 6, 1, groups=2)) == []
    assert pairs(depthwise, nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 6, 1)) == []  # as in squeeze and excitation


def test_one_map_alone_is_no_pair():
    """A convolution of one map is its own depthwise form."""
    assert pairs(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 4, 1), shape=(1, 9, 9)) == []


def test_sides_that_differ_are_worked_one_by_one():
    lines = worked_answer(priced(nn.Conv2d(2, 3, (3, 5), (1, 2), (0, 2), groups=1), (2, 8, 9)))
    assert lines[2:8] == [
        "network: 3x5 convolution, stride 1x2, padding 0x2, 2x8x9 -> 3x6x5",
        "  H           floor((8 + 2·0 - 1·(3 - 1) - 1)/1) + 1 = 6",
        "  W           floor((9 + 2·2 - 1·(5 - 1) - 1)/2) + 1 = 5",
        "  parameters  K_h·K_w·M·N + N = 3·5·2·3 + 3 = 93",
        "  MACs        H·W·K_h·K_w·M·N = 6·5·3·5·2·3 = 2,700",
        "",
    ]


def test_layers_that_are_used_again_and_dilation_are_worked():
    layer = nn.Conv2d(2, 2, 3, padding=2, dilation=2)
    lines = worked_answer(priced(nn.Sequential(layer, layer), (2, 8, 8)))
    assert lines[2:8] == [
        "0: 3x3 convolution, stride 1, padding 2, 2x8x8 -> 2x8x8",
        "  H = W       floor((8 + 2·2 - 2·(3 - 1) - 1)/1) + 1 = 8",
        "  parameters  K²·M·N + N = 3²·2·2 + 2 = 38",
        "  MACs        H·W·K²·M·N = 8·8·3²·2·2 = 2,304",
        "              2 times: 4,608",
        "  field       R = 5 + 4·1 = 9, J = 1·1 = 1, in the last call",
    ]


def test_long_sums_are_shortened():
    lines = worked_answer(
        priced(nn.Sequential(*[nn.Conv2d(1, n % 2 + 1, 1) for n in (0,) * 8 + (1,)]), (1, 2, 2))
    )
    assert "convolutions     2 + 2 + 2 + ... + 4 = 20 parameters" in lines
    lines = worked_answer(priced(nn.Sequential(*[nn.Conv2d(1, 1, 1) for _ in range(8)]), (1, 2, 2)))
    assert "convolutions     2 + 2 + 2 + 2 + 2 + 2 + 2 + 2 = 16 parameters" in lines


def test_fields_that_no_sum_explains_are_left_out():
    after = [nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3)]
    lines = worked_answer(priced(nn.Sequential(nn.Conv2d(1, 1, 3), *after), (1, 9, 9)))
    assert sum(line.startswith("  field") for line in lines) == 1


def test_every_worked_sum_is_right():
    """R, J and output sizes of a large network, read back from the text."""
    network = skeleton("torchvision/mobilenet_v2", channels=3, classes=1000)
    lines = worked_answer(priced(network, (3, 224, 224)))
    sums = [line for line in lines if line.startswith(("  field", "  H = W"))]
    assert len(sums) == 2 * 52
    for line in sums:
        for step in re.findall(r"(?:R|J|W) +(?:= )?(.+?) = (\d+)", line):
            expression, result = step
            expression = expression.replace("·", "*").replace(")/", ")//").replace("floor", "")
            assert eval(expression) == int(result), line
