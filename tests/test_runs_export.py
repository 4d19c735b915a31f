"""Exported files: what they take, give and say of themselves; programs without concord read them alike."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from messy_made import KINDS, photo, write_messy
from PIL import Image
from run_made import call

import concord
from concord.errors import UsageError
from concord.runs.export_script import SCRIPT, script_for
from concord.runs.loading import load_run

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")

# neither concord nor torch may be imported by what runs after this
BLOCKED = """
import runpy, sys

class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("concord", "torch", "torchvision"):
            raise ImportError(f"{name} is not for this program")

sys.meta_path.insert(0, Nobody())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two members trained in bfloat16 on photos of three classes."""
    home = tmp_path_factory.mktemp("export")
    numbers = np.random.default_rng(5)
    for k, name in enumerate(("cat", "über kuh", 'dog, "old"')):
        folder = home / "photos" / name
        folder.mkdir(parents=True)
        for i in range(30):
            pixels = np.asarray(photo(numbers).resize((40, 36))).astype(int)
            pixels[..., k] += 40
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{i}.jpg")
    settings = {
        "data": {"source": str(home / "photos"), "size": 28},
        "members": [
            {"name": "st", "network": "noel2017_st"},
            {"name": "lenet", "network": "lenet5"},
        ],
        "consensus": {"cost": "l2", "weight": 0.01},
        "train": {"epochs": 3, "batch_size": 16, "threads": 1, "precision": "bfloat16"},
    }
    concord.train(settings, home / "run")
    return home / "run"


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    return write_messy(tmp_path_factory.mktemp("messy"), 3 * len(KINDS))


@pytest.fixture(scope="module")
def written(run):
    """The ensemble as ONNX, with its script."""
    return concord.export(run, run.parent / "all.onnx", script=run.parent / "label.py")


def labels_of(script, paths):
    """What the script prints: (label, probability) for each path, in their order."""
    command = [sys.executable, "-I", "-c", BLOCKED, script, *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.rsplit("  ", 2) for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == list(map(str, paths))
    return [(label, float(share)) for _, label, share in rows]


def test_an_onnx_file_holds_no_paths_of_this_machine(run, tmp_path):
    content = concord.export(run, tmp_path / "m.onnx", member="st").file.read_bytes()
    assert str(Path(concord.__file__).parent).encode() not in content
    assert b"site-packages" not in content


def test_the_script_labels_messy_photos_as_predict_does_without_concord_and_torch(run, written, messy):
    predicted = concord.predict(run, messy)
    assert [row.error for row in predicted] == [None] * len(messy)
    given = labels_of(run.parent / "label.py", messy)
    assert [label for label, _ in given] == [row.label for row in predicted]
    assert [share for _, share in given] == pytest.approx([row.confidence for row in predicted], abs=6e-4)
    assert len({row.label for row in predicted}) > 1  # or nothing was compared


def test_grey_runs_label_colour_photos_alike(messy, tmp_path):
    settings = {"members": [{"name": "m", "network": "noel2017_st"}], "train": {"epochs": 1, "threads": 1}}
    concord.train({**settings, "data": {"limit": 300, "size": 12}}, tmp_path / "run")
    (tmp_path / "net").mkdir()
    concord.export(tmp_path / "run", tmp_path / "net/m.onnx", script=tmp_path / "label.py")
    predicted = concord.predict(tmp_path / "run", messy[: len(KINDS)])
    assert [label for label, _ in labels_of(tmp_path / "label.py", messy[: len(KINDS)])] == [
        row.label for row in predicted
    ]


def test_the_script_is_as_long_as_is_promised():
    """docs/runs.md: ten lines."""
    code = SCRIPT.splitlines()
    assert len(code) == 10
    assert max(map(len, code)) <= 110


def test_a_script_elsewhere_finds_the_file_and_strange_names_are_only_names(tmp_path):
    text = script_for(Path("a/net.onnx"), Path("b/label.py"))
    assert f"/ {str(Path('../a/net.onnx'))!r})" in text
    assert "# python label.py photo.jpg" in text
    assert "# python a\\nb.py photo.jpg" in script_for(Path("net.onnx"), Path("a\nb.py"))
    evil = script_for(Path("x\"');import os\n\udcff.onnx"))
    compile(evil, "label.py", "exec")
    assert evil.isascii()


@pytest.mark.parametrize("member", ["st", "ensemble"])
def test_onnx_takes_uint8_in_any_batch_and_gives_what_predict_says(run, member, tmp_path):
    written = concord.export(run, tmp_path / "net.onnx", member=member)
    assert written.checked_batches == (1, 3, 8)
    assert written.largest_difference < 1e-5
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]  # no side file
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    ((name, kind, shape),) = [(i.name, i.type, i.shape) for i in session.get_inputs()]
    assert (name, kind, shape[1:]) == ("pixels", "tensor(uint8)", [3, 28, 28])
    assert [o.name for o in session.get_outputs()] == ["probabilities"]
    pixels = torch.randint(0, 256, (5, 3, 28, 28), dtype=torch.uint8)
    (given,) = session.run(None, {"pixels": pixels.numpy()})
    expected = load_run(run).probabilities(pixels, member)
    torch.testing.assert_close(torch.from_numpy(given), expected, rtol=0, atol=1e-5)


def test_an_onnx_file_describes_itself(run, written):
    about = onnxruntime.InferenceSession(written.file).get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["cat", 'dog, "old"', "über kuh"]
    assert (json.loads(about["size"]), about["channels"], about["colour"]) == ([28, 28], "3", "RGB")
    assert (about["member"], about["network"]) == ("ensemble", "noel2017_st, lenet5")
    assert about["values"] == "uint8, 0 to 255"
    assert re.fullmatch(r"\d+\.\d+\S*", about["concord_version"])
    fields = json.loads(about["preprocessing"])
    assert (fields["interpolation"], fields["antialias"], fields["size"]) == ("bilinear", True, [28, 28])
    resize = json.loads((run / "interface.json").read_text())["resize"]
    assert {key: fields[key] for key in resize} == resize
    for word in ("EXIF", "v / 257", "white", "CMYK", "largest centred window", "bilinear", "Pillow"):
        assert word in about["preparation"]


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch 2.11's own loader
def test_torch_export_takes_uint8_and_gives_what_predict_says(run, tmp_path):
    written = concord.export(run, tmp_path / "net.pt2", member="lenet")
    assert written.largest_difference < 1e-5
    assert written.script is None
    pixels = torch.randint(0, 256, (7, 3, 28, 28), dtype=torch.uint8)
    extra = {"concord.json": ""}
    given = torch.export.load(tmp_path / "net.pt2", extra_files=extra).module()(pixels)
    torch.testing.assert_close(given, load_run(run).probabilities(pixels, "lenet"))
    assert json.loads(extra["concord.json"])["member"] == "lenet"


def test_safetensors_holds_the_weights_of_one_member_and_the_description(run, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file

    concord.export(run, tmp_path / "st.safetensors", member="st")
    own = load_run(run).members["st"].state_dict()
    assert all(torch.equal(own[k], v) for k, v in load_file(tmp_path / "st.safetensors").items())
    with safe_open(tmp_path / "st.safetensors", "pt") as opened:
        about = opened.metadata()
    assert about["network"] == "noel2017_st"
    assert json.loads(about["interface"]) == json.loads((run / "interface.json").read_text())
    with pytest.raises(UsageError, match="one member: name one of st, lenet"):
        concord.export(run, tmp_path / "all.safetensors")


def test_json_has_the_keys_of_the_record(run, written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, "export", run, "--to", written.file, "--script", "label.py", "--json")
    given = json.loads(out)
    assert (status, err) == (0, "")
    keys = ["file", "member", "classes", "bytes", "format", "checked_batches", "largest_difference", "script"]
    assert list(given) == list(written.to_dict()) == keys
    assert given == written.to_dict() | {"script": given["script"]}
    assert Path("label.py").read_text() == given["script"]


def test_the_script_is_printed_or_written_where_the_user_says(run, tmp_path, capsys):
    status, out, err = call(capsys, "export", run, "--member", "st", "--to", tmp_path / "st.onnx")
    assert (status, out) == (0, script_for(tmp_path / "st.onnx"))  # what `> label.py` keeps
    assert re.search(r"st\.onnx: st, [\d,]+ bytes; equal to concord predict within \de-\d\d for batches", err)
    assert "save this script beside st.onnx" in err
    (tmp_path / "own").mkdir()
    label = tmp_path / "own/label.py"
    status, out, _ = call(capsys, "export", run, "--to", tmp_path / "st.onnx", "--script", label)
    assert status == 0
    assert "import" not in out
    assert f"python {label} photo.jpg" in out
    assert label.read_text() == script_for(tmp_path / "st.onnx", label)


@pytest.mark.parametrize(
    ("to", "script", "reason"),
    [
        ("net.h5", None, r"net\.h5: the suffix decides the format, expected one of \.onnx, \.pt2"),
        ("net", None, "the suffix decides"),
        ("net.pt2", "label.py", "the script labels with an ONNX file"),
        ("net.onnx", "net.onnx", "cannot hold both"),
    ],
)
def test_wrong_names_are_refused_before_the_run_is_read(to, script, reason, tmp_path):
    with pytest.raises(UsageError, match=reason):
        concord.export(tmp_path / "nowhere", to, script=script)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match="ONNX needs onnxscript: pip install onnx onnxscript onnxruntime"):
        concord.export(tmp_path / "nowhere", "net.onnx")


# Networks that the exporters refuse

NETWORKS = """
import torch
from torch import nn

