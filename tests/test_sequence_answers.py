"""What a run on sequences says: predictions, text that it writes, its report."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from run_made import call
from safetensors.torch import load_file
from sequence_runs_made import TASKS, tables, train, write_data
from sklearn.metrics import confusion_matrix

import concord
from concord.report import predictions
from concord.report.sequence_view import sequence_view
from concord.report.steps import errors_at
from concord.runs.sequences.loading import load_run
from concord.tasks.decode import prefix_beam


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folders = {task: tmp_path_factory.mktemp(task) for task in TASKS}
    return {task: train(folder, task) for task, folder in folders.items()}


def logits_of(run, text, member="ensemble"):
    """Of one text, alone."""
    loaded = load_run(run)
    x = torch.tensor([[loaded.interface.known.alphabet.index(c) for c in text]])
    return loaded.logits((x, torch.tensor([len(text)])) if loaded.interface.lengths else x, member)[0]


def test_segments_are_the_likeliest_class_of_every_step_in_the_order_of_the_lines(made, tmp_path, capsys):
    words = ["abca", "c", "aabbcc", "b" * 70]
    file = tmp_path / "words.jsonl"
    file.write_text("".join(json.dumps({"x": word, "y": "not looked at"}) + "\n" for word in words))
    status, out, _ = call(capsys, "predict", made["segments"], file, "--json")
    rows = json.loads(out)
    assert status == 0
    for k, (word, row) in enumerate(zip(words, rows, strict=True), 1):
        shares = logits_of(made["segments"], word).softmax(-1)
        assert row["file"].endswith(f"words.jsonl, line {k}")
        assert row["labels"] == [("new", "same")[j] for j in shares.argmax(-1).tolist()]
        assert row["confidence"] == pytest.approx(shares.max(-1).values.mean().item(), abs=1e-6)


def test_a_labelling_has_the_probability_of_all_its_paths(made, capsys):
    status, out, _ = call(capsys, "predict", made["ctc"], "--text", "abc", "--member", "a", "--json")
    (row,) = json.loads(out)
    logits = logits_of(made["ctc"], "abc", "a")
    (found,) = prefix_beam(logits[None], torch.tensor([3]))
    total = 0.0
    p = logits.softmax(-1)
    for path in torch.cartesian_prod(*[torch.arange(p.shape[1])] * 3).tolist():
        kept = [k for i, k in enumerate(path) if k and (i == 0 or k != path[i - 1])]
        if tuple(kept) == found:
            total += (p[0, path[0]] * p[1, path[1]] * p[2, path[2]]).item()
    assert status == 0
    assert row["labels"] == ["ABC"[k - 1] for k in found]
    assert row["confidence"] == pytest.approx(total, rel=1e-4)


def test_classes_of_numbers_with_their_probabilities_as_a_table(made, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("1000,1100,1200\n1000,900,800,700\n")
    table = tmp_path / "labels.csv"
    line = ["predict", made["sequence"], tmp_path / "new.csv", "--top", 2, "--probabilities", "--csv", table]
    status, out, _ = call(capsys, *line)
    assert (status, "labels of 2 sequences" in out) == (0, True)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    for row in rows:
        shares = {name: float(row[f"probability of {name}"]) for name in ("down", "up")}
        assert sum(shares.values()) == pytest.approx(1)
        assert row["label"] == max(shares, key=shares.get)
        assert float(row["confidence_2"]) == min(shares.values())


def test_a_text_has_its_bits_per_character_and_a_next_character(made, capsys):
    text = "the cat sat"
    status, out, _ = call(capsys, "predict", made["language"], "--text", text, "--json")
    (row,) = json.loads(out)
    log_p, known = (
        logits_of(made["language"], text).log_softmax(-1),
        load_run(made["language"]).interface.known,
    )
    nats = [-log_p[t, known.alphabet.index(text[t + 1])].item() for t in range(len(text) - 1)]
    assert status == 0
    assert row["bits"] == pytest.approx(sum(nats) / len(nats) / 0.6931471805599453, rel=1e-5)
    assert row["label"] == known.alphabet[log_p[-1].argmax()]


def test_what_cannot_be_read_has_an_error_and_the_others_their_labels(made, tmp_path, capsys):
    (tmp_path / "some.jsonl").write_text('{"x": "abc"}\n{"x": "aéb"}\n{"x": "cc"}\n')
    line = ["predict", made["segments"], tmp_path / "some.jsonl", tmp_path / "nothing.csv", "--json"]
    status, out, err = call(capsys, *line)
    rows = json.loads(out)
    assert (status, "2 of 4 sequences could not be read" in err) == (0, True)
    assert [row["label"] is None for row in rows] == [False, True, False, True]
    assert "line 2: character 2 is 'é', which the training text lacks" in rows[1]["error"]
    assert call(capsys, *line, "--strict")[0] == 3
    (one,) = concord.predict(made["segments"], texts="abc")
    assert (one.file, len(one.labels)) == ("text 1", 3)
    with pytest.raises(concord.UsageError, match="length is at least 1, got 0"):
        concord.sample(made["language"], "the", length=0)
    empty, read = concord.predict(made["segments"], texts=["", "ab"])
    assert (empty.error, len(read.labels)) == ("text 1: the sequence is empty", 2)


def test_a_pattern_stands_for_its_files(made, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"x": "abc"}\n')
    (tmp_path / "b.csv").write_text("cc\n")
    status, out, _ = call(capsys, "predict", made["segments"], tmp_path / "*", "--json")
    assert status == 0
    assert [row["file"] for row in json.loads(out)] == [
        f"{tmp_path}/a.jsonl, line 1",
        f"{tmp_path}/b.csv, line 1",
    ]
    status, out, _ = call(capsys, "predict", made["segments"], tmp_path / "*.txt", tmp_path / "\0", "--json")
    assert status == 3
    assert ["does not exist" in json.loads(out)[0]["error"], json.loads(out)[1]["label"]] == [True, None]


WRONG = {
    "no files": (["predict", "segments"], 2, "name the files after the run"),
    "several labels have no top": (["predict", "segments", "--text", "ab", "--top", "2"], 2, "gives several"),
    "a column of labels": (["predict", "sequence", "walks.csv"], 3, "have no column of labels"),
    "text for numbers": (
        ["predict", "sequence", "--text", "ab"],
        3,
        "expected numbers, as the training had, got text",
    ),
    "an unknown character": (["sample", "language", "--prompt", "a€"], 3, "the prompt: character 2 is '€'"),
    "an empty prompt": (
        ["sample", "language", "--prompt", ""],
        2,
        "the prompt is a text of at least one character, got ''",
    ),
    "a cold temperature": (["sample", "language", "--prompt", "a", "--temperature", "0"], 2, "above 0"),
    "no text to write": (["sample", "segments", "--prompt", "a"], 2, "only a run of the task language"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_one_message(kind, made, capsys, monkeypatch):
    (verb, task, *line), expected, words = WRONG[kind]
    monkeypatch.chdir(made[task].parent)
    status, out, err = call(capsys, verb, made[task], *line)
    assert status == expected
    assert words in " ".join((out + err).split())


def test_equal_seeds_write_equal_text_of_the_alphabet(made, capsys):
    line = ["sample", made["language"], "--prompt", "the ", "--length", 40, "--json"]
    texts = [json.loads(call(capsys, *line, "--seed", seed)[1])["text"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert set(texts[0]) <= set(load_run(made["language"]).interface.known.alphabet)
    assert len(texts[0]) == 40
    written = concord.sample(made["language"], "the ", length=40, seed=1)
    assert written.text == texts[0]


def test_the_coldest_text_is_the_likeliest_of_the_mean_of_the_members(made):
    text = concord.sample(made["language"], "the cat", length=5, temperature=1e-6).text
    found = "the cat"
    for _ in range(5):
        alphabet = load_run(made["language"]).interface.known.alphabet
        found += alphabet[logits_of(made["language"], found)[-1].argmax()]
    assert found == "the cat" + text


@pytest.mark.parametrize("task", TASKS)
def test_a_report_has_the_figures_of_its_task(made, task, tmp_path):
    page = concord.write_report(made[task], tmp_path / "r.html").read_text()
    sections = set(re.findall(r'<section[^>]* id="([\w-]+)"', page))
    expected = {"scores", "learning", "states", "configuration"}
    expected |= {"confusion"} if task != "ctc" else set()
    expected |= {"steps"} if task in ("segments", "language") else set()
    assert sections >= expected, sections
    assert not re.search(r"(src|href)=.https?:", page)


def test_confusions_and_errors_at_each_step_are_those_of_the_kept_predictions(made):
    view = sequence_view(made["segments"])
    there = view.targets >= 0
    for labels in view.labels.values():
        found = predictions.confusion(labels[there], view.targets[there], 2)
        assert found.tolist() == confusion_matrix(view.targets[there], labels[there], labels=[0, 1]).tolist()
    places, shares = errors_at(view.labels["a"], view.targets)
    wrong = [(view.labels["a"][:, t] != view.targets[:, t])[there[:, t]].double().mean() for t in range(8)]
    assert (places, shares) == (list(range(1, 9)), pytest.approx([w.item() for w in wrong]))


def test_steps_share_bins_where_there_are_many():
    labels, targets = torch.zeros(1, 10, dtype=torch.int64), torch.zeros(1, 10, dtype=torch.int64)
    targets[0, 9], targets[0, 0] = 1, -1
    assert errors_at(labels, targets, bins=2) == ([3.0, 8.0], [0.0, 0.2])


@pytest.mark.parametrize("task", ["sequence", "segments"])  # the second reads in both directions
def test_states_are_what_the_last_layer_gives_along_the_sequence(task, made):
    view, loaded = sequence_view(made[task]), load_run(made[task])
    from concord.runs.sequences.evaluate import parts_of

    (x, lengths), _ = parts_of(loaded, None).test.batch(torch.tensor([0]), None)
    with torch.no_grad():
        a = loaded.members["a"]
        if task == "segments":  # symbols, as the one-hot columns that the network reads
            x, a = torch.nn.functional.one_hot(x, 3).float(), a.network
        y, _ = a.body(x, None, lengths)
    torch.testing.assert_close(view.along.states[0].values, y[0])


@pytest.mark.parametrize("task", TASKS)
def test_an_onnx_file_says_what_predict_says_of_sequences_of_any_length(made, task, tmp_path, capsys):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra export")
    file = tmp_path / "e.onnx"
    status, out, err = call(capsys, "export", made[task], "--to", file, "--json")
    assert status == 0, err
    assert json.loads(out)["checked_steps"] == [1, 7, 40]
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    alphabet, classes = json.loads(about["alphabet"]), json.loads(about["classes"])
    if task == "sequence":
        lines, sequences = "1000,1100,1250\n900\n", [[[1000], [1100], [1250]], [[900]]]
        arrays = [np.array([x], dtype=np.float32) for x in sequences]
    else:
        texts = ["the cat", "a"] if task == "language" else ["abcab", "c"]
        arrays = [np.array([[alphabet.index(c) for c in text]]) for text in texts]
    (tmp_path / "new.csv").write_text(lines if task == "sequence" else "\n".join(texts) + "\n")
    rows = json.loads(call(capsys, "predict", made[task], tmp_path / "new.csv", "--json")[1])
    for x, row in zip(arrays, rows, strict=True):
        given = {"x": x} | ({} if task == "language" else {"lengths": np.array([x.shape[1]])})
        (found,) = session.run(None, given)
        if task == "sequence":
            assert (classes[found[0].argmax()], found[0].max()) == (
                row["label"],
                pytest.approx(row["confidence"]),
            )
        elif task == "segments":
            assert [classes[k] for k in found[0].argmax(-1)] == row["labels"]
        elif task == "language":
            assert (classes[found[0, -1].argmax()], found[0, -1].max()) == (
                row["label"],
                pytest.approx(row["confidence"], rel=1e-5),
            )
        else:
            (labels,) = prefix_beam(torch.from_numpy(found).log(), torch.tensor([x.shape[1]]))
            assert [classes[k - 1] for k in labels] == row["labels"]


def test_weights_are_exported_with_what_they_are_for(made, tmp_path, capsys):
    file = tmp_path / "a.safetensors"
    status, _, _ = call(capsys, "export", made["segments"], "--member", "a", "--to", file)
    assert status == 0
    loaded = load_run(made["segments"])
    weights = load_file(file)
    assert all(torch.equal(weights[key], value) for key, value in loaded.members["a"].state_dict().items())


def test_a_report_shows_what_members_hold_that_carry_a_state(tmp_path):
    concord.train(
        tables("language", write_data(tmp_path, "language"), epochs=1, carry=True), tmp_path / "run"
    )
    page = concord.write_report(tmp_path / "run").read_text()
    assert "States of a" in page
    assert "States of b" in page


def test_a_report_without_the_data_leaves_out_the_states(made, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(made["segments"], run)
    source = made["segments"].parent / "segments.jsonl"
    moved = source.rename(tmp_path / "elsewhere.jsonl")
    try:
        status, _, err = call(capsys, "report", run)
        again, _, _ = call(capsys, "report", run, "--data", moved)
    finally:
        moved.rename(source)
    assert (status, again) == (0, 0)
    assert "leaves out what members hold" in err
