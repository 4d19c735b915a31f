"""One image file to one tensor: kinds, orientation, transparency, depth, and every kind of bad file."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from data_made import noisy, write_image
from PIL import Image, features
from torchvision.transforms.v2 import functional as F

from concord.data.images.decode import expand, header, open_image, quiet
from concord.data.images.resize import resize, resize_image
from concord.data.load import load
from concord.errors import DataError, UsageError


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that says it is that large and holds a few rows of zeros."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_grey_and_colour_pixels_are_those_of_the_file(tmp_path):
    grey = noisy(1, 5, 7)[0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert torch.equal(open_image(tmp_path / "grey.png", mode="L"), torch.from_numpy(grey)[None])
    assert torch.equal(open_image(tmp_path / "grey.png", mode="RGB"), torch.from_numpy(grey).expand(3, 5, 7))
    write_image(tmp_path / "red.bmp", (255, 0, 0), mode="RGB", size=(3, 2))
    assert open_image(tmp_path / "red.bmp", mode="RGB")[:, 0, 0].tolist() == [255, 0, 0]
    assert open_image(tmp_path / "red.bmp", mode="L").tolist() == [[[76] * 3] * 2]  # 0.299 * 255


def test_transparency_lies_on_white(tmp_path):
    write_image(tmp_path / "half.png", (0, 0, 0, 128), mode="RGBA")
    write_image(tmp_path / "none.png", (9, 9, 9, 0), mode="RGBA")
    write_image(tmp_path / "grey.png", (100, 0), mode="LA")
    assert open_image(tmp_path / "half.png", mode="RGB")[:, 0, 0].tolist() == [127] * 3
    assert open_image(tmp_path / "none.png", mode="RGB").unique().tolist() == [255]
    assert open_image(tmp_path / "grey.png", mode="L").unique().tolist() == [255]


def test_a_transparent_palette_colour_lies_on_white(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png", transparency=1)
    assert open_image(tmp_path / "p.png", mode="RGB")[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]


def test_sixteen_bits_become_eight(tmp_path):
    values = np.array([[0, 128, 129, 257, 65535, 32896]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    # 128 / 257 rounds to 0, 129 / 257 to 1
    assert open_image(tmp_path / "deep.png", mode="L").tolist() == [[[0, 0, 1, 1, 255, 128]]]


def test_a_one_bit_image_is_black_and_white(tmp_path):
    write_image(tmp_path / "bit.png", 1, mode="1")
    assert open_image(tmp_path / "bit.png", mode="L").unique().tolist() == [255]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_the_orientation_tag_is_applied(tmp_path, suffix):
    image, exif = Image.new("L", (16, 8), 0), Image.Exif()
    image.paste(255, (0, 0, 8, 8))  # white on the left
    exif[0x0112] = 6  # to be turned by 90 degrees: left becomes top
    image.save(tmp_path / f"turned.{suffix}", exif=exif)
    pixels = open_image(tmp_path / f"turned.{suffix}", mode="L")
    assert pixels.shape == (1, 16, 8)
    assert pixels[0, :6].min() > 200 > 50 > pixels[0, 10:].max()
    with quiet():
        found = header(tmp_path / f"turned.{suffix}")
    assert (found.height, found.width) == (16, 8)


@pytest.mark.parametrize(
    ("mode", "grey"),
    [("1", True), ("L", True), ("LA", True), ("I;16", True), ("RGB", False), ("RGBA", False)],
)
def test_a_header_tells_grey_from_colour(tmp_path, mode, grey):
    Image.new(mode, (4, 3)).save(tmp_path / "x.png")
    with quiet():
        assert header(tmp_path / "x.png").grey is grey


@pytest.mark.parametrize(("palette", "grey"), [([0, 0, 0, 9, 9, 9], True), ([0, 0, 0, 9, 9, 8], False)])
def test_a_palette_is_grey_if_all_its_colours_are(tmp_path, palette, grey):
    image = Image.new("P", (4, 3))
    image.putpalette(palette)
    image.save(tmp_path / "x.png")
    with quiet():
        assert header(tmp_path / "x.png").grey is grey


def test_a_size_takes_the_centre_of_the_longer_side(tmp_path):
    image = Image.new("L", (30, 10), 0)
    image.paste(200, (10, 0, 20, 10))
    image.save(tmp_path / "wide.png")
    # 2 pixels to 1: the triangle of 4 pixels reaches over the edge of the window, with a weight of 1/8
    assert open_image(tmp_path / "wide.png", mode="L", size=5).tolist() == [[[175, 200, 200, 200, 175]] * 5]
    assert open_image(tmp_path / "wide.png", mode="L", size=(5, 15)).shape == (1, 5, 15)


def test_scaling_down_averages():
    checker = (torch.arange(64).reshape(8, 8) + torch.arange(8)[:, None]) % 2 * 200
    small = resize(checker.to(torch.uint8)[None], (2, 2))
    assert ((small.int() - 100).abs() <= 8).all()


def test_a_long_thin_image_is_not_blown_up():
    assert resize(torch.zeros(1, 1, 200_000, dtype=torch.uint8), (64, 64)).shape == (1, 64, 64)


def bad_files(folder):
    jpeg = io.BytesIO()
    Image.fromarray(noisy(1, 64, 64)[0]).save(jpeg, "JPEG")
    png = io.BytesIO()
    Image.fromarray(noisy(1, 64, 64)[0]).save(png, "PNG")
    flipped = bytearray(png.getvalue())
    flipped[len(flipped) // 2] ^= 0xFF
    return {
        "empty.png": (b"", "is empty"),
        "text.png": (b"not an image at all", "is not an image"),
        "short.png": (png.getvalue()[:2000], "cannot be decoded"),
        "short.jpg": (jpeg.getvalue()[:1000], "cannot be decoded"),
        "flipped.png": (bytes(flipped), "cannot be decoded"),
        "head.png": (png.getvalue()[:20], "cannot be decoded"),
        "bomb50.png": (png_of_size(10_001, 5_000), "has 10001x5000 pixels; more than 50 million"),
        "bomb170.png": (png_of_size(13_000, 13_000), "more than 50 million pixels are not decoded"),
        "bomb900.png": (png_of_size(30_000, 30_000), "more than 178 million pixels; scale"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "is not an image"),
    }


@pytest.mark.fault(11, 12)
@pytest.mark.parametrize("name", sorted(bad_files(None)))
def test_a_bad_file_is_refused_with_its_name_and_the_reason(tmp_path, name):
    content, message = bad_files(tmp_path)[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name) as refused:
        open_image(tmp_path / name, mode="L")
    assert message in str(refused.value)


def test_folders_pipes_and_nothing_are_no_images(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    for name, message in (
        ("", "is a folder"),
        ("pipe.png", "is not a regular file"),
        ("link.png", "does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            open_image(tmp_path / name, mode="L")


def test_values_without_a_range_are_refused(tmp_path):
    Image.new("F", (2, 2), 0.5).save(tmp_path / "float.tiff")
    with pytest.raises(
        DataError, match=r"float\.tiff cannot be decoded \(float32 pixels without a fixed range"
    ):
        open_image(tmp_path / "float.tiff", mode="L")


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_a_photo_is_the_same_pixels_on_every_processor(tmp_path, capability):
    Image.fromarray(noisy(1, 50, 70, seed=1)[0]).save(tmp_path / "photo.png")
    code = "from pathlib import Path; from concord.data.images.decode import open_image\n"
    code += "print(open_image(Path('photo.png'), mode='RGB', size=(16, 24)).numpy().tobytes().hex())"
    environment = os.environ | {"ATEN_CPU_CAPABILITY": capability}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    here = open_image(tmp_path / "photo.png", mode="RGB", size=(16, 24))
    assert done.stdout.strip() == here.numpy().tobytes().hex(), done.stderr


# Shapes whose longer side, scaled, is a whole number of pixels with as many on both sides to cut off.
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 30, 18), (3, 3)),
        ((3, 6, 14), (9, 3)),
        ((1, 1, 40), (2, 4)),
        ((1, 40, 1), (4, 2)),
        ((3, 13, 13), (7, 7)),
        ((3, 8, 20), (4, 6)),
    ],
)
def test_a_tensor_and_an_image_are_scaled_alike_and_as_torchvision_does_within_one_level(shape, size):
    pixels = torch.from_numpy(noisy(*shape, seed=sum(shape)))
    mine = resize(pixels, size)
    assert torch.equal(mine, F.pil_to_tensor(resize_image(F.to_pil_image(pixels), size)))
    height, width = size
    down, across = shape[1] * width, shape[2] * height  # which side is longer than the size wants?
    whole = (
        [height, round(width * across / down)] if across > down else [round(height * down / across), width]
    )
    theirs = F.center_crop(F.resize(pixels, whole, antialias=True), list(size))
    assert (mine.int() - theirs.int()).abs().max() <= 1


def test_a_photo_of_more_pixels_than_usual_is_read_where_it_is_allowed(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (9000, 7000), 100).save(path)  # 63 megapixels
    with pytest.raises(DataError, match=r"9000x7000 pixels; more than 50 .* data\.largest_image = 63 or"):
        open_image(path, mode="L", size=4)
    assert open_image(path, mode="L", size=4, largest=63).unique().tolist() == [100]
    with pytest.raises(DataError, match="more than 62 million"):
        open_image(path, mode="L", size=4, largest=62)


def test_a_large_photo_in_a_folder_is_read_with_the_setting(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(noisy(1, 8, 8)[0] + np.uint8(i)).save(tmp_path / name / f"{i}.png")
    Image.new("RGB", (200, 100)).save(tmp_path / "a" / "large.png")
    with pytest.raises(DataError, match=r"a/large.png: has 200x100 pixels; .* data\.largest_image = 1 or"):
        load(str(tmp_path), size=8, largest_image=0.01)
    assert load(str(tmp_path), size=8, largest_image=0.02)
    for wrong in (0, -1, 179, float("nan")):
        with pytest.raises(UsageError, match=r"data\.largest_image is in megapixels, above 0 and up to 178"):
            load(str(tmp_path), largest_image=wrong)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif_is_read(tmp_path):
    pixels = np.full((16, 24), 120, np.uint8)
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.fromarray(pixels + np.uint8(i)).save(tmp_path / name / f"{i}.avif", quality=100)
    splits = load(str(tmp_path))
    assert splits.train.shape[1:] == (16, 24)
    assert (splits.train.pixels.int() - 122).abs().max() <= 6
    assert expand([str(tmp_path / "a")])


# a plugin of Pillow as pillow-heif is one: its files are PNG behind four letters
PLUGIN = """
import io
from PIL import Image, ImageFile

