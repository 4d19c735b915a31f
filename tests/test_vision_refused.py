"""What a training on masks or boxes does not take: settings, members, data, damaged runs, verbs of others."""

import json
import shutil

import pytest
import vision_runs_made as made_of
from masks_made import save
from run_made import call
from vision_runs_made import MEMBERS, TASKS, tables, train, write_data

import concord
from concord.errors import CheckpointError, UsageError
from concord.runs.vision.interface import VisionInterface
from concord.runs.vision.settings import CHANGES, DATA, TRAIN


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folders = {task: tmp_path_factory.mktemp(task) for task in TASKS}
    return {task: train(folder, task, epochs=1) for task, folder in folders.items()}


@pytest.fixture(scope="module")
def data(made):
    return {task: run.parent / "data" for task, run in made.items()}


OTHERS = {"joint": True, "drop_duplicates": True, "bad_images": "skip", "keep": "disk"}
OTHERS |= {"batches": "own", "label_smoothing": 0.1, "stacked": True, "test": "epoch"}
SETTINGS = [  # task, table, key, value, words
    ("segment", "detect", "direct", False, "the table detect belongs to train.task = detect"),
    ("detect", "segment", "border", 5.0, "the table segment belongs to train.task = segment"),
    ("classify", "segment", "border", 5.0, "the table segment belongs to train.task = segment"),
    ("classify", "detect", "scales", True, "the table detect belongs to train.task = detect"),
    ("language", "detect", "scales", True, "the table detect belongs to train.task = detect"),
    ("detect", "data", "test", "24-29", "data.test holds names, which belong to train.task = segment"),
    ("classify", "data", "valid", "24-29", "data.valid holds names, which belong to train.task = segment"),
    ("detect", "data", "classes", {"a": 0}, "data.classes belongs to train.task = segment"),
    ("classify", "data", "classes", {"a": 0}, "data.classes belongs to train.task = segment"),
    ("classify", "augment", "deform", 1.0, "augment.deform belongs to train.task = segment"),
    ("classify", "augment", "turn", True, "augment.turn belongs to train.task = segment"),
    ("classify", "augment", "jitter", 0.1, "augment.jitter belongs to train.task = detect"),
    ("classify", "augment", "mosaic", 0.1, "augment.mosaic belongs to train.task = detect"),
    ("segment", "augment", "jitter", 0.1, "augment.jitter does not belong to the task segment"),
    ("segment", "augment", "mixup", 0.5, "augment.mixup does not belong to the task segment"),
    ("detect", "augment", "deform", 1.0, "augment.deform does not belong to the task detect"),
    ("detect", "augment", "crop", 2, "augment.crop does not belong to the task detect"),
    *(
        (task, table, key, OTHERS[key], f"{table}.{key} belongs to classifiers, not to the task {task}")
        for task in TASKS
        for table, keys in (("data", DATA), ("train", TRAIN))
        for key in keys
    ),
    *(
        (task, name, key, value, f"{name} belongs to classifiers, not to the task {task}")
        for task in TASKS
        for name, key, value in (("unlabelled", "source", "noise"), ("adversarial", "eps", 0.1))
    ),
    *((task, "data", "source", "digits", f"the task {task} needs data: --data FOLDER") for task in TASKS),
    ("segment", "segment", "border", -1.0, "segment.border"),
    ("segment", "segment", "sigma", 0.0, "segment.sigma"),
    ("detect", "detect", "ignore", 1.5, "detect.ignore"),
    ("detect", "detect", "anchors", "own", "detect.anchors"),
    ("segment", "data", "window", 8, "data.window belongs to train.task = language"),
]


@pytest.mark.parametrize(("task", "table", "key", "value", "words"), SETTINGS)
def test_settings_of_another_kind_of_training_are_refused(task, table, key, value, words):
    given = {"members": [{"name": "a", "network": "unet"}], "train": {"task": task}}
    given["data"] = {"source": "somewhere"}
    given[table] = {**given.get(table, {}), key: value}
    with pytest.raises(UsageError) as refused:
        concord.train(given, "never")
    assert words in str(refused.value)


