"""Detection as a task: what members compare, how they are scored, and a pair of detectors in training."""

import json

import pytest
import torch
from detection_made import ANCHORS, HEADS, SIZE, exact, image_of, output_of, target_of
from docs_made import ROOT, blocks
from torch import nn

import concord
from concord.consensus.costs import kl, l2
from concord.errors import DataError, UsageError
from concord.tasks.detect import Detect
from concord.tasks.detection.v1 import YoloV1
from concord.tasks.detection.v2 import YoloV2
from concord.tasks.detection.v3 import YoloV3

_ = exact  # the fixture, by its name in this module
EACH = pytest.mark.parametrize("version", HEADS)
IMAGES = [image_of(1, 4), [], image_of(2, 9)]


def part(tree, rows):
    """Some samples of an output or of a target."""
    if isinstance(tree, dict):
        return {key: value[rows] for key, value in tree.items()}
    return tree[rows] if isinstance(tree, torch.Tensor) else tuple(leaf[rows] for leaf in tree)


@EACH
def test_members_meet_where_an_object_is_and_a_sample_weighs_1(version):
    task, target = Detect(HEADS[version]), target_of(IMAGES)
    outputs = [output_of(HEADS[version], 3, seed) for seed in (0, 1)]
    own, other = (task.compare(output, target) for output in outputs)
    chosen = HEADS[version].parts(outputs[0], target).chosen
    rows = int(chosen.sum()) * (4 if version == "v3" else 1)
    assert own.rows.shape == other.rows.shape == (rows, 2 if version == "v3" else 4)
    assert own.weights.sum().item() == pytest.approx(2)  # of three samples one has no object
    first = int(chosen[0].sum()) * (4 if version == "v3" else 1)
    assert own.weights[:first].sum().item() == pytest.approx(1)
    torch.testing.assert_close(own.weights, other.weights)
    empty = task.compare(part(outputs[0], slice(1, 2)), target_of([[]]))
    assert len(empty.rows) == len(empty.weights) == 0


@pytest.mark.usefixtures("exact")
def test_rows_of_v2_are_logits_of_nothing_and_of_each_class():
    """Their softmax is 1 - s, s p_1, ..., s p_K, the chances of all that a place may hold."""
    head, target = HEADS["v2"], target_of([[(2, 0.5, 0.45, 0.3, 0.7)]])
    output = output_of(head, 1)
    rows, weights, labels = Detect(head).compare(output, target)
    raw = output.view(3, 8, 4, 6)[1, :, 1, 3]  # the anchor 30 x 41
    s, p = raw[4].sigmoid(), raw[5:].softmax(0)
    torch.testing.assert_close(rows.softmax(1), torch.cat([1 - s[None], s * p])[None])
    assert (weights.tolist(), labels.tolist()) == ([1], [3])


@pytest.mark.usefixtures("exact")
def test_rows_of_v3_are_yes_or_no_for_objectness_and_each_class():
    """kl between such rows is the sum of those of independent probabilities. Two objects share the place."""
    head = HEADS["v3"]
    target = target_of([[(2, 0.5, 0.45, 0.3, 0.7), (0, 0.5, 0.45, 0.3, 0.7)]])
    output, other = output_of(head, 1), output_of(head, 1, 5)
    own, peer = Detect(head).compare(output, target), Detect(head).compare(other, target)
    p, q = (tree[1].view(2, 8, 4, 6)[1, 4:, 1, 3].sigmoid() for tree in (output, other))
    torch.testing.assert_close(own.rows.softmax(1)[:, 0], p)
    expected = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    torch.testing.assert_close(kl(own.rows, peer.rows), expected)
    assert own.labels.tolist() == [0, 0, 1, 0]
    assert own.weights.tolist() == [0.25] * 4


