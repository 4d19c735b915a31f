"""``concord attack`` on small real runs."""

import json

import numpy as np
import pytest
import torch
from run_made import call

import concord
from concord.attack.fgsm import fgsm
from concord.attack.gradient import away, toward
from concord.attack.strike import Struck
from concord.errors import UsageError
from concord.report.robustness import notices
from concord.runs import attack_inputs, attack_runs
from concord.runs.attack_plan import plan_of
from concord.runs.loading import load_run
from concord.runs.pixels import classifier, unit

MEMBERS = [
    {"name": "a", "network": "noel2017_text_st(filters=4)"},
    {"name": "b", "network": "noel2017_text_st(filters=3)"},
]


def tables(data, **changes):
    settings = {
        "data": {"source": str(data), "valid": 0.1},
        "members": MEMBERS,
        "train": {"epochs": 4, "batch_size": 8, "threads": 1, "precision": "float32"},
    }
    settings["train"]["optimizer"] = {"kind": "adam", "lr": 0.01}
    return settings | changes


def write_data(path, *, seed=0, size=8):
    """Three classes of noise with a bright row, larger than the images of the other tests."""
    numbers = np.random.default_rng(seed)

    def part(count):
        labels = np.arange(count) % 3
        pixels = numbers.integers(0, 120, (count, size, size), dtype=np.uint8)
        pixels[np.arange(count), labels * 2] += 90
        return pixels, labels

    (x, y), (x2, y2) = part(120), part(45)
    np.savez(path, x_train=x, y_train=y, x_test=x2, y_test=y2)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    data = write_data(folder / "data.npz")
    concord.train(tables(data), folder / "one")
    concord.train(
        tables(data, members=MEMBERS[:1], train=tables(data)["train"] | {"seed": 1}), folder / "two"
    )
    return folder


