"""What a run folder or a settings file of somebody else cannot do; docs/security.md promises it."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from trust_made import complete, run, sealed, settings, unfinished

import concord
from concord.errors import CheckpointError, UsageError
from concord.files.documents import parse_object
from concord.runs import toml
from concord.runs.toml_bounds import LONGEST_KEY, MOST_KEYS
from concord.training import checkpoint

SHOWING = [
    ("result.json", "resume"),
    ("result.json", "eval"),
    ("result.json", "report"),
    ("result.json", "card"),
    ("config.toml", "eval"),
    ("config.toml", "predict"),
    ("config.toml", "export"),
    ("config.toml", "attack"),
    ("config.toml", "report"),
    ("config.toml", "card"),
    ("metrics.jsonl", "resume"),
    ("metrics.jsonl", "report"),
    ("metrics.jsonl", "baseline"),
    ("interface.json", "resume"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust")
    return {"complete": complete(folder), "unfinished": unfinished(folder)}


@pytest.fixture
def done(made, tmp_path):
    return shutil.copytree(made["complete"], tmp_path / "run")


@pytest.fixture
def stopped(made, tmp_path):
    return shutil.copytree(made["unfinished"], tmp_path / "run")


def verb(name, path, *more):
    commands = {
        "card": ["report", path, "--to", path.parent / "card.md"],
        "report": ["report", path, "--to", path.parent / "page.html"],
        "predict": ["predict", path, path.parent / "x.png"],
        "export": ["export", path, "--member", "a", "--to", path.parent / "a.safetensors"],
        "attack": ["attack", path, "--limit", "5"],
        "baseline": ["baseline", "perceptron", "--run", path],
    }
    return run(*commands.get(name, [name, path]), *more)


def last(path):
    return checkpoint.steps(path / "ckpt")[-1]


def change_state(path, **changes):
    file = last(path) / "state.json"
    state = json.loads(file.read_text())
    for key, value in changes.items():
        inside = state["position"] if key in state["position"] else state
        inside[key] = value
    file.write_text(json.dumps(state))
    for older in checkpoint.steps(path / "ckpt")[:-1]:
        shutil.rmtree(older)
    sealed(path)


def change_tensor(path, file, name, change):
    target = last(path) / file
    tensors = load_file(target)
    value = change(tensors.pop(name))
    save_file(tensors if value is None else {**tensors, name: value}, target)
    for older in checkpoint.steps(path / "ckpt")[:-1]:
        shutil.rmtree(older)
    sealed(path)


# Figures under a seal


@pytest.mark.parametrize(("name", "shown"), SHOWING)
def test_one_changed_digit_of_a_complete_run_is_noticed(name, shown, done):
    file = done / name
    text = file.read_text()
    place = max(i for i, c in enumerate(text) if c.isdigit())
    file.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    status, _, err = verb(shown, done)
    if (name, shown) == ("result.json", "resume"):  # made again from the checkpoint
        assert (status, "damaged or edited" in err, "made again" in err) == (0, True, True)
        assert json.loads(file.read_text())["members"] == json.loads(text)["members"]
    else:
        assert (status, name in err, "Traceback" in err) == (4, True, False)


def test_what_was_edited_on_purpose_is_accepted_with_allow_changes(done):
    config = done / "config.toml"
    config.write_text(config.read_text() + "# a note\n")
    status, _, err = run("eval", done)
    assert (status, "--allow-changes" in err) == (4, True)
    assert run("resume", done, "--allow-changes", "--quiet")[0] == 0
    assert run("eval", done)[0] == 0


def test_a_study_shows_no_changed_figure(tmp_path):
    study = {**settings(tmp_path, 1), "study": {"seeds": [0]}}
    concord.study(study, tmp_path / "study", jobs=1, report=False)
    (cell,) = (tmp_path / "study/cells").iterdir()
    file = cell / "result.json"
    file.write_text(file.read_text().replace('"test_error": 0.', '"test_error": 0.0', 1))
    status, _, err = run("report", tmp_path / "study")
    assert (status, "result.json" in err) == (4, True)


@pytest.mark.parametrize("shown", ["eval", "card", "export", "resume"])
def test_other_weights_in_the_place_of_a_complete_run_are_noticed(shown, done):
    """The manifest of the checkpoint fits; that of the run, which says what the result is of, does not."""
    of_the_run = (done / "MANIFEST.json").read_bytes()
    change_tensor(done, "member-a.safetensors", "head.bias", lambda t: t + 1)
    (done / "MANIFEST.json").write_bytes(of_the_run)
    status, _, err = verb(shown, done)
    assert (status, "member-a.safetensors: damaged or edited" in err) == (4, True)


def test_the_log_of_a_run_that_goes_on_is_as_it_was_logged(stopped):
    log = stopped / "metrics.jsonl"
    log.write_text(log.read_text().replace('"error": 0.', '"error": 0.0', 1)[: log.stat().st_size])
    status, _, err = run("resume", stopped, "--quiet")
    assert (status, "metrics.jsonl: damaged or edited" in err) == (4, True)


# Tensors


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.reshape(-1)[:1].clone(),
        lambda t: t.unsqueeze(0),
        lambda t: t.to(torch.int32),
        lambda t: t.half(),
        lambda t: t.double(),
        lambda t: t.bool(),
        lambda t: None,
    ],
)
@pytest.mark.parametrize("moment", ["exp_avg", "exp_avg_sq", "step"])
def test_moments_have_the_shape_and_type_of_their_parameter(moment, change, stopped):
    change_tensor(stopped, "optimizer.safetensors", f"a/stem.weight/{moment}", change)
    status, _, err = run("resume", stopped, "--quiet")
    assert (status, "optimizer.safetensors" in err, "a/stem.weight" in err) == (4, True, True)


def test_a_parameter_whose_moments_are_all_missing_is_noticed(stopped):
    for moment in ("exp_avg", "exp_avg_sq", "step"):
        change_tensor(stopped, "optimizer.safetensors", f"b/head.bias/{moment}", lambda t: None)
    status, _, err = run("resume", stopped, "--quiet")
    assert (status, "b/head.bias lacks exp_avg" in err) == (4, True)


@pytest.mark.parametrize("count", [-1.0, 0.0, 0.5, float("nan"), float("inf")])
def test_the_updates_that_an_optimiser_counts_are_a_number(count, stopped):
    change_tensor(stopped, "optimizer.safetensors", "a/head.bias/step", lambda t: torch.tensor(count))
    assert run("resume", stopped, "--quiet")[0] == 4


@pytest.mark.parametrize("change", [lambda t: t * float("nan"), lambda t: t + float("inf"), lambda t: -t - 1])
def test_moments_that_no_training_gives_are_damage_and_not_divergence(change, stopped):
    change_tensor(stopped, "optimizer.safetensors", "a/head.weight/exp_avg_sq", change)
    status, _, err = run("resume", stopped, "--quiet")
    assert (status, "a/head.weight/exp_avg_sq holds numbers that no training gives" in err) == (4, True)


@pytest.mark.parametrize(
    ("change", "words"), [(lambda t: t * float("nan"), "not finite"), (lambda t: -t - 1, "negative")]
)
def test_statistics_that_cannot_be_are_refused_before_figures_are_made_of_them(change, words, done):
    names = load_file(last(done) / "member-a.safetensors")
    name = next(name for name in names if name.endswith("running_var"))
    change_tensor(done, "member-a.safetensors", name, change)
    (done / "predictions.safetensors").unlink()
    status, _, err = run("eval", done)
    assert (status, name in err, words in err) == (4, True, True)


@pytest.mark.parametrize("entry", [None, {}, {"size": None, "sha256": "x"}, {"size": -1, "sha256": "x"}])
def test_a_manifest_with_an_entry_of_another_kind_is_damaged(entry, done):
    manifest = json.loads((done / "MANIFEST.json").read_text())
    manifest["files"]["config.toml"] = entry
    (done / "MANIFEST.json").write_text(json.dumps(manifest))
    assert run("resume", done)[0] == 4


@pytest.mark.parametrize("kind", [torch.bool, torch.int8, torch.float16, torch.float64, torch.complex64])
def test_weights_of_another_type_are_not_cast(kind, done):
    change_tensor(done, "member-a.safetensors", "head.bias", lambda t: t.to(kind))
    status, _, err = run("eval", done)
    assert (status, "member 'a'" in err, "head.bias" in err) == (4, True, True)


def test_weights_that_are_not_finite_are_refused(done):
    change_tensor(done, "member-a.safetensors", "head.bias", lambda t: t * float("nan"))
    status, _, err = run("eval", done)
    assert (status, "head.bias has numbers that are not finite" in err) == (4, True)


# Positions


@pytest.mark.parametrize(
    "changes",
    [
        {"finished": 0},
        {"finished": True},
        {"epoch": -1},
        {"epoch": 10**30},
        {"epoch": True},
        {"step": -1},
        {"step": 10**9},
        {"stale": 7},
        {"seconds": -1.0},
        {"epoch_seconds": 0},
        {"best": 0.1, "best_step": "../../other/ckpt/step-00000001"},
        {"best": 0.1, "best_step": "step-00000099"},
        {"steps": 10**9},
        {"metrics_bytes": -1},
        {"config": None},
        {"fingerprint": 3},
    ],
)
def test_a_position_that_cannot_be_is_refused(changes, stopped):
    change_state(stopped, **changes)
    status, _, err = run("resume", stopped, "--quiet")
    assert (status, "state.json" in err) == (4, True)


def test_a_finished_run_that_says_it_is_not_does_not_train_on(done):
    (done / "result.json").unlink()
    change_state(done, finished=0)
    status, _, err = run("resume", done, "--quiet")
    assert (status, "finished is 0" in err) == (4, True)


@pytest.mark.parametrize("name", ["loss", "tally", "samples"])
def test_sums_of_another_length_are_refused(name, stopped):
    change_tensor(stopped, "totals.safetensors", name, lambda t: t.reshape(-1).repeat(2))
    assert run("resume", stopped, "--quiet")[0] == 4


# Paths


@pytest.mark.parametrize("name", ["/abs", "../../other/ckpt/step-00000001", "step-1", "", 3, None])
def test_a_result_names_a_checkpoint_of_its_own_folder(name, done):
    file = done / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "checkpoint": name}))
    sealed(done)
    status, _, err = run("eval", done)
    assert (status, "result.json" in err) == (4, True)


def test_a_checkpoint_that_is_a_link_is_not_followed(done, tmp_path):
    step = last(done)
    step.rename(tmp_path / "elsewhere")
    step.symlink_to(tmp_path / "elsewhere")
    status, _, err = run("eval", done)
    assert (status, "is a link" in err) == (4, True)


WRITTEN = [
    (".lock", "resume"),
    ("metrics.jsonl", "resume"),
    ("ckpt", "resume"),
    ("report.html", "report"),
    ("MODEL_CARD.md", "card"),
    ("attack", "attack"),
    ("attack/fgsm", "attack"),
    ("attack/fgsm/attack.json", "attack"),
    ("a.safetensors", "export"),
    ("table.csv", "predict"),
]


@pytest.mark.parametrize(("name", "shown"), WRITTEN)
def test_nothing_is_written_through_a_link_in_a_run_folder(name, shown, done, tmp_path):
    path = done
    victim = tmp_path / "victim"
    inside = path / name
    inside.parent.mkdir(parents=True, exist_ok=True)
    if inside.is_dir() or name in ("attack", "attack/fgsm"):
        shutil.copytree(inside, victim) if inside.is_dir() else victim.mkdir()
        shutil.rmtree(inside, ignore_errors=True)
    else:
        victim.write_bytes(inside.read_bytes() if inside.is_file() else b"precious")
        inside.unlink(missing_ok=True)
    if shown == "resume":
        for file in ("result.json", "MANIFEST.json"):
            (path / file).unlink(missing_ok=True)
    inside.symlink_to(victim)
    before = snapshot(victim)
    commands = {
        "report": ["report", path],
        "card": ["report", path, "--to", inside],
        "export": ["export", path, "--member", "a", "--to", inside],
        "predict": ["predict", path, path / "none.png", "--csv", inside],
    }
    status, _, err = run(*commands.get(shown, [shown, path]))
    assert snapshot(victim) == before
    assert (status, "link" in err, "Traceback" in err) == (4, True, False)


def snapshot(path):
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*"))
    return [(str(p), p.read_bytes() if p.is_file() else None) for p in files]


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
def test_nothing_is_written_to_a_file_of_two_names(name, stopped, tmp_path):
    (stopped / name).touch()
    os.link(stopped / name, tmp_path / "victim")
    before = (tmp_path / "victim").read_bytes()
    status, _, err = run("resume", stopped, "--quiet")
    assert (status, "hard link" in err) == (4, True)
    assert (tmp_path / "victim").read_bytes() == before


@pytest.mark.parametrize("name", ["result.json", "metrics.jsonl", "MANIFEST.json", "interface.json", ".lock"])
def test_a_pipe_is_not_waited_for(name, done):
    (done / name).unlink()
    os.mkfifo(done / name)
    assert run("report", done)[0] in (0, 4)
    assert run("resume", done, "--quiet")[0] in (0, 4)


# Bounds


@pytest.mark.parametrize(
    "text",
    [
        "a." * 50_000 + "b = 1\n",
        "a . " * 50_000 + "b = 1\n",
        '"a".' * LONGEST_KEY + "b = 1\n",
        "[" + "a." * 50_000 + "b]\n",
        "x = " + "[" * 5_000,
        "x = " + "{a = " * 500,
        "".join(f"k{i} = 1\n" for i in range(MOST_KEYS + 1)),
        "x = [" + "1," * 500_000 + "]",
    ],
    ids=lambda text: text[:10],
)
def test_a_bomb_of_toml_is_refused_before_it_is_parsed(text, tmp_path, monkeypatch):
    monkeypatch.setattr(toml.tomllib, "loads", lambda text: pytest.fail("parsed"))
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"config\.toml: not a TOML file: (a key of|more than|nested)"):
        toml.read(file)


@pytest.mark.parametrize("kind", ["complete", "unfinished"])
def test_a_bomb_in_a_run_folder_is_no_settings_file_whoever_made_it(kind, made, tmp_path, monkeypatch):
    """Status 2, before the seal is asked and before it is parsed."""
    folder = Path(shutil.copytree(made[kind], tmp_path / "run"))
    file = folder / "config.toml"
    file.write_text("a." * 50_000 + "b = 1\n" + file.read_text())
    monkeypatch.setattr(toml.tomllib, "loads", lambda text: pytest.fail("parsed"))
    for verb in ("eval", "resume", "report"):
        status, _, err = run(verb, folder)
        assert (status, "not a TOML file: a key of more than 16 names" in err) == (2, True)


@pytest.mark.parametrize(
    "text", ['"""' * 300_000, "'" * 10**6, '"\\' * 500_000, '"""\\' * 200_000, "a" + " " * 10**6]
)
def test_text_of_many_quotes_costs_no_more_than_its_length(text, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(text)
    began = time.process_time()
    with pytest.raises(UsageError):
        toml.read(file)
    assert time.process_time() - began < 20  # a look at every pair of quotes takes hours


def test_what_stands_in_quotes_and_comments_is_not_counted():
    tables = toml._loads('x = """' + "a." * 100 + '"""\n# ' + "b." * 100 + "\ny = '" + "[" * 100 + "'\n")
    assert (tables["x"], tables["y"]) == ("a." * 100, "[" * 100)


def test_unknown_keys_are_listed_up_to_a_limit():
    with pytest.raises(UsageError, match=r"and 9,9.. more") as refused:
        toml.parse({f"k{i}": 1 for i in range(10_000)})
    assert str(refused.value).count("unknown key") <= toml.MOST_FAULTS


def test_more_members_than_a_run_takes_are_refused():
    members = [{"name": f"m{i}", "network": "noel2017_st"} for i in range(257)]
    with pytest.raises(UsageError, match=r"members: .* at most 256"):
        toml.parse({"members": members})


@pytest.mark.parametrize("text", [b'{"a":' * 5_000, b'{"a":[' + b"[]," * 10**6 + b"[]]}"])
def test_a_bomb_of_json_is_refused_before_it_is_parsed(text, monkeypatch):
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(ValueError, match=r"nested too deeply|more than 2,000,000 values"):
        parse_object(text)


SIZES = ["depth=999997", "growth=999999", "depth=40, growth=30000"]


@pytest.mark.parametrize(
    "network", [f"densenet40_12({size})" for size in SIZES] + ["noel2017_st(filters=99999)"]
)
def test_a_network_is_no_larger_than_its_checkpoint(network, done):
    config = done / "config.toml"
    config.write_text(config.read_text().replace("noel2017_st(filters=4)", network, 1))
    sealed(done)
    status, _, err = run("eval", done)
    assert (status, "was not made for" in err) == (4, True)


def test_bricks_have_a_limit():
    from concord.zoo.build import build

    with pytest.raises(UsageError, match="bricks must be at most 16"):
        build("noel2017_st(bricks=999999)", channels=1, classes=2)


def test_a_huge_picture_of_an_interface_is_refused(done):
    file = done / "interface.json"
    shape = {"shape": [1, 10**6, 10**6]}
    for target in (file, last(done) / "state.json"):
        found = json.loads(target.read_text())
        inside = found if target == file else found["interface"]
        inside.update(shape)
        inside.pop("resize", None)
        target.write_text(json.dumps(found))
    sealed(done)
    status, _, err = run("predict", done, "x.png")
    assert (status, "more than 150,000,000 numbers" in err) == (4, True)


# Litter of kills


@pytest.mark.parametrize("state", ["complete", "unfinished"])
def test_what_kills_left_is_gone_after_a_resume(state, made, tmp_path):
    path = shutil.copytree(made[state], tmp_path / "run")
    step = last(path)
    shutil.copytree(step, step.with_name(f"{step.name}.old"))
    (step.with_name(f"{step.name}.tmp-999999999")).mkdir()
    for name in ("result.json.tmp-999999999", "MANIFEST.json.tmp-1", "report.html.tmp-999999999"):
        (path / name).write_text("half")
    (path / "notes.tmp-7").write_text("mine")
    assert run("resume", path, "--quiet")[0] == 0
    left = sorted(str(p.relative_to(path)) for p in path.rglob("*") if ".tmp-" in p.name or ".old" in p.name)
    assert left == ["notes.tmp-7"]


def test_a_replaced_checkpoint_stays_while_the_new_one_is_damaged(stopped):
    step = last(stopped)
    shutil.copytree(step, step.with_name(f"{step.name}.old"))
    (step / "state.json").write_text("{")
    checkpoint.sweep(stopped / "ckpt")
    assert step.with_name(f"{step.name}.old").is_dir()


def test_optimisers_of_a_user_are_compared_with_what_they_make_themselves():
    from concord.training.moments import check_like

    members = {"m": torch.nn.Linear(3, 2)}
    optimizer = torch.optim.Adagrad(members["m"].parameters())
    sound = {"m/weight/sum": torch.zeros(2, 3), "m/weight/step": torch.tensor(3.0)}
    check_like(optimizer, members, sound, "here")
    for other in (torch.zeros(1), torch.zeros(2, 3, dtype=torch.int32)):
        with pytest.raises(CheckpointError, match="m/weight/sum is"):
            check_like(optimizer, members, {**sound, "m/weight/sum": other}, "here")