def plain(channels, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, classes))

def adaptive(channels, classes):
    layers = nn.Conv2d(channels, 4, 3, padding=1), nn.AdaptiveMaxPool2d(3), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(36, classes))

class Own(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.out = nn.Linear(channels * 64, classes)

class Branch(Own):
    def forward(self, x):
        y = self.out(x.flatten(1))
        return 2 * y if y.sum() > 0 else y

class Fixed(Own):
    def forward(self, x):
        y = self.out(x.flatten(1))
        return y.view(2, 10) if torch.compiler.is_exporting() else y

class Raising(Own):
    def forward(self, x):
        if torch.compiler.is_exporting():
            raise ValueError("\\x1b[31mnot today. Or tomorrow\\nsecond line")
        return self.out(x.flatten(1))

def branch(channels, classes): return Branch(channels, classes)
def fixed(channels, classes): return Fixed(channels, classes)
def raising(channels, classes): return Raising(channels, classes)
"""
NAMES = ("plain", "adaptive", "branch", "fixed", "raising")
ALLOW = [f"export_net:{name}" for name in NAMES]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A run of networks of the user's own."""
    home = tmp_path_factory.mktemp("odd")
    (home / "export_net.py").write_text(NETWORKS)
    settings = {
        "data": {"limit": 200},
        "members": [{"name": name[0], "network": f"export_net:{name}"} for name in NAMES],
        "train": {"epochs": 1, "batch_size": 100, "threads": 1, "precision": "float32"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.syspath_prepend(str(home))
        concord.train(settings, home / "run", allow_code=ALLOW)
        yield home / "run"


REFUSED = [
    ("a", ".onnx", r"ONNX has no operation for aten\.adaptive_max_pool2d"),
    ("b", ".onnx", "its forward pass branches on the values of a tensor"),
    ("b", ".pt2", "its forward pass branches on the values of a tensor"),
    ("f", ".pt2", "its forward pass takes one batch size only"),
    ("f", ".onnx", "its forward pass takes one batch size only"),
    ("r", ".onnx", r"\\x1b\[31mnot today\. Change"),
    ("r", ".pt2", r"\\x1b\[31mnot today\. Change"),
]


@pytest.mark.parametrize(("member", "suffix", "reason"), REFUSED)
def test_what_cannot_be_converted_is_one_message_with_the_member_and_what_to_do(
    member, suffix, reason, odd, tmp_path, capfd
):
    allow = [f"--allow-code={name}" for name in ALLOW]
    status, out, err = call(capfd, "export", odd, "--member", member, "--to", tmp_path / f"x{suffix}", *allow)
    assert (status, out) == (2, "")
    assert re.fullmatch(rf"concord: member {member} cannot be exported as {suffix}: .*{reason}.*\n", err)
    assert "Change that part of the network, or export to" in err
    assert (".pt2 (torch.export)" in err) == (member == "a")  # the others fail there too
    assert list(tmp_path.iterdir()) == []


def test_of_an_ensemble_the_member_that_cannot_be_converted_is_named(odd, tmp_path):
    with pytest.raises(UsageError, match=r"^member b cannot be exported as \.pt2"):
        concord.export(odd, tmp_path / "all.pt2", allow_code=ALLOW)


@pytest.mark.parametrize("verb", ["export", "predict"])
def test_only_the_member_that_is_named_is_built(verb, odd, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    what = tmp_path / "p.safetensors" if verb == "export" else tmp_path / "x.png"
    getattr(concord, verb)(odd, what, member="p", allow_code=["export_net:plain"])
    with pytest.raises(UsageError, match="--allow-code export_net:adaptive"):
        getattr(concord, verb)(odd, what, member="a", allow_code=["export_net:plain"])
    with pytest.raises(UsageError, match=r"no member 'q'.*; there are: p, a, b, f, r, ensemble"):
        getattr(concord, verb)(odd, what, member="q")


def test_logging_and_warnings_are_left_as_they_were(odd, tmp_path):
    import logging
    import warnings

    before = (logging.root.manager.disable, list(warnings.filters), logging.getLogger("onnxscript").level)
    with pytest.raises(UsageError):
        concord.export(odd, tmp_path / "b.onnx", member="b", allow_code=ALLOW)
    after = (logging.root.manager.disable, list(warnings.filters), logging.getLogger("onnxscript").level)
    assert after == before
