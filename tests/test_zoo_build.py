"""One door to the zoo's, torchvision's, timm's and the user's networks."""

import importlib
import re
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn

from concord import zoo
from concord.errors import UsageError
from concord.zoo import foreign
from concord.zoo.build import refuse_unknown

FIVE_LINES = """
from torch import nn
def make(channels, classes):
    layers = [nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, classes))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a module into the current directory and gives the name of its factory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(text, factory="make"):
        name = f"own_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return f"{name}:{factory}"

    yield write
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def build(name, channels=1, classes=7, **options):
    return zoo.build(name, channels=channels, classes=classes, **options)


def logits_shape(network, channels, side):
    return tuple(network.eval()(torch.randn(2, channels, side, side)).shape)


# --- the libraries ------------------------------------------------------------


def test_a_network_of_the_zoo():
    assert logits_shape(build("noel2017_st"), 1, 28) == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "torchvision/resnet18"])
def test_torchvision_with_one_channel(name):
    network = build(name)
    assert isinstance(network, torchvision.models.ResNet)
    assert network.conv1.weight.shape == (64, 1, 7, 7)
    assert logits_shape(network, 1, 32) == (2, 7)


@pytest.mark.parametrize(
    ("name", "side"), [("googlenet", 32), ("inception_v3", 75), ("squeezenet1_1", 32), ("mobilenet_v2", 32)]
)
def test_torchvision_gives_logits_only_while_training(name, side):
    network = build(name, channels=2).train()
    assert network(torch.randn(2, 2, side, side)).shape == (2, 7)


def test_every_family_of_torchvision_takes_other_channels_and_classes():
    families = "alexnet convnext_tiny densenet121 efficientnet_b0 maxvit_t mnasnet0_5 mobilenet_v3_small "
    families += "resnext50_32x4d shufflenet_v2_x0_5 swin_t swin_v2_t vgg11_bn vit_b_32 wide_resnet50_2"
    for name in families.split():
        with torch.device("meta"):
            network = build(name, channels=4)
        assert network(torch.empty(2, 4, 224, 224, device="meta")).shape == (2, 7)
    assert logits_shape(build("regnet_y_400mf", channels=4), 4, 32) == (
        2,
        7,
    )  # does arithmetic while building


@pytest.mark.parametrize("name", ["timm/resnet10t", "resnet10t"])
def test_timm(name):
    pytest.importorskip("timm")
    assert logits_shape(build(name), 1, 32) == (2, 7)


def test_timm_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(foreign, "_timm", lambda: None)
    with pytest.raises(UsageError, match="pip install timm"):
        build("timm/resnet10t")
    with pytest.raises(UsageError, match=r"timm \(not installed: pip install timm\)"):
        build("resnet10t")


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("noel2017st", "noel2017_st"),
        ("resnet1800", "resnet18"),
        ("torchvision/resnet81", "torchvision/resnet18"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest_one(given, near):
    with pytest.raises(UsageError, match=rf"no network is named '{given}' \(did you mean '{near}'\?\)"):
        build(given)


def test_unknown_name_of_timm_is_refused_with_the_nearest_one():
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match=r"timm has no network 'resnte18' \(did you mean 'resnet18'\?\)"):
        build("timm/resnte18")


@pytest.mark.parametrize("numbers", [{"channels": 0}, {"classes": 0}])
def test_no_channels_and_no_classes_are_refused(numbers):
    with pytest.raises(UsageError, match="at least 1"):
        build("noel2017_st", **numbers)


# --- pretrained ---------------------------------------------------------------


@pytest.fixture
def weights(monkeypatch):
    """Stands in for the download: the state of a random network of the name that is asked for."""

    def fetch(name):
        options = {"init_weights": False} if name in foreign.WITH_AUXILIARY_HEADS else {}
        state = torchvision.models.get_model(name, **options).state_dict()
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
        return state

    return fetch


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet", "inception_v3"])
def test_pretrained_keeps_all_but_the_head(name, weights):
    given = weights(name)
    state = build(name, channels=3, pretrained=True).state_dict()
    new = {
        key
        for key in state
        if state[key].shape != given[key].shape or not torch.equal(state[key], given[key])
    }
    assert new <= {f"{path}.{kind}" for path in ("fc", "classifier.1") for kind in ("weight", "bias")}
    assert {state[key].shape[0] for key in new} == {7}
    assert not any("aux" in key.lower() for key in state)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "resnet18"])
def test_a_network_filled_with_the_weights_of_a_pretrained_one_gives_what_that_gives(name, channels, weights):
    weights(name)
    fetched = build(name, channels=channels, pretrained=True).eval()
    filled = build(name, channels=channels).eval()
    filled.load_state_dict(fetched.state_dict())
    foreign.as_pretrained(filled, channels)
    x = torch.rand(2, channels, 96, 96)
    assert torch.equal(filled(x), fetched(x))


def test_pretrained_with_the_same_classes_is_the_given_network(weights):
    given = weights("resnet18")
    state = build("resnet18", channels=3, classes=1000, pretrained=True).state_dict()
    assert all(torch.equal(state[key], given[key]) for key in given)


def test_grey_pictures_give_what_their_three_channel_copies_gave(weights):
    weights("resnet18")
    grey, colour = (build("resnet18", channels=c, classes=1000, pretrained=True).eval() for c in (1, 3))
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(grey(x), colour(x.expand(2, 3, 32, 32)), rtol=1e-4, atol=1e-4)


def test_kernels_follow_the_rule_of_timm():
    manipulate = pytest.importorskip("timm.models._manipulate")
    kernel = torch.randn(4, 3, 2, 2)
    for channels in (1, 2, 4, 6, 7):
        expected = manipulate.adapt_input_conv(channels, kernel)
        torch.testing.assert_close(foreign.fit_kernel(kernel, channels), expected)


def test_a_failed_download_is_one_message(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(UsageError, match="pretrained weights of 'resnet18': no route to host"):
        build("resnet18", pretrained=True)


def test_the_zoo_and_own_code_have_no_pretrained_weights(own):
    name = own(FIVE_LINES)
    for network in ("noel2017_st", "alexnet_paper"):
        with pytest.raises(UsageError, match=f"no pretrained weights for '{network}'"):
            build(network, pretrained=True)
    with pytest.raises(UsageError, match="no pretrained weights"):
        build(name, pretrained=True, allow_code=[name])


# --- the user's own code ------------------------------------------------------


def test_a_factory_of_five_lines_in_the_current_directory(own):
    name = own(FIVE_LINES)
    assert logits_shape(build(name, allow_code=[name]), 1, 8) == (2, 7)


def test_a_class_is_a_factory():
    name = "concord.zoo.noel2017_code:Noel2017Code"
    assert logits_shape(build(name, allow_code=[name]), 1, 8) == (2, 7)


@pytest.mark.parametrize("allowed", [[], ["other:make"], "a prefix of own_x:make and more"])
def test_code_that_was_not_allowed_is_never_imported(own, allowed):
    name = own("raise SystemExit('this file must not run')")
    with pytest.raises(UsageError, match=f"--allow-code {name}"):
        build(name, allow_code=allowed)


def test_a_text_is_not_taken_for_a_collection_of_names(own):
    name = own("raise SystemExit('this file must not run')")
    with pytest.raises(UsageError, match="--allow-code"):
        build(name, allow_code=f"x{name}y")


def test_installed_modules_win_over_files_of_the_current_directory(own, tmp_path):
    (tmp_path / "wave.py").write_text("raise SystemExit('this file must not run')")
    with pytest.raises(UsageError, match=r"wave\.py has no factory 'make'"):
        build("wave:make", allow_code=["wave:make"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_at_all", "cannot import .*: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("x = (", "cannot import .*: SyntaxError"),
        ("def mak(channels, classes): ...", r"\.py has no factory 'make' \(did you mean 'mak'\?\)"),
        ("make = 3", r"\.py has no factory 'make'"),
        ("def make(): ...", r"must return a torch.nn.Module, it returned NoneType"),
        ("def make(a, b, c): ...", r"make\(channels=1, classes=7\) failed: TypeError"),
        ("def make(channels, classes): return 1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("def make(channels, classes): return 3", "must return a torch.nn.Module, it returned int"),
    ],
)
def test_a_factory_that_does_not_work_is_refused_with_the_cause(own, text, message):
    name = own(text)
    with pytest.raises(UsageError, match=message):
        build(name, allow_code=[name])


def test_a_missing_module_is_refused(own):
    with pytest.raises(UsageError, match="cannot import nowhere_at_all"):
        build("nowhere_at_all:make", allow_code=["nowhere_at_all:make"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./my/nets.py:make", "there is no file ./my/nets.py"),
        ("nets.v2-old:make", "form package.module:factory"),
        ("timm:resnet18", "networks of timm are written timm/resnet18"),
        ("torchvision:resnet18", "networks of torchvision are written torchvision/resnet18"),
    ],
)
def test_what_is_no_module_is_refused_with_the_right_name(name, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        build(name, allow_code=[name])


@pytest.mark.parametrize("name", [":make", "module:", "module:a.b", "module:a:b"])
def test_half_a_name_is_refused(name):
    with pytest.raises(UsageError, match=r"form package\.module:factory"):
        build(name, allow_code=[name])


CLASSES = """
from torch import nn
from neighbour import WIDTH

