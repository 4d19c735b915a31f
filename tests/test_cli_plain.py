"""`concord plain train`, `plain show` and `bench plain` as a user types them."""

import json
import math

import pytest
from data_made import shared, write_image
from PIL import Image
from typer.testing import CliRunner

from concord.api.plain import plain_train
from concord.bench.plain import bench_plain
from concord.cli.app import app, main
from concord.errors import DataError, DivergedError, UsageError
from concord.plain.worked import plain_show
from concord.runs import plain_config, plain_pictures

SMALL = "num_classes = 2\nepochs = 3\nseed = 1\n[input_shape]\nh = 8\nw = 8\nc = 3\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with small.toml and four pictures of two classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    for kind, colours in (("cat", (20, 40)), ("dog", (200, 230))):
        for n, colour in enumerate(colours):
            write_image(tmp_path / "pets" / f"{kind}_{n}.png", (colour,) * 3, mode="RGB")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["plain", *map(str, arguments)], catch_exceptions=False)


def refused(kind, message, *arguments):
    with pytest.raises(kind, match=message):
        plain_train(*arguments)


def test_training_prints_every_step_and_epoch_and_writes_curve_and_table(here):
    said = run("train", "small.toml", "--data", "pets").stdout
    assert "Max-pooling  2x2 -> 3x3x4 = 36 numbers" in said
    assert "Epoch 1/3 - Step 4/4 - Loss: " in said
    assert "Epoch 3/3 - Loss: " in said
    assert "4/4 correct after training" in said
    lines = (here / "runs/plain-small/steps.csv").read_text().splitlines()
    assert lines[0] == "epoch,step,file,loss,correct"
    assert len(lines) == 1 + 3 * 4
    assert (here / "runs/plain-small/curve.svg").read_text().startswith("<svg")
    assert "runs/plain-small-2/curve.svg" in run("train", "small.toml", "--data", "pets").stdout


def test_the_json_has_what_the_text_has_and_one_seed_gives_one_answer(here):
    first, second = (
        json.loads(run("train", "small.toml", "--data", "pets", "--json").stdout) for _ in range(2)
    )
    assert first["steps"] == second["steps"]
    assert first["classes"] == ["cat", "dog"]
    assert all(math.isfinite(step["loss"]) for step in first["steps"])
    own = [step for step in first["steps"] if step["epoch"] == 2]
    assert first["epochs"][1]["loss"] == pytest.approx(sum(s["loss"] for s in own) / 4)
    assert first["epochs"][1]["accuracy"] == sum(s["correct"] for s in own) / 4
    assert [p["file"] for p in first["pictures"]] == ["cat_0.png", "cat_1.png", "dog_0.png", "dog_1.png"]


def test_class_folders_are_classes_and_what_is_no_picture_is_named(here):
    for kind in ("cat", "dog"):
        (here / "folders" / kind).mkdir(parents=True)
        (here / f"pets/{kind}_0.png").rename(here / f"folders/{kind}/any.png")
    (here / "folders" / "notes.txt").write_text("x")
    found = plain_train("small.toml", "folders")
    assert found["classes"] == ["cat", "dog"]
    assert found["notices"] == ["ignored, no pictures of a class: notes.txt"]


def test_pictures_of_other_kinds_and_sizes_are_converted_with_a_notice(here):
    write_image(here / "pets/dog_2.png", 200, size=(8, 8), mode="L")
    write_image(here / "pets/dog_3.png", (200, 200, 200, 0), size=(16, 8), mode="RGBA")
    found = plain_train("small.toml", "pets")
    assert "1 grey pictures: the same number three times" in found["notices"]
    assert "1 transparent pictures laid on white" in found["notices"]
    assert "resized to 8x8, the middle of longer sides kept: 1 of 16x8" in found["notices"]
    pictures = plain_pictures.read(here / "pets", (8, 8, 3))
    transparent = pictures.images[pictures.files.index(here / "pets/dog_3.png")]
    assert transparent[0][:3] == [0.5, 0.5, 0.5]  # transparent pixels lie on white
    assert pictures.images[0][0][0] == 20 / 255 - 0.5
    grey = plain_pictures.read(here / "pets", (8, 8, 1))
    assert len(grey.images[0][0]) == 8
    assert any("coloured pictures made grey" in notice for notice in grey.notices)


def test_a_text_file_as_a_picture_a_single_class_and_an_empty_folder_are_refused(here):
    (here / "pets/cat_7.png").write_text("not a picture")
    refused(DataError, "cat_7.png is not an image; remove or replace it", "small.toml", "pets")
    (here / "one").mkdir()
    refused(DataError, "2 or more classes.*there is no picture", "small.toml", "one")
    Image.new("RGB", (8, 8)).save(here / "one/cat_1.png")
    refused(DataError, "there is only 'cat'", "small.toml", "one")
    refused(DataError, "nowhere: expected a folder of pictures", "small.toml", "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", r"epoch: unknown key \(did you mean 'epochs'\?\)"),
        ("epochs = '3'", "epochs: must be a whole number, got '3'"),
        ("num_classes = 0", "num_classes: must be at least 2, got 0"),
        ("seed = 0\nlearning_rate = nan", "learning_rate: .* finite"),
        (
            "[conv]\nfilter_size = 9\n[input_shape]\nh = 8\nw = 8",
            "a window of 9 does not fit into 8; a larger",
        ),
        ("[maxpool]\npooling_size = 7\n[input_shape]\nh = 8\nw = 8", "a window of 7 does not fit into 6"),
        ("[input_shape]\nc = 2", r"input_shape.c: expected 3 \(colour\) or 1 \(grey\), got 2"),
        ("[dense2]\noutput_size = 2", "dense2: the second dense layer has one output for each class"),
        ("conv = 3", "conv: "),
        ("seed = -1", "seed: must be at least 0, got -1"),
        (
            "[dense1]\noutput_size = 1000",
            "13,928,115 weights are too many for plain Python, 10,000,000 at most; a smaller dense1.",
        ),
        ("[conv", "not a TOML file"),
    ],
)
def test_a_wrong_configuration_is_refused_with_file_key_and_cure(here, text, message):
    (here / "wrong.toml").write_text(text)
    refused(UsageError, f"(?s)wrong.toml.*{message}", "wrong.toml", "pets")


