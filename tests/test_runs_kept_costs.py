"""The second ``concord cost`` of a network prints the same and counts nothing."""

import copy
import json
import subprocess
import sys

import pytest
from torch import nn

import concord
from concord import zoo
from concord.cli import app
from concord.cost.stored import from_data, to_data
from concord.files import cache
from concord.runs import costs, kept_costs
from concord.runs.cost_inputs import Input


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def in_this_folder(folder, monkeypatch):
    monkeypatch.setenv("CONCORD_CACHE", str(folder))


@pytest.fixture
def counted(monkeypatch):
    """Names of the networks that were counted, not read."""
    names, count = [], costs._counted_by_name

    def noted(network, *rest):
        names.append(network)
        return count(network, *rest)

    monkeypatch.setattr(costs, "_counted_by_name", noted)
    return names


def printed(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        app.main(["cost", *arguments])
    assert not left.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("name", zoo.names())
def test_what_is_printed_the_second_time_is_the_same_to_the_byte(name, capsys, counted, monkeypatch):
    forms = [(), ("--json",), ("--worked",)]
    with monkeypatch.context() as without:
        without.setenv("CONCORD_CACHE", "/dev/null/none")
        fresh = [printed(capsys, name, *form) for form in forms]
    assert counted == [name] * 3
    concord.cost_of(name)
    counted.clear()
    assert [printed(capsys, name, *form) for form in forms] == fresh
    assert counted == []


def test_comparisons_and_pages_are_the_same_too(capsys, counted, monkeypatch, tmp_path):
    line = ("vgg16", "resnet20(filters=8)", "mobilenet_v2", "--html")
    with monkeypatch.context() as without:
        without.setenv("CONCORD_CACHE", "/dev/null/none")
        fresh = printed(capsys, *line, str(tmp_path / "fresh.html"))
    printed(capsys, *line, str(tmp_path / "first.html"))
    counted.clear()
    assert printed(capsys, *line, str(tmp_path / "kept.html")) == fresh
    assert counted == []
    assert (tmp_path / "kept.html").read_bytes() == (tmp_path / "fresh.html").read_bytes()


def test_the_second_time_imports_no_torch(folder):
    concord.cost_of("vgg16")
    heavy = "{'torch', 'torchvision', 'numpy', 'matplotlib', 'scipy', 'timm'}"
    for form in ("", "--json", "--worked", "--html /dev/null"):
        code = (
            "import sys; from concord.cli import app\n"
            f"try: app.main(['cost', 'vgg16', *{form.split()}])\n"
            f"finally: print('HEAVY', {heavy} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "HEAVY set()"
        assert len(done.stdout) > 1_000
        assert not done.stderr


@pytest.mark.parametrize(
    ("network", "inputs", "classes"),
    [
        ("lenet5", (), 12),
        ("lenet5", (1, 28, 28), None),
        ("lenet5", (1, 32, 32), None),
        ("torchvision/resnet18", (), None),
        ("timm/resnet18", (), None),
        ("resnet10t", (), None),  # of timm alone
        ("regnet_y_400mf", (), None),  # of torchvision alone
        ("resnet20(filters=4)", (), None),
        ("resnet20(filters=5)", (), None),
        ("multimodal_densenet", [(1, 28, 28), Input((9,), ids=True)], None),
    ],
)
def test_sizes_inputs_and_classes_have_entries_of_their_own(network, inputs, classes, counted):
    first = concord.cost_of(network, inputs, classes=classes)
    again = concord.cost_of(network, inputs, classes=classes)
    assert counted == [network]
    assert again == first


@pytest.mark.parametrize("changed", ["versions", "python", "sources"])
def test_another_version_or_another_source_is_counted_again(changed, counted, monkeypatch):
    concord.cost_of("lenet5")
    counted.clear()
    if changed == "versions":
        monkeypatch.setattr(kept_costs, "_version", {"torch": "9.0"}.get)
    elif changed == "python":
        monkeypatch.setattr(kept_costs.platform, "python_version", lambda: "3.99.0")
    else:
        monkeypatch.setattr(kept_costs, "_sources", lambda: "another digest")
    concord.cost_of("lenet5")
    assert counted == ["lenet5"]


def test_an_edit_of_any_file_that_counts_changes_the_digest(tmp_path, monkeypatch):
    before = {"cost/a.py": "1", "zoo/b/c.py": "2", "zoo/table.json": "3", "layers/d.py": "4"}
    for name, text in before.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(kept_costs.concord, "__file__", str(tmp_path / "__init__.py"))
    seen = {kept_costs._sources.__wrapped__()}
    for number, name in enumerate(before, 1):
        (tmp_path / name).write_text("5")
        seen.add(kept_costs._sources.__wrapped__())
        assert len(seen) == 1 + number
    (tmp_path / "layers/d.py").rename(tmp_path / "layers/e.py")
    assert kept_costs._sources.__wrapped__() not in seen
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli/other.py").write_text("6")
    assert kept_costs._sources.__wrapped__() == kept_costs._sources.__wrapped__()


def test_the_digest_covers_what_counting_imports():
    """Every file that a count imports is part of the digest, but those that only keep and check."""
    code = (
        "import sys; from concord.runs.costs import cost_of\n"
        "cost_of('resnet20'); cost_of('multimodal_densenet')\n"
        "print(*[m.__file__ for n, m in sys.modules.items() if n.startswith('concord.')], sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    root = str(kept_costs.Path(concord.__file__).parent)
    used = {
        line.removeprefix(f"{root}/") for line in done.stdout.splitlines() if not line.endswith("__init__.py")
    }
    outside = {name for name in used if not name.startswith(kept_costs.COUNTING)}
    keeping = {f"files/{name}.py" for name in ("atomic", "bounded", "cache", "documents", "links")}
    assert outside <= {*keeping, "runs/kept_costs.py"}


def test_the_user_s_code_is_never_kept(counted, tmp_path, monkeypatch):
    (tmp_path / "mine_to_keep.py").write_text(
        "from torch import nn\ndef f(channels, classes): return nn.ReLU()"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        concord.cost_of("mine_to_keep:f", (3, 8, 8), allow_code=["mine_to_keep:f"])
    assert counted == ["mine_to_keep:f"] * 2


def test_what_a_user_registers_is_never_kept(counted, monkeypatch):
    timm = pytest.importorskip("timm")

    def mine(pretrained=False, **kwargs):
        return nn.Conv2d(3, 4, 3)

    registry = sys.modules["timm.models._registry"]
    monkeypatch.setitem(registry._model_entrypoints, "mine", mine)
    assert timm.is_model("mine")
    monkeypatch.setitem(
        zoo.registry.ENTRIES,
        "own",
        zoo.Entry("own", lambda channels=3, classes=9: nn.ReLU(), (3, 8, 8), 0, ""),
    )
    for name in ("mine", "timm/mine", "own"):
        for _ in range(2):
            concord.cost_of(name, (3, 8, 8))
        assert counted == [name] * 2
        counted.clear()


def test_tensors_are_counted_every_time(counted):
    torch = pytest.importorskip("torch")
    for _ in range(2):
        concord.cost_of("lenet5", torch.zeros(1, 1, 28, 28))
    assert counted == ["lenet5"] * 2


def test_an_error_is_not_kept(counted):
    for _ in range(2):
        with pytest.raises(concord.errors.ShapeError):
            concord.cost_of("alexnet", (3, 8, 8))
    assert counted == ["alexnet"] * 2


# --- an entry that somebody made --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    """Convolutions, a recurrent rule, upsampled fields with fractions: all forms of a record."""
    import torch

    class All(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(3, 4, (3, 5), 2, 1)
            self.up = nn.Upsample(size=(1501, 7), mode="nearest")
            self.cell = nn.GRU(7, 3)

        def forward(self, x):
            return self.cell(self.up(self.one(x)).mean(1))[0] + torch.zeros(1)

    priced = concord.cost_of(All(), (3, 2999, 21))
    assert from_data(json.loads(json.dumps(to_data(priced)))) == priced
    return json.loads(json.dumps(to_data(priced)))


def places(value, path=()):
    """Every place in a tree of lists and objects."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def test_what_is_read_can_be_shown_or_is_refused(data):
    """Each value replaced by each of many others: ValueError, or a record that every table can show."""
    from concord.report.cost_page import cost_page
    from concord.report.cost_worked import worked_answer

    wrong = (None, True, -1, 0, 3, 2.5, "x", "1e999999999", [], {}, 1 << 70)
    shown = 0
    for path in list(places(data))[1:]:
        for value in wrong:
            changed = copy.deepcopy(data)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
            try:
                priced = from_data(changed)
            except ValueError:
                continue
            priced.to_dict()
            cost_page([priced])
            worked_answer(priced)
            shown += 1
    assert shown > 20


@pytest.mark.parametrize("content", [{}, {"name": "lenet5"}, {"name": "lenet5", "layers": 3}])
def test_an_entry_of_another_form_is_counted_again(content, counted):
    key = kept_costs.key_of("lenet5", [], None)
    cache.keep(kept_costs.KIND, key, content)
    assert concord.cost_of("lenet5").parameters == 60_850
    assert counted == ["lenet5"]


def test_the_cost_of_another_network_is_not_taken_for_this_one(counted):
    cache.keep(kept_costs.KIND, kept_costs.key_of("lenet5", [], None), to_data(concord.cost_of("alexnet")))
    assert concord.cost_of("lenet5").parameters == 60_850