@pytest.mark.usefixtures("exact")
def test_rows_of_v1_are_the_highest_confidence_and_the_classes_of_a_cell():
    head, target = HEADS["v1"], target_of([[(1, 0.6, 0.3, 0.2, 0.2)]])
    output = output_of(head, 1)
    cell = 1 * 4 + 2
    rows, weights, labels = Detect(head).compare(output, target)
    confidence = output[0, 48 + cell * 2 :][:2].max()
    torch.testing.assert_close(rows, torch.cat([confidence[None], output[0, cell * 3 :][:3]])[None])
    assert (weights.tolist(), labels) == ([1], None)


@EACH
def test_without_a_target_members_compare_all_places(version):
    task = Detect(HEADS[version])
    rows, weights, labels = task.compare(output_of(HEADS[version], 2), None)
    assert weights.sum().item() == pytest.approx(2)
    assert len(rows) == {"v1": 2 * 16, "v2": 2 * 3 * 24, "v3": 2 * (2 * 6 + 2 * 24) * 4}[version]
    assert labels is None


@EACH
def test_members_that_agree_have_no_consensus_cost_but_a_gradient_when_they_do_not(version):
    task, target = Detect(HEADS[version]), target_of(IMAGES)
    output, other = output_of(HEADS[version], 3), output_of(HEADS[version], 3, 1)
    leaves = [output] if version != "v3" else list(output)
    for leaf in leaves:
        leaf.requires_grad_()
    rows = task.compare(output, target).rows
    assert l2(rows, rows).abs().max() == 0
    l2(rows, task.compare(other, target).rows).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    assert sum(int((leaf.grad != 0).sum()) for leaf in leaves) > 10


@EACH
def test_scores_are_means_over_images_and_objects(version):
    head, target = HEADS[version], target_of(IMAGES)
    task, outputs = Detect(head), [output_of(head, 3, seed) for seed in (0, 1)]
    scores = task.scores(task.tally(outputs, [target] * 2), ["a", "b"])
    for output, figures in zip(outputs, scores.members.values(), strict=True):
        parts = head.parts(output, target)
        assert figures.loss == pytest.approx(task.loss(output, target).mean().item())
        assert figures.box_loss == pytest.approx(parts.box.mean().item())
        assert figures.class_loss == pytest.approx(parts.classes.mean().item())
        found = parts.overlap[parts.chosen]
        assert figures.iou == pytest.approx(found.mean().item())
        assert figures.recall == pytest.approx((found > 0.5).double().mean().item())
    assert task.read(json.loads(json.dumps(scores.to_dict()))) == scores
    assert (scores.ensemble.ap50, scores.ensemble.loss) == (None, None)
    with pytest.raises(UsageError, match="average precision is not a sum"):
        task.watched(scores)


@EACH
def test_tallies_of_two_batches_add_up_to_that_of_both(version):
    task, target = Detect(HEADS[version]), target_of(IMAGES)
    outputs = [output_of(HEADS[version], 3, seed) for seed in (0, 1)]
    whole = task.tally(outputs, [target] * 2)
    parts = [
        task.tally([part(o, rows) for o in outputs], [part(target, rows)] * 2)
        for rows in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(parts), whole)
    assert len(whole) == task.size(2)
    assert whole.dtype == torch.float64


@EACH
def test_without_objects_iou_and_recall_are_unknown(version):
    task, target = Detect(HEADS[version]), target_of([[], []])
    tally = task.tally([output_of(HEADS[version], 2)], [target])
    figures = task.scores(tally, ["a"]).members["a"]
    assert (figures.iou, figures.recall) == (None, None)
    assert figures.loss > 0


def perfect(head, image):
    """A map of v2 that says just what an image holds, to any network's eyes without doubt."""
    maps = torch.zeros(1, len(head.anchors), 8, 4, 6)
    maps[:, :, 4] = -20
    for label, x, y, w, h in image:
        i, j = int(x * 6), int(y * 4)
        sides = torch.tensor([w * 96, h * 64])
        a = max(range(3), key=lambda n: (torch.tensor(head.anchors[n]).minimum(sides)).prod().item())
        centre = torch.tensor([x * 6 - i, y * 4 - j]).logit()
        maps[0, a, :5, j, i] = torch.cat(
            [centre, (sides / torch.tensor(head.anchors[a])).log(), torch.tensor([9.0])]
        )
        maps[0, a, 5 + label, j, i] = 20
    return maps.flatten(1, 2)