def test_dense2_may_say_what_num_classes_says(here):
    (here / "source.toml").write_text("[dense2]\noutput_size = 3\n")
    assert plain_config.read(here / "source.toml") == plain_config.PlainConfig()


def test_classes_must_be_as_many_as_the_configuration_says(here):
    (here / "three.toml").write_text(SMALL.replace("num_classes = 2", "num_classes = 3"))
    refused(DataError, "num_classes = 3, but the pictures are of 2 classes: cat, dog", "three.toml", "pets")


def test_a_rate_that_is_too_large_ends_with_status_5_and_its_cure(here, capsys):
    (here / "wild.toml").write_text("learning_rate = 1e300\n" + SMALL)
    with pytest.raises(SystemExit) as left:
        main(["plain", "train", "wild.toml", "--data", "pets"])
    assert left.value.code == DivergedError.exit_status
    assert "a smaller learning rate helps: learning_rate = 1e+300" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_weights_that_the_last_update_broke_are_no_success_and_the_losses_are_kept(here, capsys, arguments):
    (here / "last.toml").write_text("learning_rate = 1e60\n" + SMALL.replace("epochs = 3", "epochs = 1"))
    for name in ("cat_1.png", "dog_1.png"):
        (here / "pets" / name).unlink()
    with pytest.raises(SystemExit) as left:
        main(["plain", "train", "last.toml", "--data", "pets", "--out", "kept", *arguments])
    assert left.value.code == DivergedError.exit_status
    assert "a smaller learning_rate helps" in capsys.readouterr().err
    assert len((here / "kept/steps.csv").read_text().splitlines()) == 3
    assert (here / "kept/curve.svg").exists()


def test_names_of_files_reach_the_terminal_as_printable_text(here):
    for n in (0, 1):
        (here / f"pets/cat_{n}.png").rename(here / f"pets/c\x1b[31mat_{n}.png")
    said = run("train", "small.toml", "--data", "pets").stdout
    assert "\x1b" not in said
    assert "\\x1b[31mat_0.png" in said


def test_loose_pictures_beside_a_folder_without_any_are_taken(here):
    (here / "pets/notes").mkdir()
    assert plain_train("small.toml", "pets")["correct"] == 4


def test_the_parts_of_a_data_set_are_no_classes(here):
    for part in ("train", "test"):
        (here / "parts" / part / "cat").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(here / "parts" / part / "cat/1.png")
    refused(
        DataError,
        "its folders are parts of a data set, not classes.*for example parts/test",
        "small.toml",
        "parts",
    )


def test_nine_photographs_are_all_right_after_training_and_one_seed_gives_one_training(here):
    (here / "source.toml").write_text("epochs = 4\n")  # all else as in the USTH CNN
    (here / "short.toml").write_text("epochs = 1\n")
    found, again = (plain_train(name, shared("animals")) for name in ("source.toml", "short.toml"))
    assert found["correct"] == len(found["pictures"]) == 9
    assert all(math.isfinite(step["loss"]) for step in found["steps"])
    assert again["steps"] == found["steps"][:9]


def test_a_file_as_the_folder_for_results_is_refused_before_any_training(here):
    with pytest.raises(UsageError, match=r"--out small.toml: expected the name of a folder, this is a file"):
        plain_train("small.toml", "pets", out="small.toml", show=pytest.fail)


def test_results_are_never_written_over_others(here):
    (here / "full").mkdir()
    (here / "full/mine.txt").write_text("x")
    with pytest.raises(UsageError, match="--out full: is there already and not empty"):
        plain_train("small.toml", "pets", out="full")


def test_the_shown_step_is_right_by_hand_and_lowers_the_loss():
    step = plain_show()
    x, w = step["picture"], step["filter"]
    y11 = 1 + x[0][0] * w[1][1] + x[0][1] * w[1][2] + x[1][0] * w[2][1] + x[1][1] * w[2][2]
    assert step["y"][0][0] == pytest.approx(y11) == 3
    assert step["winners"] == [["y12", "y24"], ["y32", "y44"]]
    assert step["loss"] == pytest.approx(math.log(1 + math.exp(1.05 + 2)))
    assert step["dy"][0][1] == pytest.approx(0.1 * step["da"][0])
    assert step["after"]["loss"] < step["loss"]
    after = step["after"]
    assert after["bias"] == pytest.approx(1 - 0.1 * step["dbias"])
    assert after["loss"] == pytest.approx(math.log(1 + math.exp(after["z"][0] - after["z"][1])))
    said = run("show").stdout
    assert "y12 = 1 + 0*1 + 0*0 + 0*(-1) + 1*2 + 2*1 + 0*0 + 0*0 + 1*(-1) + 4*1 = 8" in said
    assert "dw11 = 0.1432*0 + (-0.1432)*0 + 0.2864*1 = 0.2864" in said
    assert json.loads(run("show", "--json").stdout) == json.loads(json.dumps(step))


def test_the_naive_loops_of_the_benchmark_do_the_same_step():
    found = bench_plain(1)
    assert found["largest_difference"] < 1e-12
    assert found["seconds"].keys() == {"plain", "naive", "naive_weights_only"}
