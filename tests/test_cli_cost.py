"""``concord cost`` as a user meets it."""

import json
import re
import subprocess
import sys

import pytest

from concord.bench import cost as bench_cost
from concord.cli import app

OWN = '''
import torch
from torch import nn


def three(channels=3, classes=200):
    """The network of Merrikhi 2024."""
    features = []
    for c, n in ((channels, 64), (64, 128), (128, 256)):
        features += [nn.Conv2d(c, n, 5, stride=2, padding=2), nn.ReLU()]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(65_536, classes))


class Looks(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.one, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        y = self.one(x)
        return self.head(y.mean((2, 3))) if y.abs().max() < 99 else y


class Deeper(nn.Module):
    """Looks at numbers, but only in pictures of some size."""

    def __init__(self, classes):
        super().__init__()
        self.one, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        y = self.one(x)
        if y.shape[-1] > 4 and y.abs().max() > 99:
            y = y * 2
        return self.head(y.mean((2, 3)))


class Both(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.see, self.read = nn.Conv2d(channels, 4, 3), nn.Embedding(50, 4)

    def forward(self, picture, words):
        return self.see(picture).mean((2, 3)) + self.read(words).mean(1)


class Loud(nn.Module):
    def __init__(self, channels):
        super().__init__()
        print("made")
        self.one = nn.Conv2d(channels, 4, 3)

    def forward(self, x):
        print("asked")
        return self.one(x)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.read, self.one, self.two = nn.Embedding(50, 4), nn.Conv1d(4, 3, 5), nn.Conv1d(3, 3, 6)

    def forward(self, words):
        return self.two(self.one(self.read(words).transpose(1, 2)))


def words(channels=1, classes=10):
    return Words()


def sound(channels=2, classes=10):
    return nn.Sequential(nn.Conv1d(channels, 4, 5), nn.MaxPool1d(2), nn.Conv1d(4, 4, 5))


def features(channels=1, classes=10):
    return nn.Linear(24, classes)


def looks(channels=3, classes=10):
    return Looks(classes)


def deeper(channels=3, classes=10):
    return Deeper(classes)


def both(channels=3, classes=10):
    return Both(channels)


def loud(channels=3, classes=10):
    return Loud(channels)


def wide(channels=3, classes=10):
    return nn.Conv2d(channels, 4, (3, 5), (1, 2))


def evil(channels=3, classes=10):
    network = nn.Sequential()
    network.add_module("<script>\\x1b[31m", nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU()))
    return network


def nothing(channels=3, classes=10):
    return nn.ReLU()


def broken(channels=3, classes=10):
    raise ValueError("no")
'''


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A folder with the user's own code, as the current one."""
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_networks", None)