class Net(nn.Module):
    def __init__(self, {parameters}):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64 * {channels}, WIDTH), nn.Linear(5, {classes}))
    def forward(self, x):
        return self.body(x)
"""


@pytest.mark.parametrize(
    ("parameters", "channels", "classes"),
    [
        ("channels, classes", "channels", "classes"),
        ("in_channels, num_classes", "in_channels", "num_classes"),
        ("in_channels, num_classes, width=3", "in_channels", "num_classes"),
        ("channels=1, classes=7", "channels", "classes"),
        ("width=3", "1", "7"),
        ("*, classes, channels", "channels", "classes"),
    ],
)
def test_a_class_in_a_file_is_a_factory_whatever_its_parameters_are_called(
    parameters, channels, classes, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "my nets"
    folder.mkdir()
    (folder / "neighbour.py").write_text("WIDTH = 5")
    text = CLASSES.format(parameters=parameters, channels=channels, classes=classes)
    (folder / "net-v2.py").write_text(text)
    name = f"{folder}/net-v2.py:Net"
    assert logits_shape(build(name, allow_code=[name]), 1, 8) == (2, 7)
    assert type(build(name, allow_code=[name])) is type(build(name, allow_code=[name]))
    with pytest.raises(UsageError, match=r"net-v2.py has no factory 'Nett' \(did you mean 'Net'\?\)"):
        build(f"{name}t", allow_code=[f"{name}t"])
    del sys.modules["neighbour"]


def test_two_files_of_one_name_are_two_modules(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = []
    for part, width in (("a", 3), ("b", 5)):
        (tmp_path / part).mkdir()
        text = f"from torch import nn\ndef make(channels, classes): return nn.Linear({width}, 7)"
        (tmp_path / part / "json.py").write_text(text)
        names.append(f"{tmp_path / part}/json.py:make")
    one, two = (build(name, allow_code=[name]) for name in names)
    assert (one.in_features, two.in_features) == (3, 5)


def test_own_factories_see_the_arguments(own):
    name = own(
        "def make(channels, classes):\n    from torch import nn\n    return nn.Conv2d(channels, classes, 1)"
    )
    network = build(name, channels=5, classes=2, allow_code=(name,))
    assert isinstance(network, nn.Conv2d)
    assert network.weight.shape == (2, 5, 1, 1)


def test_sizes_in_brackets_make_another_size_of_a_zoo_network():
    network = zoo.build("noel2017_st(filters=16, repetitions=2)", channels=3, classes=10)
    assert sum(p.numel() for p in network.parameters()) == 274_906  # which is M


def test_empty_brackets_are_the_network_s_own_size():
    plain, empty = (zoo.build(name, channels=3, classes=10) for name in ("noel2017_st", "noel2017_st( )"))
    assert [p.shape for p in empty.parameters()] == [p.shape for p in plain.parameters()]


@pytest.mark.parametrize(
    "text", ["(width=3)", "(filters=x)", "(filters=3", "(", "(,)", "(channels=3)", "(filters=-1)"]
)
def test_sizes_that_the_network_does_not_have_are_refused(text):
    with pytest.raises(UsageError, match="bricks=N, repetitions=N, filters=N"):
        zoo.build(f"noel2017_st{text}", channels=3, classes=10)


NAMES = [
    "noel2017_m(filters=17)",
    "packed_ensemble(noel2017_m, members=2)",
    "resnet34",
    "timm/resnet18",
    "torchvision/resnet18",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_can_be_built_is_no_unknown_one(name):
    refuse_unknown(name)


WRONG = [
    "noel2017_q",
    "noel2017_m(filter=3)",
    "packed_ensemble(noel2017_q)",
    "timm/resnet181",
    "torchvision/resnet1",
    "resnet18(",
]


@pytest.mark.parametrize("name", WRONG)
def test_an_unknown_name_is_refused_in_the_words_of_the_building(name):
    with pytest.raises(UsageError) as known:
        refuse_unknown(name)
    with pytest.raises(UsageError, match=re.escape(str(known.value))):
        build(name)


def test_names_of_the_zoo_are_known_without_torch():
    code = (
        "import sys; from concord.zoo.build import refuse_unknown as known;"
        "known('noel2017_m(filters=17)'); known('packed_ensemble(noel2017_m, members=2)');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
