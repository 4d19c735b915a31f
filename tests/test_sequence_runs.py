"""Runs on sequences from their settings to their figures: each task, exact resume, what is refused."""

import json

import pytest
import torch
from run_made import after, call, outcome
from safetensors.torch import load_file
from sequence_runs_made import MEMBERS, TASKS, TEXT, tables, train, write_data

import concord
from concord.data.sequences.files import read
from concord.errors import CheckpointError, StoppedError, UsageError
from concord.runs import train as runs
from concord.runs.sequences.loading import load_run
from concord.tasks.decode import edits, greedy


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folders = {task: tmp_path_factory.mktemp(task) for task in TASKS}
    return {task: train(folder, task) for task, folder in folders.items()}


def outputs(run, name):
    """Logits of a member for the test part, one sequence at a time, and the targets."""
    loaded = load_run(run)
    from concord.runs.sequences.evaluate import parts_of

    part = parts_of(loaded, None).test
    found = []
    for i in range(len(part)):
        x, y = part.batch(torch.tensor([i]), None)
        with torch.no_grad():
            found.append((loaded.members[name](*(x if isinstance(x, tuple) else (x,)))[0], y))
    return found


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("task", TASKS)
def test_the_test_error_is_that_of_the_sequences_taken_one_by_one(made, task, name):
    rows = outputs(made[task], name)
    if task == "ctc":
        pairs = []
        for logits, target in rows:
            given = greedy(logits[None], target["steps"])[0]
            wanted = tuple(k for k in target["labels"][0].tolist() if k >= 0)
            pairs.append((edits(given, wanted), len(wanted)))
    elif task == "sequence":
        pairs = [(int(logits.argmax() != y[0]), 1) for logits, y in rows]
    else:
        pairs = [(int((logits.argmax(-1) != y[0]).sum()), y.numel()) for logits, y in rows]
    wrong, count = map(sum, zip(*pairs, strict=True))
    result = json.loads((made[task] / "result.json").read_text())
    assert result["members"][name]["test_error"] == pytest.approx(wrong / count)


@pytest.mark.parametrize("task", TASKS)
def test_eval_finds_the_figures_of_the_training_again(made, task, capsys):
    status, out, _ = call(capsys, "eval", made[task], "--json")
    found, result = json.loads(out), json.loads((made[task] / "result.json").read_text())
    assert status == 0
    for name, row in result["members"].items():
        assert {key: found["members"][name][key] for key in row} == pytest.approx(row)


def test_the_keys_that_other_programs_rely_on_stand_in_their_places(made):
    for task in TASKS:
        result = json.loads((made[task] / "result.json").read_text())
        assert result.keys() >= {"run", "members", "ensemble", "agreement", "seconds", "samples_per_second"}
        for row in result["members"].values():
            assert row.keys() >= {"test_error", "valid_error", "nll", "parameters", "macs"}


@pytest.mark.parametrize(("task", "carry"), [("segments", False), ("language", False), ("language", True)])
def test_a_run_that_was_stopped_again_and_again_ends_as_one_that_was_not(tmp_path, task, carry):
    settings = concord.Config(**tables(task, write_data(tmp_path, task), batch_size=3, carry=carry))
    runs.train(settings, tmp_path / "whole")
    with pytest.raises(StoppedError):
        runs.train(settings, tmp_path / "parts", stop=after(5))
    parts = 1
    while True:
        torch.manual_seed(parts)  # no resume may depend on it
        try:
            runs.resume(tmp_path / "parts", stop=after(20 if carry else 9))
            break
        except StoppedError:
            parts += 1
    assert parts > 1
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_carried_states_reach_over_batches_and_are_scored_as_they_were_trained(tmp_path):
    source = write_data(tmp_path, "language")
    run = concord.train(tables("language", source, batch_size=3, carry=True), tmp_path / "run")
    assert run.evaluate().members["a"].nll == pytest.approx(run.result.members["a"].nll)
    loaded = load_run(tmp_path / "run")
    from concord.runs.sequences.evaluate import parts_of

    test, nats, steps = parts_of(loaded, None).test, 0.0, 0
    long = (len(test.symbols) - 1) // 3
    for stream in range(3):  # each stream at once, from its first symbol to its last
        symbols = test.symbols[stream * long : (stream + 1) * long + 1]
        log_p = loaded.members["a"](symbols[None, :-1])[0].log_softmax(-1)
        nats -= log_p.gather(1, symbols[1:, None]).sum().item()
        steps += long
    assert run.result.members["a"].nll == pytest.approx(nats / steps, rel=1e-5)