def test_every_setting_of_classifiers_is_in_the_table_of_refused_ones():
    assert OTHERS.keys() == DATA.keys() | TRAIN.keys()


@pytest.mark.parametrize("task", TASKS)
def test_every_change_of_pictures_that_a_task_takes_is_accepted(task):
    value = {"flip": True, "turn": True}
    augment = {key: value.get(key, 0.2) for key in CHANGES[task]}
    config = concord.Config(**tables(task, "somewhere", augment=augment))
    assert all(getattr(config.augment, key) == augment[key] for key in augment)


def test_a_teacher_belongs_to_classifiers():
    members = [{"name": "a", "network": "unet"}, {"name": "t", "network": "unet", "teacher": "runs/other"}]
    given = {"members": members, "train": {"task": "segment"}, "data": {"source": "somewhere"}}
    with pytest.raises(UsageError, match="member t: a teacher belongs to classifiers"):
        concord.train(given, "never")


OWN = """
from torch import nn

class Flat(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.net = nn.Conv2d(channels, classes + 1, 3, padding=1)

    def forward(self, x):
        return self.net(x)

class Fails(Flat):
    def forward(self, x):
        raise RuntimeError("not today")
"""
LINES = {  # task, options, status, words
    "a classifier for masks": ("segment", ["--members", "lenet5"], 2, "member lenet5"),
    "a network without boxes": ("detect", ["--members", "unet"], 2, "a detector has the attributes version"),
    "boxes for masks": ("segment", ["--members", "yolo_small_v3"], 2, "unet(width=8,depth=3,same=1,norm=1)"),
    "a network that there is not": ("detect", ["--members", "yolo_smal_v3"], 2, "did you mean"),
    "heads of two versions": (
        "detect", ["--members", "yolo_small_v2(boxes=2),yolo_small_v3(boxes=1)"], 2,
        "members that learn together have the same version, anchors and maps",
    ),
    "different numbers of anchors": (
        "detect", ["--members", "yolo_small_v3(boxes=1),b=yolo_small_v3(boxes=2)"], 2,
        "members of a run have the same number of anchors, got yolo_small_v3 2, b 4",
    ),
    "v1 with settings of v2": (
        "detect", ["--members", "yolo_small_v1", "--set", "detect.direct=false"], 2,
        "detect.direct belongs to versions 2 and 3",
    ),
    "v1 with a cost of logits": (
        "detect", ["--members", "yolo_small_v1,b=yolo_small_v1", "--consensus", "kl", "--weight", "0.1"], 2,
        "the consensus 'kl' needs logits of classes",
    ),
    "v1 at scales": (
        "detect", ["--members", "yolo_small_v1", "--set", "detect.scales=true"], 2,
        "detect.scales belongs to versions 2 and 3",
    ),
    "pretrained weights that there are not": (
        "segment", ["--members", "a=unet", "--pretrained", "a"], 2, "has no pretrained weights for segment",
    ),
    "own code that is not allowed": (
        "segment", ["--config", "own.toml"], 2, "--allow-code own.py:Flat",
    ),
    "own code of other classes": (
        "segment", ["--members", "own=own.py:Flat"], 2, "member own must give logits (2, 2, H, W)",
    ),
    "own code that fails": ("segment", ["--members", "own=own.py:Fails"], 2, "not today"),
    "own code without attributes": ("detect", ["--members", "own=own.py:Flat"], 2, "Flat lacks version"),
    "members without padding that meet": (
        "segment", ["--members", "unet(width=2,depth=1),b=unet(width=2,depth=1,same=1)", "--consensus", "l2",
                    "--weight", "0.1", "--set", "data.size=20"], 2, "on each side (unet 8, b 0)",
    ),
    "a size that does not fit without padding": (
        "segment", ["--members", "unet(width=2,depth=2)", "--set", "data.size=50"], 2,
        "next to 50: 48 and 52",
    ),
    "a size that is no multiple": ("detect", ["--set", "data.size=100"], 2, "use 96"),
    "objects that no class is": (
        "segment", ["--set", "segment.objects=cell"], 2, "the classes are background, disc",
    ),
    "objects of borders that no class is": (
        "segment", ["--set", "segment.border=5", "--set", "segment.objects=cell"], 2, "cell",
    ),
    "turns of a v1": ("detect", ["--set", "augment.turn=true"], 2, "does not belong to the task detect"),
    "a task that there is not": ("segmant", [], 2, "did you mean 'segment'"),
    "data that are missing": ("segment", ["--data", "gone"], 3, "gone does not exist"),
    "boxes that are missing": ("detect", ["--data", "gone"], 3, "gone does not exist"),
    "boxes where masks are needed": ("segment", ["--data", "boxes"], 3, "images with masks"),
    "masks where boxes are needed": ("detect", ["--data", "masks"], 3, "no annotations of boxes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LINES)
def test_what_is_wrong_is_refused_before_a_folder_is_made(kind, data, tmp_path, capsys, monkeypatch):
    task, options, expected, words = LINES[kind]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "own.toml").write_text('[[members]]\nname = "own"\nnetwork = "own.py:Flat"\n')
    (tmp_path / "masks").symlink_to(data["segment"])
    (tmp_path / "boxes").symlink_to(data["detect"])
    given = ["--data", "boxes" if task == "detect" else "masks", "--set", "data.size=64", *options]
    if task == "segment":
        given += ["--set", "data.classes={background=0,disc=1}"]
    if "--members" not in given and "--config" not in given:
        given += ["--members", MEMBERS.get(task, MEMBERS["segment"])["a"]]
    status, _, err = call(capsys, "train", "--task", task, *given, "--out", "run", "--quiet")
    assert status == expected, err
    assert words in " ".join(err.split()), err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def mask(root, values, name="00"):
    save(root / "masks" / f"{name}.png", values)


def voc(root, text):
    (root / "images/03.xml").write_text(text)


def box(name="red", corners=(5, 5, 20, 20)):
    return made_of.voc_text([(name, *corners)], size=(made_of.WIDTH, made_of.HEIGHT))


def emptied(root):
    for i in range(12):
        (root / f"images/{i:02}.xml").write_text(made_of.voc_text([], size=(made_of.WIDTH, made_of.HEIGHT)))


_, MASK = made_of.disc(0)
DATA_WRONG = {  # task, what is done to the data, words
    "0 and 255 for two classes": ("segment", lambda root: mask(root, 255 * MASK), "255"),
    "a mask of another size": ("segment", lambda root: mask(root, MASK[:20]), "the mask has 32x20 pixels"),
    "an image without a mask": ("segment", lambda root: (root / "masks/03.png").unlink(), "03.png"),
    "a broken mask": ("segment", lambda root: (root / "masks/03.png").write_bytes(b"no picture"), "03.png"),
    "a broken image": ("segment", lambda root: (root / "images/03.png").write_bytes(b"no"), "03.png"),
    "no masks": ("segment", lambda root: shutil.rmtree(root / "masks"), "images with masks"),
    "a class that is unknown": (
        "detect",
        lambda root: ((root / "images/classes.txt").write_text("pale\nred\n"), voc(root, box("rde"))),
        "class 'rde' is not among the classes",
    ),
    "a box outside": ("detect", lambda root: voc(root, box(corners=(90, 5, 99, 20))), "03.xml"),
    "corners in the wrong order": ("detect", lambda root: voc(root, box(corners=(20, 5, 5, 20))), "03.xml"),
    "fractions for pixels": ("detect", lambda root: voc(root, box(corners=(0.1, 0.1, 0.4, 0.5))), "03.xml"),
    "not XML": ("detect", lambda root: voc(root, "<annotation><object>"), "03.xml"),
    "no boxes at all": ("detect", emptied, "the training images have no boxes"),
    "a broken picture": ("detect", lambda root: (root / "images/03.png").write_bytes(b"no"), "03.png"),
    "no annotations": (
        "detect", lambda root: [file.unlink() for file in (root / "images").glob("*.xml")], "no annotations",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DATA_WRONG)
def test_data_that_cannot_be_learned_from_end_with_status_3(kind, tmp_path, capsys):
    task, spoil, words = DATA_WRONG[kind]
    source = write_data(tmp_path, task)
    spoil(source)
    size = {"segment": 16, "detect": 64}[task]
    line = ["train", "--task", task, "--data", source, "--members", MEMBERS[task]["a"], "--quiet"]
    line += ["--set", f"data.size={size}", "--out", tmp_path / "run"]
    if task == "segment":
        line += ["--set", "data.classes={background=0,disc=1}"]
    status, _, err = call(capsys, *line)
    assert status == 3, err
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


NOTICED = {  # what is put right and said, because real data have it
    "zero area": ("detect", lambda root: voc(root, box(corners=(5, 5, 5, 20))), "of zero area left out"),
    "twice there": (
        "detect", lambda root: voc(root, made_of.voc_text([("red", 5, 5, 20, 20)] * 2, size=(64, 32))),
        "equal to another of the same image left out",
    ),
    "without boxes": ("detect", lambda root: voc(root, made_of.voc_text([], size=(64, 32))), "without boxes"),
    "an empty mask": ("segment", lambda root: mask(root, 0 * MASK), "one class"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NOTICED)
def test_what_real_data_have_is_put_right_and_said(kind, tmp_path, capsys):
    task, spoil, words = NOTICED[kind]
    source = write_data(tmp_path, task)
    spoil(source)
    line = ["train", "--task", task, "--data", source, "--members", MEMBERS[task]["a"], "--epochs", 1]
    line += ["--set", f"data.size={16 if task == 'segment' else 64}", "--out", tmp_path / "run"]
    status, _, err = call(capsys, *line)
    assert (status, words in err) == (0, True), err
    assert words in " ".join(json.loads((tmp_path / "run/result.json").read_text())["notices"])


OTHER_DATA = {
    "another value": ("segment", lambda root: mask(root, 2 * MASK), "2"),
    "another label": ("detect", lambda root: voc(root, box("blue")), "class 'blue' is not among the classes"),
    "nothing there": ("detect", shutil.rmtree, "does not exist"),
    "no masks there": ("segment", shutil.rmtree, "does not exist"),
}


@pytest.mark.parametrize("kind", OTHER_DATA)
def test_other_data_with_other_classes_are_refused_with_the_file(kind, made, tmp_path, capsys):
    task, spoil, words = OTHER_DATA[kind]
    source = write_data(tmp_path, task)
    spoil(source)
    status, _, err = call(capsys, "eval", made[task], "--data", source)
    assert (status, words in err, str(source) in err) == (3, True, True), err


VERBS = {
    "a model card": ["report", "RUN", "--to", "card.md"],
    "an attack": ["attack", "RUN"],
    "baselines": ["baseline", "--run", "RUN", "svm_linear"],
    "text": ["sample", "RUN", "--prompt", "a"],
    "a report of two": ["report", "RUN", "RUN", "--to", "two.html"],
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", VERBS)
def test_verbs_of_other_runs_say_that_they_are(kind, task, made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, *(made[task] if word == "RUN" else word for word in VERBS[kind]))
    assert (status, out) == (2, ""), err
    assert any(words in err for words in ("finds masks or boxes", "give it alone", "writes text")), err
    assert list(tmp_path.iterdir()) == []


def test_a_study_of_masks_or_boxes_is_refused_before_anything_is_written(data, tmp_path, capsys):
    for task in TASKS:
        line = ["study", "--data", data[task], "--set", f"train.task={task}", "--members", MEMBERS[task]["a"]]
        status, _, err = call(capsys, *line, "--seeds", "2", "--out", tmp_path / "study")
        assert status == 2, err
        assert task in err
        assert not (tmp_path / "study").exists()


DAMAGED = [  # task, key of interface.json, value
    ("segment", "task", "detect"),
    ("segment", "shape", [2, "H", "W"]),
    ("segment", "shape", [1, "H"]),
    ("segment", "shape", [1, 24, 32]),
    ("segment", "classes", []),
    ("segment", "classes", ["disc", "disc"]),
    ("segment", "classes", "ab"),
    ("segment", "mean", [1.0, 2.0]),
    ("segment", "mean", [1e400]),
    ("segment", "std", [0.0]),
    ("segment", "masks", None),
    ("segment", "masks", {"codes": [[0, 0], [1, 2]], "colours": False}),
    ("segment", "masks", {"codes": [[-1, 0], [1, 1]], "colours": False}),
    ("segment", "masks", {"codes": [[0, 0], [1, 1]], "colours": 1}),
    ("detect", "shape", [3, "H", "W"]),
    ("detect", "shape", [3, 0, 64]),
    ("detect", "shape", [3, 64.5, 64]),
    ("detect", "shape", [3, 10**9, 64]),
    ("detect", "anchors", [[0.0, 1.0], [1.0, 1.0]]),
    ("detect", "anchors", [[1.0], [1.0]]),
    ("detect", "anchors", 3),
    ("detect", "mean", None),
]


@pytest.mark.parametrize(("task", "key", "value"), DAMAGED)
def test_a_damaged_interface_is_refused(task, key, value, made):
    plain = json.loads((made[task] / "interface.json").read_text())
    assert VisionInterface.from_plain(plain).plain() == plain
    with pytest.raises(CheckpointError, match=r"interface\.json is damaged"):
        VisionInterface.from_plain({**plain, key: value})
    with pytest.raises(CheckpointError, match=r"interface\.json is damaged"):
        VisionInterface.from_plain({name: v for name, v in plain.items() if name != key})


@pytest.mark.parametrize("task", TASKS)
def test_damaged_documents_of_a_run_end_with_status_4(task, made, tmp_path, capsys):
    for content in ("{}", "[]", "{"):
        run = shutil.copytree(made[task], tmp_path / "run", dirs_exist_ok=True)
        (run / "result.json").write_text(content)
        for line in (["eval"], ["report", "--to", tmp_path / "r.html"]):
            status, _, err = call(capsys, line[0], run, *line[1:])
            assert (status, "result.json" in err, "Traceback" in err) == (4, True, False), (line, err)
        with pytest.raises(CheckpointError, match=r"result\.json"):
            _ = concord.Run(run).result


@pytest.mark.parametrize("task", TASKS)
def test_the_checkpoint_stands_in_for_a_damaged_interface(task, made, tmp_path, capsys):
    run = shutil.copytree(made[task], tmp_path / "run")
    (run / "interface.json").write_text("{")
    line = ["predict", run, made[task].parent / "data/images/00.png", "--json"]
    status, out, err = call(capsys, *line)
    assert (status, "what the checkpoint says is used" in err) == (0, True), err
    assert out == call(capsys, "predict", made[task], *line[2:])[1]


@pytest.mark.parametrize("task", TASKS)
def test_a_damaged_result_is_made_again_from_the_checkpoint(task, made, tmp_path, capsys):
    run = shutil.copytree(made[task], tmp_path / "run")
    (run / "result.json").write_text("{}")
    status, _, err = call(capsys, "resume", run, "--quiet")
    assert (status, "its result is made again" in err) == (0, True), err
    again, before = (json.loads((path / "result.json").read_text()) for path in (run, made[task]))
    assert {**again, "run": ""} == {**before, "run": ""}