class File(ImageFile.ImageFile):
    format = "HEIF"

    def _open(self):
        self.fp.seek(4)
        self.inner = Image.open(io.BytesIO(self.fp.read()))
        self._size, self._mode, self.tile = self.inner.size, self.inner.mode, []

    def load(self):
        self.inner.load()
        self._im = self.inner.im
        return Image.Image.load(self)

def register_heif_opener():
    Image.register_open("HEIF", File, lambda prefix: prefix[:4] == b"HEIF")
"""


def checked_apart(folder, plugin):
    """The report on a folder from a process that finds this plugin first."""
    (folder / "pillow_heif.py").write_text(plugin)
    code = "import sys, json\nsys.path.insert(0, '.')\nfrom concord.data.images.check import check\n"
    code += "print(json.dumps(check('set').as_dict()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def test_heic_is_read_where_the_extra_is_installed_and_named_where_not(tmp_path):
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(5):
            png = io.BytesIO()
            Image.new("L", (6, 4), 20 * i + ord(name) % 2).save(png, "PNG")
            (tmp_path / "set" / name / f"{i}.HEIC").write_bytes(b"HEIF" + png.getvalue())
    found = checked_apart(tmp_path, PLUGIN)
    assert (found["ok"], found["counts"]) == (True, {"train": {"a": 5, "b": 5}})
    assert found["sizes"] == {"6x4": 10}
    found = checked_apart(tmp_path, "raise ImportError")
    assert (
        "10 HEIC: convert them to JPEG or PNG; `pip install concord[heic]` reads HEIC" in found["problems"][0]
    )


def test_damaged_heic_is_named_by_pillow_heif_itself(tmp_path):
    pytest.importorskip("pillow_heif")
    path = tmp_path / "a.heic"
    Image.fromarray(noisy(1, 40, 60)[0]).convert("RGB").save(path, quality=100)
    whole, numbers = path.read_bytes(), np.random.default_rng(0)
    assert open_image(path, mode="RGB").shape == (3, 40, 60)
    for _ in range(40):
        path.write_bytes(whole[: numbers.integers(1, len(whole))])
        with pytest.raises(DataError, match=r"a\.heic"):
            open_image(path, mode="RGB")
