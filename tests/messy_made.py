"""Photos as people have them: every mode, depth, orientation, format and shape that Pillow writes."""

import io

import numpy as np
from data_made import SHARED
from PIL import Image

SIZES = [(1, 1), (1, 90), (90, 1), (3, 400), (400, 3), (31, 50), (50, 31), (64, 64), (120, 97), (640, 41)]


def photo(numbers):
    """A real photo where there is one, turned and coloured at random, or else smooth shapes on noise."""
    real = sorted((SHARED / "animals").glob("*.png"))
    if real and numbers.random() < 0.8:
        image = Image.open(real[numbers.integers(len(real))]).convert("RGB").rotate(numbers.uniform(-40, 40))
        pixels = np.asarray(image).astype(float)
    else:
        y, x = np.mgrid[0:80, 0:100]
        wave = np.sin(x[..., None] / numbers.uniform(3, 30, 3) + y[..., None] / numbers.uniform(3, 30, 3))
        pixels = 128 + 100 * wave + numbers.normal(0, 20, (80, 100, 3))
    mixed = pixels * numbers.uniform(0.5, 1.3) + numbers.uniform(-40, 40, 3)
    image = Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
    size = (
        SIZES[numbers.integers(len(SIZES))] if numbers.random() < 0.4 else tuple(numbers.integers(20, 400, 2))
    )
    return image.resize(tuple(map(int, size)), Image.Resampling.BICUBIC)


def alpha(image, numbers):
    mask = numbers.integers(0, 256, (image.height, image.width), dtype=np.uint8)
    return Image.fromarray(mask)


def deep(image, numbers):
    """16 bits of grey. Shape: (H, W) uint16"""
    grey = np.asarray(image.convert("L")).astype(np.int64) * 257
    return np.clip(grey + numbers.integers(-300, 300, grey.shape), 0, 65535).astype(np.uint16)


def exif(turn):
    tags = Image.Exif()
    tags[0x0112] = turn
    return tags


def with_alpha(mode):
    def make(image, numbers):
        base = image.convert(mode[:-1])
        base.putalpha(alpha(image, numbers))
        return base

    return make


def palette_with_transparency(image, numbers):
    return image.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)


KINDS = {  # name -> (suffix, image from a photo, options of Image.save)
    "grey": ("png", lambda i, n: i.convert("L"), {}),
    "grey jpeg": ("jpg", lambda i, n: i.convert("L"), {}),
    "colour": ("png", lambda i, n: i, {}),
    "colour jpeg": ("jpg", lambda i, n: i, {"quality": 80}),
    "progressive": ("jpg", lambda i, n: i, {"progressive": True, "subsampling": 2}),
    "rgba": ("png", with_alpha("RGBA"), {}),
    "la": ("png", with_alpha("LA"), {}),
    "palette": ("png", lambda i, n: i.quantize(32), {}),
    "palette with one transparent colour": ("png", palette_with_transparency, {"transparency": 3}),
    "palette with alpha": ("png", palette_with_transparency, {"transparency": bytes(range(0, 256, 16))}),
    "colour with a transparent one": ("png", lambda i, n: i, {"transparency": (255, 255, 255)}),
    **{
        f"orientation {turn} {suffix}": (suffix, lambda i, n: i, {"exif": exif(turn)})
        for turn in range(1, 9)
        for suffix in ("jpg", "png", "tiff", "webp")
    },
    "cmyk": ("jpg", lambda i, n: i.convert("CMYK"), {}),
    "cmyk tiff": ("tiff", lambda i, n: i.convert("CMYK"), {}),
    "16 bit": ("png", lambda i, n: Image.fromarray(deep(i, n)), {}),
    "16 bit tiff": ("tiff", lambda i, n: Image.fromarray(deep(i, n)), {}),
    "16 bit big-endian": ("tiff", lambda i, n: Image.fromarray(deep(i, n)).convert("I;16B"), {}),
    "32 bit": ("tiff", lambda i, n: Image.fromarray(deep(i, n).astype(np.int32)), {}),
    "1 bit": ("png", lambda i, n: i.convert("1"), {}),
    "1 bit fax": ("tiff", lambda i, n: i.convert("1"), {"compression": "group4"}),
    "tiff lzw": ("tiff", lambda i, n: i, {"compression": "tiff_lzw", "exif": exif(6)}),
    **{f"grey tiff turned {t}": ("tiff", lambda i, n: i.convert("L"), {"exif": exif(t)}) for t in (3, 5, 8)},
    "tiff rgba": ("tiff", with_alpha("RGBA"), {}),
    "gif": ("gif", lambda i, n: i, {}),
    "gif frames": ("gif", lambda i, n: i, {"save_all": True}),
    "gif transparent": ("gif", palette_with_transparency, {"transparency": 2}),
    "webp": ("webp", lambda i, n: i, {"quality": 70}),
    "webp alpha": ("webp", with_alpha("RGBA"), {"lossless": True}),
    "webp frames": ("webp", lambda i, n: i, {"save_all": True}),
    "bmp": ("bmp", lambda i, n: i, {}),
    "ppm": ("ppm", lambda i, n: i, {}),
    "pgm 16 bit": ("pgm", lambda i, n: Image.fromarray(deep(i, n).astype(np.int32)), {}),
}


def write_messy(folder, count, seed=0):
    """``count`` files of all kinds in turn; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed)
    paths = []
    for i in range(count):
        name = list(KINDS)[i % len(KINDS)]
        suffix, make, options = KINDS[name]
        path = folder / f"{i:04} {name}.{suffix}"
        content = io.BytesIO()
        image = photo(numbers)
        if "frames" in name:
            options = options | {"append_images": [Image.new("RGB", image.size, (0, 255, 0))]}
        make(image, numbers).save(content, Image.registered_extensions()[f".{suffix}"], **options)
        path.write_bytes(content.getvalue())
        paths.append(path)
    return paths
