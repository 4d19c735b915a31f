"""Disks that are full or read-only: status 6, what is needed and what is left, older files as they were."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from data_made import write_image
from run_made import FACTORY, call, file_limit, write_npz
from safetensors.torch import load_file

from concord.cli import app

NETS = (
    FACTORY
    + """

class Shifty(nn.Sequential):
    def forward(self, x):
        logits = super().forward(x)
        return 2 * logits if torch.compiler.is_exporting() else logits

def shifty(channels, classes):
    return Shifty(*make(channels, classes))
"""
)
TINY = ["--data", "data.npz", "--epochs", "1", "--set", "train.batch_size=8"]
TINY += ["--set", "train.threads=1", "--set", "train.precision=float32"]
ALLOW = ["--allow-code", "disk_net:make", "--allow-code", "disk_net:shifty"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with data, pictures, a run, and a study."""
    folder = tmp_path_factory.mktemp("disk")
    (folder / "disk_net.py").write_text(NETS)
    (folder / "file").write_text("x")
    write_npz(folder / "data.npz")
    for i in range(12):
        write_image(folder / "pictures" / f"{i}.png", 20 * i, size=(6, 6))
    members = ["--members", "a=disk_net:make,s=disk_net:shifty"]
    study = ["study", *TINY, "--members", "a=disk_net:make", "--seeds", "1", "--jobs", "1", "--out", "study"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (["train", *TINY, *members, "--out", "run", "--quiet"], study):
            with pytest.raises(SystemExit) as left:
                app.main(command)
            assert left.value.code == 0
    return folder


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


WRITES = {
    "onnx": (["export", "run", "--member", "a", *ALLOW, "--to"], "net.onnx"),
    "pt2": (["export", "run", "--member", "a", *ALLOW, "--to"], "net.pt2"),
    "safetensors": (["export", "run", "--member", "a", *ALLOW, "--to"], "net.safetensors"),
    "report": (["report", "run", *ALLOW, "--to"], "report.html"),
    "csv": (["predict", "run", "pictures", *ALLOW, "--csv"], "labels.csv"),
}


@pytest.mark.fault(4)
@pytest.mark.parametrize("kind", WRITES)
def test_a_full_disk_ends_with_6_and_the_older_file_is_as_it_was(kind, here, tmp_path, capsys):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    command, name = WRITES[kind]
    file = tmp_path / name
    assert call(capsys, *command, file)[0] == 0
    before = file.read_bytes()
    with file_limit(200):
        status, out, err = call(capsys, *command, file)
    assert (status, out) == (6, "")
    assert f"{name}: the disk is full or a size limit was reached" in err
    needs = re.search(r"needs ([\d,]+) bytes, has [\d.]+ MiB free", err)
    assert int(needs[1].replace(",", "")) == pytest.approx(len(before), rel=0.02)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_the_tables_of_a_study_as_they_were(here, capsys):
    before = {file: file.read_bytes() for file in (here / "study").glob("*.*")}
    assert {"table.md", "study.json", "report.html"} <= {file.name for file in before}
    command = ["study", *TINY, "--members", "a=disk_net:make", "--seeds", "1", "--out", "study"]
    with file_limit(200):
        status, _, err = call(capsys, *command)
    assert (status, "study/table." in err) == (6, True)
    assert {file: file.read_bytes() for file in (here / "study").glob("*.*")} == before


def test_a_device_and_a_pipe_are_written_to_and_stay(here, tmp_path, capsys):
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("there is no /dev/full here")
    command = ["predict", "run", "pictures", *ALLOW, "--csv"]
    status, _, err = call(capsys, *command, full)
    assert (status, "/dev/full: the disk is full" in err) == (6, True)
    assert full.is_char_device()
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)
    assert call(capsys, *command, tmp_path / "pipe")[0] == 0
    assert reader.communicate()[0].count("\n") == 13
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_is_followed(here, tmp_path, capsys):
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert call(capsys, "predict", "run", "pictures", *ALLOW, "--csv", tmp_path / "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().count("\n") == 13


def test_the_only_member_of_a_run_need_not_be_named(here, tmp_path, capsys):
    run = "study/cells/a_none_seed0"
    assert call(capsys, "export", run, *ALLOW, "--to", tmp_path / "a.safetensors")[0] == 0
    saved = load_file(tmp_path / "a.safetensors")
    trained = load_file(max((here / run).glob("ckpt/step-*")) / "member-a.safetensors")
    assert saved.keys() == {name for name in trained if not name.startswith("beside/")}
    assert all(torch.equal(saved[name], trained[name]) for name in saved)


def test_an_onnx_file_whose_answers_are_no_numbers_is_refused(here, tmp_path, capsys, monkeypatch):
    runtime = pytest.importorskip("onnxruntime")

    class Session(runtime.InferenceSession):
        def run(self, *arguments):
            return [answer * float("nan") for answer in super().run(*arguments)]

    monkeypatch.setattr(runtime, "InferenceSession", Session)
    status, _, err = call(capsys, "export", "run", "--member", "a", *ALLOW, "--to", tmp_path / "net.onnx")
    assert (status, "the exported file differs from `concord predict` by nan" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


PLACES = {
    "train": ["train", *TINY, "--members", "a=disk_net:make", "--quiet", "--out", "{}/run"],
    "study": ["study", *TINY, "--members", "a=disk_net:make", "--seeds", "1", "--out", "{}/study"],
    "export": [*WRITES["safetensors"][0], "{}/net.safetensors"],
    "report": [*WRITES["report"][0], "{}/report.html"],
    "csv": [*WRITES["csv"][0], "{}/labels.csv"],
}


@pytest.mark.parametrize("place", ["file", "/proc"])
@pytest.mark.parametrize("verb", PLACES)
def test_a_place_that_cannot_be_written_to_is_named(verb, place, here, capsys):
    status, out, err = call(capsys, *(word.format(place) for word in PLACES[verb]))
    assert (status, out) == (6, "")
    assert re.search(rf"{place}/\S+: cannot write \((Not a directory|No such file or directory)\)", err)


@pytest.mark.fault(4)
@pytest.mark.parametrize("verb", ["train", "study", "resume"])
def test_on_a_disk_that_is_full_from_the_start_the_first_file_is_named(verb, here, tmp_path, capsys):
    line = PLACES.get(verb, ["resume", "{}/run", "--set", "train.epochs=2", *ALLOW])
    if verb == "resume":
        shutil.copytree(here / "run", tmp_path / "run")
    with file_limit(0):
        status, out, err = call(capsys, *(word.format(tmp_path) for word in line))
    assert (status, out) == (6, "")
    name = "study" if verb == "study" else "run"
    assert re.search(rf"{name}/\.lock: the disk is full", err)


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"'
ALL_VERBS = """
import json, sys
from concord.cli import app

for verb, command in json.loads(sys.argv[1]).items():
    try:
        app.main(command)
    except SystemExit as left:
        print(verb, left.code, file=sys.stderr)
"""


@pytest.mark.fault(4)
def test_on_a_disk_mounted_read_only_every_verb_says_so(here, tmp_path):
    if subprocess.run(["unshare", "-rm", "sh", "-c", READ_ONLY, tmp_path], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount")
    commands = {verb: [w.format(tmp_path) for w in words] for verb, words in PLACES.items()}
    inside = ["unshare", "-rm", "sh", "-c", f'{READ_ONLY} && exec "$@"', tmp_path]
    done = subprocess.run(
        [*inside, sys.executable, "-c", ALL_VERBS, json.dumps(commands)], capture_output=True, text=True
    )
    assert [line for line in done.stderr.splitlines() if line.endswith(" 6")] == [f"{v} 6" for v in PLACES]
    assert done.stderr.count("cannot write (Read-only file system)") == len(PLACES)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_that_differs_from_pytorch_is_refused_and_the_older_one_stays(here, tmp_path, capsys):
    """The member gives twice its logits once it is exported."""
    pytest.importorskip("onnxruntime")
    file = tmp_path / "net.onnx"
    file.write_text("old")
    status, out, err = call(capsys, "export", "run", "--member", "s", *ALLOW, "--to", file)
    assert (status, out) == (2, "")
    given = re.search(r"the exported file differs from `concord predict` by (\S+), more than 1e-05", err)
    assert float(given[1]) > 1e-5
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
