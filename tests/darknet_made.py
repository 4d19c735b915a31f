"""Files of darknet for tests, written from the descriptions of the published networks."""

import torch

from concord.zoo.darknet.network import read_network
from concord.zoo.darknet.weights import stored


def net(height, width, channels=3):
    return f"[net]\n# training\nbatch=64\nheight={height}\nwidth = {width}\nchannels={channels}\n"


def section(kind, **options):
    return f"[{kind}]\n" + "".join(f"{key.rstrip('_')}={value}\n" for key, value in options.items())


def conv(filters, size=3, stride=1, norm=1, activation="leaky", **options):
    norm = {"batch_normalize": 1} if norm else {}
    shape = {"filters": filters, "size": size, "stride": stride, "pad": 1, "activation": activation}
    return section("convolutional", **norm, **shape, **options)


def head(filters):
    return conv(filters, 1, norm=0, activation="linear")


def pool(stride=2, size=2):
    return section("maxpool", size=size, stride=stride)


def yolo(mask, anchors, classes):
    return section("yolo", mask=mask, anchors=anchors, classes=classes, num=len(anchors.split(",")) // 2)


def chain(*filters):
    return "".join(conv(n) + pool() for n in filters)


def up(filters, skip):
    return (
        section("route", layers=-4)
        + conv(filters, 1)
        + section("upsample", stride=2)
        + section("route", layers=f"-1, {skip}")
    )


def tiny_v3(side=64, classes=80):
    anchors, outputs = "10,14,  23,27,  37,58,  81,82,  135,169,  344,319", 3 * (5 + classes)
    return (
        net(side, side) + chain(16, 32, 64, 128, 256) + conv(512) + pool(stride=1) + conv(1024) + conv(256, 1)
        + conv(512) + head(outputs) + yolo("3,4,5", anchors, classes)
        + up(128, 8) + conv(256) + head(outputs) + yolo("0,1,2", anchors, classes)
    )  # fmt: skip


def tiny_v1(classes=20):
    return (
        net(448, 448) + chain(16, 32, 64, 128, 256, 512) + conv(1024) + conv(256)
        + section("connected", output=49 * (classes + 10), activation="linear")
        + section("detection", classes=classes, coords=4, rescore=1, side=7, num=2, softmax=0, sqrt=1)
    )  # fmt: skip


def released_v1():
    text = net(448, 448) + conv(64, 7, 2) + pool() + conv(192) + pool()
    text += conv(128, 1) + conv(256) + conv(256, 1) + conv(512) + pool()
    text += (conv(256, 1) + conv(512)) * 4 + conv(512, 1) + conv(1024) + pool()
    text += (conv(512, 1) + conv(1024)) * 2 + conv(1024) + conv(1024, stride=2) + conv(1024) * 2
    text += section("local", size=3, stride=1, pad=1, filters=256, activation="leaky") + section(
        "dropout", probability=0.5
    )
    return (
        text
        + section("connected", output=1715, activation="linear")
        + section("detection", classes=20, side=7, num=3, sqrt=1)
    )


def darknet19_groups():
    groups = ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512))
    text = "".join(
        "".join(conv(n, 1 if i % 2 else 3) for i, n in enumerate(group)) + pool() for group in groups
    )
    return text + "".join(conv(n, 1 if i % 2 else 3) for i, n in enumerate((1024, 512, 1024, 512, 1024)))


def darknet19(side=64):
    return (
        net(side, side) + darknet19_groups() + head(1000) + section("avgpool") + section("softmax", groups=1)
    )


def v2(side=64, classes=80):
    anchors = "0.57273, 0.677385, 1.87446, 2.06253, 3.33843, 5.47434, 7.88282, 3.52778, 9.77052, 9.16828"
    text = net(side, side) + darknet19_groups() + conv(1024) * 2 + section("route", layers=-9) + conv(64, 1)
    text += (
        section("reorg", stride=2) + section("route", layers="-1,-4") + conv(1024) + head(5 * (5 + classes))
    )
    return text + section(
        "region", anchors=anchors, classes=classes, coords=4, num=5, softmax=1, bias_match=1
    )


def v3(side=64, classes=80, spp=False):
    anchors = "10,13,  16,30,  33,23,  30,61,  62,45,  59,119,  116,90,  156,198,  373,326"
    text = net(side, side) + conv(32)
    for i, units in enumerate((1, 2, 8, 8, 4)):
        n = 32 * 2**i
        text += conv(2 * n, stride=2)
        text += (conv(n, 1) + conv(2 * n) + section("shortcut", from_=-3, activation="linear")) * units
    for number, (n, skip) in enumerate(((512, None), (256, 61), (128, 36))):
        if skip:
            text += up(n, skip)
        pyramid = spp and not skip
        text += (
            conv(n, 1)
            + conv(2 * n)
            + conv(n, 1)
            + (pyramids(n) if pyramid else "")
            + conv(2 * n)
            + conv(n, 1)
        )
        first = 6 - 3 * number
        text += (
            conv(2 * n) + head(3 * (5 + classes)) + yolo(f"{first},{first + 1},{first + 2}", anchors, classes)
        )
    return text


def pyramids(n):
    """Maxima over windows of 5, 9 and 13 beside the map itself, and a 1x1 convolution."""
    text = pool(1, 5) + section("route", layers=-2) + pool(1, 9) + section("route", layers=-4) + pool(1, 13)
    return text + section("route", layers="-1,-3,-5,-6") + conv(n, 1)


def made(tmp_path, text, name="net.cfg"):
    path = tmp_path / name
    path.write_text(text)
    return read_network(path).eval()


@torch.no_grad()
def unlike(network, seed=0):
    """Weights as they are, and numbers of norms and biases that are all different."""
    generator = torch.Generator().manual_seed(seed)
    for place in stored(network):
        if place.tensor.ndim < 2:
            place.tensor.copy_(torch.rand(place.tensor.shape, generator=generator) + 0.5)
    return network
