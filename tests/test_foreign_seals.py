"""What a verb shows of a damaged run folder: status 4, or the same where it does not read the file."""

import json
import shutil

import pytest
from PIL import Image
from trust_made import asked, complete, run, unfinished

import concord
from concord.errors import CheckpointError
from concord.files.atomic import replace
from concord.files.documents import with_digest, without_digest

FGSM = "attack/fgsm/attack.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that was attacked, one that was stopped, and a picture."""
    folder = tmp_path_factory.mktemp("seals")
    Image.new("L", (8, 8), 77).save(folder / "x.png")
    runs = {"complete": complete(folder), "unfinished": unfinished(folder)}
    assert run("attack", runs["complete"], "--limit", "9")[0] == 0
    return folder, runs


@pytest.fixture
def done(made, tmp_path):
    return shutil.copytree(made[1]["complete"], tmp_path / "run")


@pytest.fixture
def stopped(made, tmp_path):
    return shutil.copytree(made[1]["unfinished"], tmp_path / "run")


def with_another_digit(file):
    """The last digit of a number outside of the digest is another one."""
    text = file.read_text()
    place = max(i for i, c in enumerate(text.partition('"sha256"')[0]) if c.isdigit())
    file.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])


VERBS = ["eval", "resume", "report", "card", "predict", "export", "attack", "baseline"]
# verb -> files of a run that it reads for what it shows; the last column of a row that goes on differs
READ = {
    "complete": {
        "result.json": {"eval", "report", "card", "predict", "export", "attack", "baseline"},
        "config.toml": {*VERBS},
        "metrics.jsonl": {"eval", "resume", "report", "baseline"},
        "interface.json": {"resume"},
        "stamp.json": {"report", "card"},
        FGSM: {"card"},
    },
    "unfinished": {
        "config.toml": {*VERBS},
        "metrics.jsonl": {*VERBS},
        "stamp.json": {"resume", "report", "card"},
    },
}
TABLE = [
    (state, name, verb)
    for state, files in READ.items()
    for name in files
    for verb in VERBS
    # the result is made again by a resume, and a card is of complete runs
    if (name, verb) != ("result.json", "resume") and (state, verb) != ("unfinished", "card")
]


@pytest.fixture(scope="module")
def sound(made, tmp_path_factory):
    """What a verb shows of a sound run, kept for the whole table."""
    kept = {}

    def of(state, verb):
        if (state, verb) not in kept:
            path = shutil.copytree(made[1][state], tmp_path_factory.mktemp("sound") / "run")
            kept[state, verb] = asked(verb, path, made[0])
            assert kept[state, verb][0] == 0, kept[state, verb]
        return kept[state, verb][1]

    return of


@pytest.mark.parametrize(("state", "name", "verb"), TABLE)
def test_every_verb_agrees_about_a_damaged_file(state, name, verb, made, sound, tmp_path):
    path = shutil.copytree(made[1][state], tmp_path / "run")
    if name == "config.toml":
        file = path / name
        file.write_text(file.read_text().replace("weight = 0.1", "weight = 0.3"))
    else:
        with_another_digit(path / name)
    status, found, err = asked(verb, path, made[0])
    if verb in READ[state][name]:
        named = name in err or "consensus.weight: 0.1 -> 0.3" in err
        assert (status, named, "Traceback" in err) == (4, True, False), err
    else:
        assert status == 0, err
        assert found == sound(state, verb)


@pytest.mark.parametrize("name", ["result.json", "config.toml", "stamp.json", "metrics.jsonl", FGSM])
def test_python_is_refused_what_the_command_line_is(name, done, tmp_path):
    with_another_digit(done / name)
    if name == "result.json":
        with pytest.raises(CheckpointError, match="damaged or edited"):
            concord.load(done)
    target = "card.md" if name == FGSM else "page.html"
    with pytest.raises(CheckpointError, match="edited"):
        concord.write_report([done], tmp_path / target)


# Documents with a digest of their own


@pytest.mark.parametrize("path", ["error", "clean_error"])
def test_an_edited_figure_of_an_attack_is_not_shown(path, done):
    file = done / FGSM
    figures = json.loads(file.read_text())
    row = figures["networks"]["a"]
    (row["points"][0]["error"] if path == "error" else row["clean_error"])["share"] = 0.001
    file.write_text(json.dumps(figures))
    status, _, err = run("report", done, "--to", done.parent / "card.md")
    assert (status, "attack.json" in err, "edited" in err, "Run the attack again" in err) == (4,) + (
        True,
    ) * 3
    assert run("attack", done, "--limit", "9")[0] == 0
    assert run("report", done, "--to", done.parent / "card.md")[0] == 0


def test_figures_of_an_attack_without_their_digest_are_not_shown(done):
    file = done / FGSM
    figures = json.loads(file.read_text())
    del figures["sha256"]
    file.write_text(json.dumps(figures))
    status, _, err = run("report", done, "--to", done.parent / "card.md")
    assert (status, "it lacks sha256" in err) == (4, True)