@pytest.mark.parametrize("suppression", ["hard", "linear", "gaussian"])
@pytest.mark.parametrize("fusion", ["weighted", "merged"])
def test_members_without_doubt_detect_the_truth_alone_and_together(suppression, fusion):
    image = [(0, 0.2, 0.3, 0.3, 0.4), (2, 0.7, 0.8, 0.25, 0.35)]
    task = Detect(HEADS["v2"], suppression=suppression, fusion=fusion, most=5)
    output, expected = perfect(HEADS["v2"], image), target_of([image])["boxes"][0].float()
    for found in (task.detections(output), task.combine([output, output]), task.kept(output)):
        assert found["labels"].shape == (1, 5)
        order = found["labels"][0, :2].argsort()
        assert found["labels"][0][order].tolist() == [0, 2]
        assert found["labels"][0, 2:].tolist() == [-1] * 3
        torch.testing.assert_close(found["boxes"][0][order], expected, rtol=1e-3, atol=1e-2)
        assert (found["scores"][0, :2] > 0.99).all()


def test_a_box_has_several_classes_or_its_likeliest_alone():
    head = YoloV3(3, (((16.0, 8.0),),), (32,))
    output = (torch.tensor([0.0, 0, 0, 0, 5, 3, -1, 4]).view(1, 8, 1, 1),)
    assert Detect(head, most=4).detections(output)["labels"].tolist() == [[2, 0, 1, -1]]
    assert Detect(head, most=4, one_class=True).detections(output)["labels"].tolist() == [[2, -1, -1, -1]]


def test_detections_are_cut_off_at_the_image_and_above_the_threshold():
    head = YoloV2(1, ((300.0, 200.0),), 32)
    output = torch.zeros(1, 6, 2, 3)
    output[:, 4] = torch.arange(6.0).view(2, 3) - 3
    found = Detect(head, threshold=0.6, most=6).detections(output)
    # sigmoid of 1 and 2 is above .6, and one of the two large boxes suppresses the other
    assert found["boxes"][0, 0].tolist() == [0, 0, 96, 64]
    assert found["scores"][0].tolist() == pytest.approx([torch.tensor(2.0).sigmoid().item(), 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"suppression": "soft"}, "suppression is hard or linear or gaussian, got 'soft'"),
        ({"fusion": "weigted"}, "fusion is weighted or merged, got 'weigted' .did you mean 'weighted'"),
        ({"threshold": 1.0}, "a threshold is from 0 to below 1"),
        ({"most": 0}, "at least one box is kept"),
        ({"names": ("a", "b")}, "the head has 3 classes, got 2 names"),
    ],
)
def test_settings_that_cannot_be_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        Detect(HEADS["v2"], **given)


def doubtful(version, images):
    """Outputs of two members of which the second is nearly right."""
    noise = [output_of(HEADS[version], len(images), seed).float() for seed in (0, 1)]
    right = torch.cat([perfect(HEADS[version], image) for image in images])
    return [noise[0] - 1, right + 0.2 * noise[1]]