@pytest.fixture
def call(capsys):
    """Exit status and the two streams of one command."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            app.main(["cost", *map(str, arguments)])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return run


@pytest.fixture
def document(call):
    """What --json gives."""

    def run(*arguments):
        status, out, _ = call(*arguments, "--json")
        assert status == 0
        return json.loads(out)

    return run


# --- json ---------------------------------------------------------------------------------


def test_the_document_has_the_keys_that_programs_rely_on(document):
    one = document("resnet18")
    keys = {
        "network",
        "input",
        "parameters",
        "buffers",
        "macs",
        "other_operations",
        "receptive_field",
        "layers",
    }
    assert keys <= one.keys()
    assert (one["network"], one["input"]) == ("resnet18", [3, 224, 224])
    assert (one["parameters"], one["buffers"], one["macs"]) == (11_689_512, 9_620, 1_814_073_344)
    field = {key: one["receptive_field"][key] for key in ("size", "seen", "stride")}
    assert field == {"size": 435, "seen": 224, "stride": 32}
    first, last = one["layers"][0], one["layers"][-1]
    assert {"path", "type", "output", "parameters", "macs", "rule"} <= first.keys()
    assert (first["path"], first["type"], first["output"]) == ("conv1", "Conv2d", [64, 112, 112])
    assert first["rule"].startswith("K²·M·N = 7²·3·64 = 9,408 parameters; H·W·K²·M·N = 112·112·7²·3·64 = ")
    assert (last["path"], last["parameters"], last["macs"]) == ("fc", 513_000, 512_000)
    for figure in ("parameters", "buffers", "macs", "other_operations"):
        assert one[figure] == sum(layer[figure] for layer in one["layers"])


def test_several_networks_give_a_list_in_their_order(document):
    several = document("noel2017_st", "alexnet", "noel2017_st")
    assert [one["network"] for one in several] == ["noel2017_st", "alexnet", "noel2017_st"]
    assert [one["input"] for one in several] == [[3, 32, 32], [3, 224, 224], [3, 32, 32]]
    assert several[0] == several[2]
    assert several[0]["ratios_to_first"] == dict.fromkeys(
        ("parameters", "macs", "other_operations", "peak_activations"), 1.0
    )
    assert several[1]["ratios_to_first"]["macs"] == several[1]["macs"] / several[0]["macs"] > 100
    assert "ratios_to_first" not in document("noel2017_st")


def test_ratios_to_nothing_are_null(document):
    none, _ = document("my_networks:nothing", "noel2017_st", "--input", "3x8x8")
    assert none["ratios_to_first"] == {
        "parameters": None,
        "macs": None,
        "other_operations": 1.0,
        "peak_activations": 1.0,
    }


def test_energy_and_the_exactness_of_the_field_are_in_the_document(document):
    one = document("noel2017_st")
    low, high = one["energy_joules"]
    moved = one["parameters"] + one["buffers"] + 2 * one["activations"]
    assert high - low == pytest.approx(moved * 0.65e-9)
    assert one["receptive_field"]["exact"] is False  # 49 positions, of an input of 32
    assert document("vgg16")["receptive_field"]["exact"] is True


def test_one_number_where_sides_agree_and_a_list_where_they_differ(document):
    field = document("my_networks:wide", "--input", "3x8x9")["receptive_field"]
    assert (field["size"], field["stride"], field["start"]) == ([3, 5], [1, 2], [1, 2])
    layers = document("my_networks:three", "--input", "3x128x128", "--classes", 2)["layers"]
    assert [layer["receptive_field"] for layer in layers] == [5, 5, 13, 13, 29, 29, None]


# --- tables ----------------------------------------------------------------------------------


def test_the_tables_of_one_network(call):
    status, out, err = call("resnet18")
    assert (status, err) == (0, "")
    assert "resnet18, input 3x224x224" in out
    assert re.search(
        r"^layer4\.1\.conv2 +Conv2d +512x7x7 +2,359,296 +20\.18 +115,605,504 +6\.37 +0 ", out, re.M
    )
    assert re.search(r"^all +11,689,512 +100\.00 +1,814,073,344 +100\.00 +9,659,880$", out, re.M)
    assert "K²·M·N = 3²·512·512 = 2,359,296 parameters" in out
    assert "1,814,073,344 (3,628,146,688 FLOPs" in out
    assert "435x435 (of this input 224x224), stride 32, start 0, up to" in out


def test_several_networks_side_by_side_with_ratios(call):
    status, out, _ = call("resnet18", "mobilenet_v2")
    assert status == 0
    assert re.search(r"^resnet18 +3x224x224 +11,689,512 +1\.0000 .*1,814,073,344 +1\.0000", out, re.M)
    assert re.search(r"^mobilenet_v2 +3x224x224 +3,504,872 +0\.2998 .*300,774,272 +0\.1658", out, re.M)
    assert "layer1" not in out


@pytest.mark.parametrize(("depth", "rows"), [(1, 10), (2, 14), (9, 60)])
def test_depth_folds(call, depth, rows):
    _, out, _ = call("resnet18", "--depth", depth)
    lines = out.partition("\n\nHow each")[0].splitlines()
    body = lines[next(i for i, line in enumerate(lines) if line.startswith("---")) + 1 :]
    body = body[: next(i for i, line in enumerate(body) if line.startswith("all ")) + 1]
    assert len(body) == rows + 1
    figures = [re.search(r"(\d[\d,]*) +\d+\.\d\d +([\d,]+)(?: +\S+ / \S+)?$", line).groups() for line in body]
    for column, whole in enumerate((1_814_073_344, 9_659_880)):
        *parts, total = [int(row[column].replace(",", "")) for row in figures]
        assert sum(parts) == total == whole


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resnet18", "lenet5", "--depth", 2), "--depth is for the table of one network, got 2"),
        (("resnet18", "--depth", 2, "--worked"), "--worked shows every layer"),
        (("resnet18", "--depth", 2, "--json"), "--json lists every layer with its rule"),
        (("resnet18", "lenet5", "--worked", "--json"), "--json lists every layer with its rule"),
    ],
)
def test_options_that_have_no_effect_together_are_refused(call, arguments, said):
    status, _, err = call(*arguments)
    assert status == 2
    assert said in err


def test_the_worked_answer_of_merrikhi_2024(call):
    status, out, _ = call("my_networks:three", "--input", "3x128x128", "--classes", 200, "--worked")
    assert status == 0
    for line in (
        "0: 5x5 convolution, stride 2, padding 2, 3x128x128 -> 64x64x64",
        "  parameters  K²·M·N + N = 5²·3·64 + 64 = 4,864",
        "  MACs        H·W·K²·M·N = 64·64·5²·3·64 = 19,660,800",
        "  field       R = 13 + 4·4 = 29, J = 2·4 = 8",
        "convolutions     4,864 + 204,928 + 819,456 = 1,029,248 parameters",
        "fully connected  13,107,400 / 14,136,648 = 92.72 % of the parameters, 2.90 % of the MACs",
    ):
        assert line in out.splitlines()


def test_the_zoo_s_network_of_merrikhi_2024(document):
    plain, separable = document("three_layer", "three_layer_separable")
    assert (plain["parameters"], separable["parameters"]) == (14_136_648, 13_158_600)
    assert (plain["macs"], separable["macs"]) == (439_091_200 + 13_107_200, 38_895_616 + 13_107_200)


# --- inputs ------------------------------------------------------------------------------------


def test_sizes_and_classes(document):
    one = document("resnet18", "--input", "1x96x64", "--classes", 7)
    assert (one["input"], one["layers"][0]["output"]) == ([1, 96, 64], [64, 48, 32])
    assert one["parameters"] == 11_689_512 - 2 * 64 * 49 - 993 * 513
    assert document("noel2017_st(filters=12)")["parameters"] > document("noel2017_st")["parameters"]


def test_networks_of_several_inputs(document):
    one = document("my_networks:both", "--input", "3x8x8", "--input", "ids:7")
    assert (one["input"], one["macs"]) == ([[3, 8, 8], [7]], 36 * 108)
    assert one["receptive_field"] == one["receptive_fields"][0]
    assert [(seen["input"], seen["size"]) for seen in one["receptive_fields"]] == [(0, 3), (1, 1)]


def test_each_input_of_a_network_has_its_field(call):
    # Three dense layers of 3 in each block, pooling by 2 between two: 1 + 6, + 1, + 12, + 2, + 24 words.
    _, out, _ = call("multimodal_densenet")
    fields = [line for line in out.splitlines() if line.startswith("receptive field")]
    assert [line.partition(",")[0].split("field")[1].strip() for line in fields] == [
        "93x93 (of this input 28x28)",
        "46 (of this input 26)",
    ]
    assert fields[1].endswith("of input 26")


def test_a_size_in_brackets_is_that_of_the_picture(document):
    assert document("three_layer(side=32)")["input"] == [3, 32, 32]


def test_what_a_network_prints_is_no_part_of_the_document(own):
    line = [sys.executable, "-m", "concord", "cost", "my_networks:loud", "--input", "3x8x8", "--json"]
    done = subprocess.run(line, cwd=own, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["macs"] == 36 * 108
    assert done.stderr.splitlines() == ["made", "asked"]


def test_more_elements_than_torch_can_number_have_no_smallest_picture(call):
    status, _, err = call("resnet18", "--input", "3x999999999x999999999")
    assert status == 2
    assert err.rstrip().endswith("has more elements than torch can number; give a smaller one")


def test_a_size_that_nobody_could_hold(document):
    one = document("resnet18", "--input", "3x1000000x1000000")
    assert (one["device"], one["layers"][0]["macs"]) == ("meta", 500_000**2 * 49 * 3 * 64)


@pytest.mark.parametrize(
    "given", ["abc", "", "3x", "x3", "3x-1", "3x1.5", "3,8,8", "ids:", "ids:x", "٣x8x8", "9" * 30]
)
def test_what_is_no_size_is_refused_with_the_right_form(call, given):
    status, out, err = call("resnet18", "--input", given)
    assert (status, out) == (2, "")
    assert "3x224x224" in err
    assert "ids:24" in err


def test_sizes_of_nothing_are_refused(call):
    status, _, err = call("resnet18", "--input", "0x3")
    assert status == 2
    assert "every size must be at least 1" in err


@pytest.mark.parametrize(
    ("network", "given", "layer", "smallest"),
    [
        ("alexnet", "3x32x32", r"features\.12 \(MaxPool2d\)", "3x63x63"),
        ("inception_v3", "3x64x64", r"Mixed_7a\S* \(Conv2d\)", "3x75x75"),
        ("vit_b_16", "3x32x32", "Expected 224 but got 32", "3x224x224"),
        ("noel2017_st", "3x30x30", "multiples of 4, got 30x30", "3x4x4"),
    ],
)
def test_a_picture_of_the_wrong_size_is_refused_with_the_smallest_legal_one(
    call, network, given, layer, smallest
):
    status, out, err = call(network, "--input", given)
    assert (status, out) == (2, "")
    assert network in err
    assert re.search(layer, err)
    assert smallest in err
    assert call(network, "--input", smallest, "--json")[0] == 0


@pytest.mark.parametrize(
    ("network", "given", "said"),
    [
        # 5 of 10 words are left by a window of 6, one of those by one of 5
        (
            "my_networks:words",
            "ids:7",
            "the shortest input that it takes is 10 token ids; use --input ids:10",
        ),
        # 14 -> 10 -> 5 -> 1
        ("my_networks:sound", "2x9", "the shortest input that it takes is 2x14; use --input 2x14"),
        ("my_networks:features", "25", "an input that it takes is 24; use --input 24"),
    ],
)
def test_a_sequence_of_the_wrong_length_is_refused_with_the_shortest_legal_one(call, network, given, said):
    status, out, err = call(network, "--input", given)
    assert (status, out) == (2, "")
    assert said in err
    assert call(network, "--input", said.split()[-1], "--json")[0] == 0


def test_the_smallest_picture_beside_a_text(call):
    status, _, err = call("multimodal_densenet", "--input", "1x2x2", "--input", "ids:5")
    assert status == 2
    assert "at least 7, got 2x2; the smallest square picture that it takes is 1x7x7" in err


@pytest.mark.parametrize(
    ("network", "given", "use"),
    [
        ("my_networks:words", ("24",), "--input ids:24"),
        ("my_networks:both", ("3x8x8", "7"), "--input 3x8x8 --input ids:7"),
    ],
)
def test_numbers_where_token_ids_are_read_are_refused_with_the_form_of_ids(call, network, given, use):
    status, _, err = call(network, *(option for one in given for option in ("--input", one)))
    assert status == 2
    assert "(Embedding) does not take its input" in err
    assert f"reads token ids, which are whole numbers (int64); use {use}\n" in err
    assert call(network, *use.split())[0] == 0


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (("1x28x28",), "1x28x28"),
        (("1x28x28", "26"), "1x28x28 and 26"),
        (("ids:26",), "26 token ids"),
        (("1x8x8", "ids:5", "ids:5"), "1x8x8 and 5 token ids and 5 token ids"),
    ],
)
def test_a_network_of_two_inputs_says_which_it_takes(call, given, got):
    options = [option for one in given for option in ("--input", one)]
    status, out, err = call("multimodal_densenet", *options)
    assert (status, out) == (2, "")
    assert f"takes a picture and token ids, such as 1x28x28 and 26 token ids; got {got}; use " in err
    assert err.endswith("use --input 1x28x28 --input ids:26\n")
    assert "positional" not in err


@pytest.mark.parametrize("given", [("3x224x224", "ids:5"), ("3x32x32", "3x32x32"), ("ids:24",)])
def test_a_network_for_pictures_says_so(call, given):
    status, out, err = call("resnet18", *(option for one in given for option in ("--input", one)))
    assert (status, out) == (2, "")
    assert "resnet18 takes pictures, channels x height x width, such as 3x224x224" in err
    assert err.endswith("use --input 3x224x224\n")
    assert ("and no other input" in err) == (len(given) > 1)


def test_the_error_says_that_an_input_was_guessed(call):
    status, _, err = call("my_networks:features")
    assert status == 2
    assert "the input 3x224x224 is a guess; use --input to give the sizes that the network takes" in err
    assert "guess" not in call("my_networks:features", "--input", "3")[2]


def test_an_unknown_name_is_reported_before_a_wrong_input(call):
    assert "did you mean 'resnet18'?" in call("resnet81", "--input", "24")[2]


def test_errors_are_documents_too(call):
    status, out, err = call("alexnet", "--input", "3x32x32", "--json")
    assert (status, json.loads(out)["status"]) == (2, 2)
    assert json.loads(out)["error"] in err.replace("concord: ", "").strip()


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "near"), [("resnet81", "resnet18"), ("noel2017_s", "noel2017_st")])
def test_an_unknown_network_suggests_the_nearest(call, wrong, near):
    status, out, err = call("resnet18", wrong)
    assert (status, out) == (2, "")
    assert f"did you mean {near!r}?" in err


def test_a_network_that_looks_at_numbers_of_larger_pictures_only_is_counted_too(document):
    small, large = (document("my_networks:deeper", "--input", f"3x{n}x{n}") for n in (4, 8))
    assert (small["device"], large["device"]) == ("meta", "cpu")
    assert large["macs"] == 3 * 9 * 4 * 36 + 4 * large["layers"][-1]["output"][0]


def test_a_network_of_the_user_s_that_looks_at_numbers(call, document):
    one = document("my_networks:looks", "--input", "3x8x8")
    assert (one["device"], one["macs"]) == ("cpu", 36 * 108 + 4 * one["layers"][-1]["output"][0])
    assert "by running the network on the cpu" in call("my_networks:looks", "--input", "3x8x8")[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_networks:broken", "ValueError: no"),
        ("my_networks:loks", "did you mean 'looks'?"),
        ("no_such_module:f", "cannot import no_such_module"),
        ("my_networks:", "package.module:factory"),
    ],
)
def test_the_user_s_own_code_may_be_wrong(call, name, said):
    status, _, err = call(name)
    assert status == 2
    assert said in err


def test_escape_sequences_in_names_do_not_reach_the_terminal(call):
    for options in ([], ["--worked"], ["--depth", 1]):
        status, out, _ = call("my_networks:evil", "--input", "3x8x8", *options)
        assert status == 0
        assert "\x1b" not in out
        assert "<script>" in out


# --- files ---------------------------------------------------------------------------------------------


def test_the_page(call, own):
    status, out, _ = call("my_networks:evil", "resnet18", "--input", "3x64x64", "--html", "cost.html")
    page = (own / "cost.html").read_text(encoding="utf-8")
    assert status == 0
    assert "Cost side by side" in out
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert "<details" in page
    assert "<details open" not in page
    assert "layer4.1.conv2" in page


def test_a_page_that_cannot_be_written(call, own):
    (own / "file").write_text("")
    status, out, err = call("resnet18", "--html", "file/page.html")
    assert (status, out) == (6, "")
    assert "cannot write" in err


def test_the_bench_runs_without_the_other_tools_and_names_them(monkeypatch):
    monkeypatch.setattr(bench_cost, "NETWORKS", ("mobilenet_v2",))
    monkeypatch.setattr(bench_cost.importlib.util, "find_spec", lambda name: None)
    measured = bench_cost.bench_cost(1)
    row = measured["networks"]["mobilenet_v2"]
    assert row["macs"]["concord"] == 300_774_272
    assert row["macs"]["concord at 1024"] > 20 * row["macs"]["concord"]
    assert row["times_faster_than_the_fastest"] is None
    assert measured["not_installed"] == ["fvcore", "ptflops", "thop", "torchinfo"]


def test_a_folder_is_no_name_for_the_page(tmp_path, call):
    status, _, err = call("lenet5", "--html", tmp_path)
    assert status == 2
    assert "is a folder" in err


def test_a_picture_without_channels_is_refused_with_the_form_that_is_wanted(call):
    status, _, err = call("resnet18", "--input", "224x224")
    assert status == 2
    assert (
        "resnet18 takes pictures, channels x height x width, such as 3x224x224; got 224x224; use --input"
        in err
    )