def test_a_kill_while_an_attack_is_written_leaves_the_figures_of_the_one_before(done, monkeypatch):
    """Everything is in one file that is put in place at one stroke."""
    before = (done / FGSM).read_bytes()

    def killed(path, content):
        if path.name == "attack.json":
            raise KeyboardInterrupt
        replace(path, content)

    monkeypatch.setattr("concord.files.atomic.replace", killed)
    assert run("attack", done, "--limit", "5")[0] == 130
    monkeypatch.undo()
    assert (done / FGSM).read_bytes() == before
    assert run("report", done, "--to", done.parent / "card.md")[0] == 0


def test_a_digest_is_that_of_everything_else_in_a_document():
    content = {"a": 0.1, "b": [1, None, {"c": "\udcff"}], "d": 10**30}
    kept = with_digest(content)
    assert without_digest(json.loads(json.dumps(kept))) == content
    assert without_digest(dict(reversed(kept.items()))) == content
    for other in ({"a": 0.2}, {"e": 1}, {"b": [1, None]}, {"sha256": "0"}, {"sha256": None}):
        with pytest.raises(ValueError, match="edited"):
            without_digest({**kept, **other})


def test_an_edited_stamp_is_accepted_by_a_resume_that_allows_changes(stopped):
    with_another_digit(stopped / "stamp.json")
    status, _, err = run("resume", stopped, "--quiet")
    assert (status, "stamp.json" in err) == (4, True)
    assert run("resume", stopped, "--quiet", "--allow-changes")[0] == 0
    assert run("report", stopped)[0] == 0


# A run that goes on


def test_epochs_that_no_checkpoint_holds_are_not_shown(stopped):
    log = stopped / "metrics.jsonl"
    line = json.loads(log.read_text().splitlines()[0])
    log.write_text(log.read_text() + json.dumps({**line, "epoch": 2, "seconds": 777_777.0}) + "\n")
    status, out, _ = run("eval", stopped, "--json")
    assert (status, json.loads(out)["seconds"]) == (0, line["seconds"])


def test_data_of_a_run_that_goes_on_may_have_moved(stopped, tmp_path):
    config = stopped / "config.toml"
    source = next(line for line in config.read_text().splitlines() if line.startswith("source"))
    moved = shutil.copy(json.loads(source.partition("= ")[2]), tmp_path / "moved.npz")
    config.write_text(config.read_text().replace(source, f"source = {json.dumps(str(moved))}"))
    assert run("eval", stopped)[0] == 0


def test_a_run_of_modules_is_read_with_the_same_distrust(tmp_path):
    import torch

    from concord.errors import StoppedError

    def ensemble():
        torch.manual_seed(0)
        return concord.Ensemble({"m": torch.nn.Linear(4, 3)})

    data = (torch.randn(60, 4), torch.arange(60) % 3)
    polls = iter(range(100))
    import contextlib

    with contextlib.suppress(StoppedError):
        ensemble().fit(data, epochs=3, batch_size=20, out=tmp_path / "run", stop=lambda: next(polls) > 4)
    assert run("report", tmp_path / "run")[0] == 0
    with_another_digit(tmp_path / "run/metrics.jsonl")
    status, _, err = run("report", tmp_path / "run")
    assert (status, "metrics.jsonl: damaged or edited" in err) == (4, True)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: damaged or edited"):
        concord.load(tmp_path / "run", members={"m": torch.nn.Linear(4, 3)})


# Votes


def test_votes_of_an_older_version_do_not_stand_in_for_sealed_predictions(done):
    shutil.copy(done / "predictions.safetensors", done / "votes.safetensors")
    (done / "predictions.safetensors").unlink()
    status, _, err = run("report", done, "--to", done.parent / "card.md")
    assert (status, "predictions.safetensors is missing" in err) == (4, True)


def test_the_table_names_every_file_at_the_top_of_a_run(done):
    """A file that is added to a run has to be added to the table, or to what nobody shows."""
    binary = {"predictions.safetensors", "MANIFEST.json", ".lock"}
    assert {p.name for p in done.iterdir() if p.is_file()} - binary == {
        name for name in READ["complete"] if "/" not in name
    }


@pytest.mark.parametrize("network", ["noel2017_st(filpers=4)", "noel:017_st(filters=4)", "noel2017_sx"])
@pytest.mark.parametrize("verb", ["resume", "eval", "predict"])
def test_a_network_whose_name_was_damaged_is_damage_and_no_slip_of_the_user(verb, network, made, stopped):
    config = stopped / "config.toml"
    config.write_text(config.read_text().replace("noel2017_st(filters=4)", network, 1))
    status, _, err = asked(verb, stopped, made[0])
    assert (status, f"'noel2017_st(filters=4)' -> '{network}'" in err) == (4, True)