def test_average_precision_is_that_of_the_detections_of_each_member_and_of_the_ensemble():
    """As ``concord.average_precision`` has it of all images in one list, whatever the batches were."""
    images = [image_of(seed, 3) for seed in range(6)]
    task = Detect(HEADS["v2"], names=("red", "white", "small"))
    outputs, target = doubtful("v2", images), target_of(images, difficult=[(0, 1)], crowd=[(2, 0)])
    parts = [slice(0, 1), slice(1, 4), slice(4, 6)]
    batches = [([o[rows] for o in outputs], [part(target, rows)] * 2) for rows in parts]
    tally, rows = sum(task.tally(*batch) for batch in batches), torch.cat([task.rows(*b) for b in batches])
    scores = task.ranked(tally, rows, ["a", "b"])
    found = [*(task.detections(output) for output in outputs), task.combine(outputs)]
    truths = [{key: value[i] for key, value in target.items()} for i in range(6)]
    for some, figures in zip(found, (*scores.members.values(), scores.ensemble), strict=True):
        there = [some["labels"][i] >= 0 for i in range(6)]
        listed = [{key: value[i][there[i]] for key, value in some.items()} for i in range(6)]
        expected = concord.average_precision(listed, truths, classes=task.names)
        assert figures.ap == expected.means["coco"]
        assert figures.ap50 == expected.means["coco50"]
        assert (figures.voc07, figures.area) == (expected.means["voc07"], expected.means["area"])
        assert figures.classes == expected.classes
    a, b = scores.members.values()
    assert a.ap50 < 0.3 < b.ap50
    assert scores.ensemble.ap50 > a.ap50
    assert a.loss == task.scores(tally, ["a", "b"]).members["a"].loss
    assert task.watched(scores) == (scores.ensemble.ap50, False)
    assert task.read(json.loads(json.dumps(scores.to_dict()))) == scores
    assert isinstance(task, concord.Ranking)


def test_without_any_object_average_precision_is_refused():
    task, target = Detect(HEADS["v2"]), target_of([[], []])
    outputs = [output_of(HEADS["v2"], 2).float()]
    with pytest.raises(DataError, match="average precision needs a truth"):
        task.ranked(task.tally(outputs, [target]), task.rows(outputs, [target]), ["a"])


class Small(nn.Module):
    """Four convolutions, with the output of a head."""

    def __init__(self, head, width):
        super().__init__()
        self.head = head
        body, channels = [], 1
        for _ in range(4):
            body += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.1),
            ]
            channels = width
        self.body = nn.Sequential(*body)
        if isinstance(head, YoloV1):
            self.out = nn.Sequential(nn.Flatten(), nn.Linear(width * 24, 16 * 13))
        else:
            self.out = nn.Conv2d(
                width, 8 * len(head.anchors if isinstance(head, YoloV2) else head.anchors[0]), 1
            )

    def forward(self, x):
        y = self.out(self.body(x))
        return (y,) if isinstance(self.head, YoloV3) else y


def squares(count):
    """Bright squares of three sizes on dark ground; the size is the class, one or two in an image."""
    g = torch.Generator().manual_seed(0)
    x, images = 0.1 * torch.rand(count, 1, *SIZE, generator=g), []
    for n in range(count):
        image = []
        for _ in range(1 + n % 2):
            label = int(torch.randint(3, (), generator=g))
            side = (10, 20, 36)[label]
            top, left = (int(torch.randint(limit - side, (), generator=g)) for limit in SIZE)
            x[n, 0, top : top + side, left : left + side] = 1.0
            image.append((label, (left + side / 2) / 96, (top + side / 2) / 64, side / 96, side / 64))
        images.append(image)
    return x, target_of(images)


@pytest.mark.parametrize(
    "head", [HEADS["v1"], HEADS["v2"], YoloV3(3, (ANCHORS,), (16,))], ids=["v1", "v2", "v3"]
)
def test_a_pair_of_detectors_learns_together(head):
    """The loss of held-out images falls, with a consensus on what a place holds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        members = {"a": Small(head, 12), "b": Small(head, 16)}
    x, y = squares(32)
    y["boxes"] = y["boxes"].float()
    ensemble = concord.Ensemble(members, consensus="l2", weight=0.01, task=Detect(head, most=10))
    before = ensemble.evaluate((x, y))
    ensemble.fit((x, y), epochs=7, batch_size=8, optimizer=concord.Adam(0.01))
    after = ensemble.evaluate((x, y))
    for name in members:
        assert after.members[name].loss < 0.6 * before.members[name].loss
        assert 0 < after.members[name].ap50 <= 1
    assert 0 < after.ensemble.ap50 <= 1


def test_the_example_of_the_page_about_detection_runs(capsys):
    given = {}
    for block in blocks(ROOT / "docs/detection.md", "python"):
        exec(compile(block, "docs/detection.md", "exec"), given)
    assert given["found"]["boxes"].shape == (8, 100, 4)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert given["boxes"].task.head.strides == (16, 8)