def test_members_start_alike_whoever_stands_beside_them(tmp_path):
    whole = tables("segments", write_data(tmp_path, "segments"), epochs=1)
    alone = {**whole, "members": whole["members"][1:], "consensus": {}}
    for name, settings in (("both", {**whole, "consensus": {}}), ("alone", alone)):
        concord.train(settings, tmp_path / name)
    one, other = (
        load_file(next((tmp_path / name / "ckpt").glob("step-*")) / "member-b.safetensors")
        for name in ("both", "alone")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_numbers_are_normalised_by_the_training_part_alone(made):
    loaded = load_run(made["sequence"])
    from concord.runs.sequences.evaluate import parts_of

    part = parts_of(loaded, None).train
    problem = part.listed.problem
    steps = torch.cat([x[:n, 0] for x, n in zip(problem.x, problem.lengths.tolist(), strict=True)])
    assert loaded.interface.scale.mean[0] == pytest.approx(steps.double().mean().item())
    assert loaded.interface.scale.std[0] == pytest.approx(steps.double().std(correction=0).item())
    (x, lengths), _ = part.batch(torch.arange(len(part)), None)
    seen = torch.cat([row[:n, 0] for row, n in zip(x, lengths.tolist(), strict=True)])
    assert seen.mean().abs() < 1e-4
    assert seen.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_other_data_are_scored_whole_with_the_characters_and_classes_of_the_run(made, tmp_path, capsys):
    file = tmp_path / "other.jsonl"
    file.write_text('{"x": "aab", "y": ["new", "same", "new"]}\n{"x": "ca", "y": ["new", "new"]}\n')
    status, out, err = call(capsys, "eval", made["segments"], "--data", file, "--json")
    assert status == 0
    assert "2 samples are scored" in err
    loaded = load_run(made["segments"])
    known = read(file, known=loaded.interface.known)
    wrong = 0
    for x, n, y in zip(*known.problem, strict=True):
        logits = loaded.logits((x[None, :n], n[None]), "a")[0]
        wrong += int((logits.argmax(-1) != y[:n]).sum())
    assert json.loads(out)["members"]["a"]["test_error"] == pytest.approx(wrong / 5)


OTHERS = {
    "a label that no class is": ('{"x": "ab", "y": ["new", "odd"]}', r"line 1: label 'odd' is not among"),
    "a character that the training lacks": ('{"x": "aé", "y": ["new", "new"]}', "character 2 is 'é'"),
    "numbers for a run on texts": (
        '{"x": [1, 2], "y": ["new", "new"]}',
        "expected text, as the training had",
    ),
    "too few labels": ('{"x": "aab", "y": ["new"]}', "1 label for 3 steps"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_data_that_do_not_fit_are_refused_with_file_and_line(kind, made, tmp_path, capsys):
    content, words = OTHERS[kind]
    (tmp_path / "other.jsonl").write_text(content + "\n")
    status, _, err = call(capsys, "eval", made["segments"], "--data", tmp_path / "other.jsonl")
    assert (status, "other.jsonl" in err) == (3, True)
    assert words in err


WRONG = {
    "no data": (["--task", "language"], 2, "the task language needs data"),
    "a task that there is not": (["--task", "segmints"], 2, "did you mean 'segments'"),
    "a task of other data": (["--task", "sequnce", "--data", "a.csv"], 2, "did you mean 'sequence'"),
    "no task": (["--data", "parity"], 3, "parity is a made set of sequences: use --task segments"),
    "a text that is read both ways": (
        ["--task", "language", "--data", "anbn", "--members", "blstm_segments"],
        2,
        "blstm_segments reads ahead: its logits depend on later characters",
    ),
    "a state that cannot be carried": (
        ["--task", "language", "--data", "a.txt", "--members", "lstm", "--set", "train.carry=true"],
        2,
        "member lstm: ",
    ),
    "streams in pieces": (
        [
            "--task",
            "language",
            "--data",
            "a.txt",
            "--set",
            "train.carry=true",
            "--set",
            "train.micro_batch=4",
        ],
        2,
        "train.carry reads streams in order, without train.micro_batch",
    ),
    "a set of another task": (["--task", "ctc", "--data", "parity"], 2, "is a set for the task segments"),
    "a file that is missing": (["--task", "segments", "--data", "pairty"], 3, "did you mean 'parity'"),
    "a network of pictures": (
        ["--task", "segments", "--data", "parity", "--members", "lenet5"],
        2,
        "the zoo has, among others, blstm_segments and tcn_copy",
    ),
    "one answer where each step needs one": (
        ["--task", "segments", "--data", "parity", "--members", "lstm"],
        2,
        "must give logits (B, T, K), one for each step",
    ),
    "a setting of pictures": (
        ["--task", "segments", "--data", "parity", "--set", "data.size=8"],
        2,
        "data.size belongs to pictures",
    ),
    "a window for no text": (
        ["--task", "segments", "--data", "parity", "--set", "data.window=8"],
        2,
        "data.window belongs to the task language",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_refused_before_a_folder_is_made(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text(TEXT)
    line, expected, words = WRONG[kind]
    status, _, err = call(capsys, "train", *line, "--out", "run", "--quiet")
    assert status == expected
    assert words in err
    assert not (tmp_path / "run").exists()


FILES = {
    "labels for each, task sequence": (
        "sequence",
        "a.jsonl",
        '{"x": "ab", "y": ["p", "q"]}\n',
        "a list of labels",
    ),
    "one label, task segments": ("segments", "a.csv", "p,ab\nq,ba\n", "one label for each"),
    "labels that need more steps": (
        "ctc",
        "a.jsonl",
        '{"x": "ab", "y": ["p", "p"]}\n' * 9,
        "line 1: 2 labels need at least 3 steps",
    ),
    "too short a text": ("language", "a.txt", "short", "fewer than the 129 of one window"),
    "a text that is no UTF-8": ("language", "a.txt", b"\xff\xfe\x00", "is not UTF-8"),
    "an empty text": ("language", "a.txt", "", "is empty"),
    "too few to cut": ("sequence", "a.csv", "p,1,2\nq,1,2\n", "too few to cut data.test=0.2 off"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_cannot_be_learned_from_end_with_status_3(kind, tmp_path, capsys):
    task, name, content, words = FILES[kind]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    line = ["train", "--task", task, "--data", tmp_path / name, "--out", tmp_path / "run", "--quiet"]
    status, _, err = call(capsys, *line)
    assert status == 3, err
    assert words in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("line", [["attack"], ["report", "--to", "card.md"], ["baseline"]])
def test_verbs_of_pictures_say_that_a_run_is_one_of_sequences(line, made, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verb, *more = line
    given = ["--run", made["sequence"], "svm_linear"] if verb == "baseline" else [made["sequence"]]
    status, _, err = call(capsys, verb, *given, *more)
    assert (status, "is a run on sequences" in err) == (2, True), err


def test_the_run_as_an_object_has_its_figures_and_predicts(made):
    run = concord.Run(made["segments"])
    assert run.result.members["a"].test_error == run["members"]["a"]["test_error"]
    assert "test error" in repr(run)
    assert run.evaluate().ensemble.nll == pytest.approx(run.result.ensemble.nll)
    assert run.predict(texts=["abc"]) == concord.predict(made["segments"], texts=["abc"])
    text = {"length": 5, "temperature": 2.0, "top": 3, "seed": 4, "member": "a"}
    written = concord.Run(made["language"]).sample("the", **text)
    assert written.to_dict() == concord.sample(made["language"], "the", **text).to_dict()


def test_figures_without_a_test_part_are_announced(tmp_path, capsys):
    settings = tables("segments", write_data(tmp_path, "segments"), epochs=1)
    line = ["train", "--task", "segments", "--data", settings["data"]["source"], "--epochs", 1]
    line += ["--members", "tcn_copy(levels=1,width=3)", "--set", "data.test=0", "--out", tmp_path / "run"]
    status, _, err = call(capsys, *line)
    assert (status, "test figures are those of the validation data" in err) == (0, True), err


def test_every_member_trains_in_bfloat16(tmp_path):
    settings = tables("sequence", write_data(tmp_path, "sequence"), epochs=1, precision="bfloat16")
    names = ("rnn", "lstm", "gru", "gru_before", "peephole_lstm")
    settings["members"] = [{"name": name, "network": f"{name}(hidden=4)"} for name in names]
    run = concord.train(settings, tmp_path / "run")
    assert all(0 < run.result.members[name].nll < 3 for name in names)


def test_own_networks_take_what_the_data_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, channels, classes):\n"
        "        super().__init__()\n"
        "        self.net = nn.Sequential(nn.Embedding(channels, 5), nn.Linear(5, classes))\n"
        "    def forward(self, x, lengths):\n"
        "        return self.net(x)\n"
    )
    settings = tables("segments", write_data(tmp_path, "segments"), epochs=1)
    settings["members"] = [{"name": "own", "network": "own.py:Net"}]
    settings["consensus"] = {}
    run = concord.train(settings, "run", allow_code=["own.py:Net"])
    assert run.result.members["own"].parameters == 3 * 5 + 5 * 2 + 2
    with pytest.raises(UsageError, match=r"--allow-code own\.py:Net"):
        concord.evaluate("run")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", "ctc"),
        ("alphabet", ["a", "a", "b"]),
        ("features", -1),
        ("classes", []),
        ("lengths", 1),
        ("mean", 3),
    ],
)
def test_a_damaged_interface_is_refused(key, value, made):
    from concord.runs.sequences.interface import SequenceInterface

    task = "sequence" if key == "mean" else "segments"
    plain = json.loads((made[task] / "interface.json").read_text())
    assert SequenceInterface.from_plain(plain).plain() == plain
    if key == "task":  # another task has other outputs; that is noticed beside the settings
        return
    with pytest.raises(CheckpointError, match=r"interface\.json is damaged"):
        SequenceInterface.from_plain({**plain, key: value})


def test_every_task_has_members_that_fit_if_none_are_named(tmp_path, capsys):
    for task, source in (("segments", "parity"), ("language", "anbn"), ("sequence", "temporal_order")):
        out = tmp_path / task
        line = [
            "train",
            "--task",
            task,
            "--data",
            source,
            "--epochs",
            1,
            "--set",
            "data.limit=8",
            "--out",
            out,
        ]
        status, _, err = call(capsys, *line)
        assert status == 0, err
        assert "no members were named" in err
        assert len(json.loads((out / "result.json").read_text())["members"]) == len(MEMBERS[task])