def attack(capsys, *arguments):
    status, out, err = call(capsys, "attack", *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_the_figures_are_those_of_the_attack_written_out(runs, capsys, tmp_path):
    found = attack(capsys, runs / "one", "--eps", "0.2,0.1", "--out", tmp_path)
    run = load_run(runs / "one")
    with np.load(runs / "data.npz") as data:
        x, y = torch.from_numpy(data["x_test"])[:, None], torch.from_numpy(data["y_test"])
    assert found["eps"] == [0.1, 0.2]
    assert found["samples"] == 45
    together = lambda z: (run.members["a"](z) + run.members["b"](z)) / 2  # noqa: E731
    for name, network in {**run.members, "ensemble": together}.items():
        net = classifier(network, run.interface.normalise)
        row = found["networks"][name]
        assert row["clean_error"]["share"] == pytest.approx(
            (net(unit(x)).argmax(1) != y).float().mean().item()
        )
        for point in row["points"]:
            said = net(fgsm(away(net, y), unit(x), point["eps"])).softmax(1)
            wrong = said.argmax(1) != y
            assert point["error"]["share"] == pytest.approx(wrong.float().mean().item())
            if wrong.any():
                assert point["confidence"] == pytest.approx(said.max(1).values[wrong].mean().item(), abs=1e-5)
    assert found["networks"]["a"]["points"][1]["error"]["share"] > 0.3
    for i, name in enumerate(found["networks"]):
        own = found["networks"][name]["points"][1]["error"]["share"]
        assert found["transfer"][1]["error"][i][i] == pytest.approx(own)
    assert [found["transfer"][1]["fooled"][i][i] for i in range(3)] == [1, 1, 1]
    assert json.loads((tmp_path / "attack.json").read_text()) == found
    assert "What the attack adds" in (tmp_path / "attack.html").read_text()


def test_pgd_is_at_least_as_strong_and_equal_seeds_give_equal_figures(runs, capsys):
    options = ["--eps", "0.1", "--method", "pgd", "--steps", "8"]
    weak = attack(capsys, runs / "one")
    strong = attack(capsys, runs / "one", *options)
    assert strong == attack(capsys, runs / "one", *options)
    for name in weak["networks"]:
        one, other = (f["networks"][name]["points"][0]["error"]["share"] for f in (weak, strong))
        assert other >= one - 0.03
    written = runs / "one" / "attack"
    assert (written / "pgd-linf" / "attack.html").is_file()
    assert json.loads((written / "fgsm" / "attack.json").read_text()) == weak


def test_a_wanted_class_is_reached_and_its_images_are_left_out(runs, capsys):
    found = attack(capsys, runs / "one", "--target", "2", "--eps", "0,0.4", "--member", "ensemble")
    assert found["samples"] == 30
    nothing, much = (point["reached"]["share"] for point in found["networks"]["ensemble"]["points"])
    assert much > 0.5 > nothing
    run = load_run(runs / "one")
    with np.load(runs / "data.npz") as data:
        x, y = torch.from_numpy(data["x_test"])[:, None], torch.from_numpy(data["y_test"])
    net = classifier(lambda z: (run.members["a"](z) + run.members["b"](z)) / 2, run.interface.normalise)
    wanted = torch.full((30,), 2)
    for eps, share in ((0.0, nothing), (0.4, much)):
        said = net(fgsm(toward(net, wanted), unit(x[y != 2]), eps)).argmax(1)
        assert share == pytest.approx((said == 2).float().mean().item())
    points = found["networks"]["ensemble"]["points"]
    assert points[1]["reached"]["share"] <= points[1]["error"]["share"]
    assert list(found["networks"]) == ["ensemble"]
    assert found["transfer"][0]["attacked"] == ["ensemble"]
    assert found["transfer"][0]["tested"] == ["a", "b", "ensemble"]


def test_a_wrong_answer_is_not_yet_the_wanted_one():
    votes, sure = torch.tensor([[0, 1, 2, 2]]), torch.tensor([[0.5, 0.7, 0.8, 0.6]])
    struck = Struck(votes, sure, None)
    point = attack_runs._point(struck, 0.1, 0, torch.tensor([0, 0, 1, 1]), 2)
    assert (point.error.share, point.reached.share) == (0.75, 0.5)
    assert point.confidence == pytest.approx((0.7 + 0.8 + 0.6) / 3)
    assert attack_runs._point(struck, 0.1, 0, torch.tensor([0, 1, 2, 2]), None).confidence is None


def test_members_of_several_runs_are_named_by_their_run(runs, capsys, tmp_path):
    found = attack(capsys, runs / "one", runs / "two", "--limit", "12", "--out", tmp_path)
    assert list(found["networks"]) == ["one:a", "one:b", "one:ensemble", "two:a"]
    assert found["samples"] == 12
    assert [len(found["transfer"][0][key]) for key in ("attacked", "tested", "error", "fooled")] == [4] * 4
    with pytest.raises(UsageError, match="one is named twice"):
        concord.attack_runs([runs / "one", runs / "one"])


def test_the_answer_on_a_terminal_has_both_matrices(runs, capsys, tmp_path):
    status, out, err = call(capsys, "attack", runs / "one", "--eps", "0.1,0.3", "--out", tmp_path)
    assert status == 0
    assert "error in % on 45 test images" in out
    assert "Error in % of each column on images made against each row, at eps 0.3" in out
    assert "What fools the row fools the column too" in out
    assert "6/6" in err


def test_a_saturated_network_is_told(runs):
    run = load_run(runs / "two")
    sharp = classifier(lambda x: 1e4 * run.members["a"](x), run.interface.normalise)
    target = attack_runs.Target({"a": sharp}, attack_inputs.images_of([run], None, None, None)[0], None)
    found = attack_runs.attack_all(target, ["a"], plan_of("fgsm", [0.1]), title="saturated")
    assert found.networks[0].stuck > 0.5
    assert "underestimated" in notices(found)[0]


def test_pictures_are_of_the_smallest_size_that_fools_enough_and_of_no_more_than_there_are(runs):
    run = load_run(runs / "two")
    net = classifier(run.members["a"], run.interface.normalise)
    images, _ = attack_inputs.images_of([run], None, None, None)
    target = attack_runs.Target({"a": net}, images, None)
    sizes = [0.001, 0.2, 0.4]
    found = attack_runs.attack_all(target, ["a"], plan_of("fgsm", sizes), title="pictures")
    fewest, enough, _ = (round(45 * point.error.share) for point in found.networks[0].points)
    assert fewest < 6 <= enough
    (gallery,) = found.galleries
    assert (gallery.eps, gallery.added, len(gallery.triples)) == (0.2, "0.2 x sign", 6)
    for one in gallery.triples:
        said = net(torch.stack([one.before, one.after])).softmax(1).max(1)
        assert [images.classes[k] for k in said.indices] == [one.truth, one.predicted]
        assert said.values.tolist() == pytest.approx([one.sure_before, one.sure_after], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--eps", "-0.1"], 2, "--eps must be at least 0, got -0.1"),
        (["--eps", "nan"], 2, "--eps must be at least 0, got nan"),
        (["--eps", "8"], 2, "a change of 8 in pixels from 0 to 255 is --eps 8/255"),
        (["--eps", "0.1;0.2"], 2, "must be numbers separated by commas"),
        (["--eps", ","], 2, "--eps needs at least one number"),
        (["--method", "fsgm"], 2, "--method fsgm: unknown (did you mean 'fgsm'?)"),
        (["--norm", "l2", "--seed", "1"], 2, "--norm, --seed: FGSM is one step"),
        (["--method", "pgd", "--norm", "l3"], 2, "--norm l3: unknown"),
        (["--method", "pgd", "--steps", "0"], 2, "--steps must be at least 1"),
        (["--method", "pgd", "--step-size", "nan"], 2, "--step-size must be a positive number"),
        (["--method", "pgd", "--seed", "-3"], 2, "--seed must be 0 to 2^63 - 1, got -3"),
        (["--method", "pgd", "--seed", str(2**63)], 2, f"--seed must be 0 to 2^63 - 1, got {2**63}"),
        (["--method", "pgd", "--seed", "99999999999999999999"], 2, "--seed must be 0 to 2^63 - 1"),
        (["--limit", "0"], 2, "--limit must be at least 1"),
        (["--target", "7"], 2, "--target 7: no such class; there are: 0, 1, 2"),
        (["--member", "ensembel"], 2, "no network 'ensembel' (did you mean 'ensemble'?)"),
        (["nowhere"], 4, "nowhere is not a run folder"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, status, said, runs, capsys):
    code, out, err = call(capsys, "attack", runs / "one", *arguments)
    assert (code, out) == (status, "")
    assert said in err


def test_runs_of_other_images_are_refused(runs, tmp_path):
    data = write_data(tmp_path / "larger.npz", size=9)
    concord.train(tables(data, train={"epochs": 1, "device": "cpu", "threads": 1}), tmp_path / "larger")
    with pytest.raises(UsageError, match=r"same shape of images;.*1, 8, 8.*1, 9, 9"):
        concord.attack_runs([runs / "one", tmp_path / "larger"])


def test_another_split_and_other_data_are_mentioned(runs, capsys, tmp_path):
    other = write_data(tmp_path / "other.npz", seed=5)
    attack_args = ["attack", runs / "one", "--data", other, "--limit", "6", "--out", tmp_path, "--json"]
    _, _, err = call(capsys, *attack_args)
    assert "is not the data that" in err


@pytest.mark.parametrize(
    ("options", "target", "name"),
    [
        ({"method": "fgsm"}, None, "fgsm"),
        ({"method": "fgsm"}, "3", "fgsm-to-3"),
        ({"method": "pgd"}, None, "pgd-linf"),
        ({"method": "pgd", "norm": "l2", "seed": 2**63 - 1}, "3", "pgd-l2-to-3"),
        ({"method": "fgsm"}, "../a b/" + 300 * "x", "fgsm-to-.._a_b_" + 43 * "x"),
    ],
)
def test_every_kind_of_attack_has_a_folder_of_its_own(options, target, name):
    assert plan_of(eps=[0.1], **options).name(target) == name


def test_a_folder_that_cannot_be_made_is_told_before_the_attacks(runs, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = call(capsys, "attack", runs / "one", "--out", tmp_path / "file")
    assert (status, out) == (6, "")
    assert "file: cannot write" in err
    assert "6/6" not in err
    assert "1/3" not in err


@pytest.mark.parametrize("as_json", [False, True])
def test_figures_that_cannot_be_written_are_printed_all_the_same(as_json, runs, capsys, tmp_path):
    (tmp_path / "attack.json").mkdir()  # no file can take its place
    options = ["--eps", "0.1", "--limit", "9", "--out", tmp_path]
    status, out, err = call(capsys, "attack", runs / "two", *options, *["--json"] * as_json)
    assert status == 6
    assert "attack.json: cannot write" in err
    if as_json:
        assert json.loads(out)["samples"] == 9
    else:
        assert "error in % on 9 test images" in out
        assert "attack.html" not in out


def test_a_run_that_is_the_present_folder_has_its_name_in_the_title(runs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(runs / "one")
    found = attack(capsys, ".", runs / "two", "--limit", "6", "--out", tmp_path)
    assert next(iter(found["networks"])) == "one:a"
    assert "attack on one, two" in (tmp_path / "attack.html").read_text()
    with pytest.raises(UsageError, match="one is named twice"):
        concord.attack_runs([runs / "one", "."])


def test_only_a_run_with_other_test_images_may_have_seen_these(runs, capsys, tmp_path):
    small = tables(runs / "data.npz", members=MEMBERS[:1])
    small["data"] = small["data"] | {"limit": 30}
    small["train"] = small["train"] | {"epochs": 1}
    concord.train(small, tmp_path / "limited")
    other = write_data(tmp_path / "other.npz", seed=5)
    concord.train(small | {"data": {"source": str(other), "valid": 0.1}}, tmp_path / "stranger")
    options = ["--limit", "6", "--out", tmp_path / "out", "--json"]
    status, _, err = call(capsys, "attack", runs / "one", tmp_path / "limited", *options)
    assert status == 0
    assert "another split" not in err
    status, _, err = call(capsys, "attack", runs / "one", tmp_path / "stranger", *options)
    assert status == 0
    assert "stranger was trained on another split: it may have seen these images" in err
    other.unlink()
    status, _, err = call(capsys, "attack", runs / "one", tmp_path / "stranger", *options)
    assert status == 0
    assert "stranger was trained on another split" in err


def test_a_wrong_member_is_refused_before_weights_or_data_are_read(runs, monkeypatch, capsys):
    monkeypatch.setattr(attack_runs, "load_all", lambda *given: pytest.fail("read"))
    status, _, err = call(capsys, "attack", runs / "one", "--member", "c")
    assert (status, "no network 'c'; there are: a, b, ensemble" in err) == (2, True)
    status, _, err = call(capsys, "attack", runs / "one", runs / "two", "--member", "a")
    assert (status, "no network 'a'; there are: one:a, one:b, one:ensemble, two:a" in err) == (2, True)
