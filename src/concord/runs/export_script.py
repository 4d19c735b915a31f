"""The script that labels image files with an exported ONNX file, without concord and without torch."""

import os
from pathlib import Path

SCRIPT = '''\
"""python label.py photo.jpg ...: labels image files. Needs onnxruntime, pillow and numpy."""
import json, sys
from pathlib import Path
import numpy as np, onnxruntime
from PIL import Image, ImageOps, TiffImagePlugin

TiffImagePlugin.READ_LIBTIFF = True  # without it Pillow 13.0 turns some TIFF images twice
session = onnxruntime.InferenceSession(Path(__file__).parent / MODEL)
about = session.get_modelmeta().custom_metadata_map
classes, (H, W) = json.loads(about["classes"]), json.loads(about["size"])
mode = "L" if about["colour"] == "grey" else "RGB"
for name in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(name))
    if image.mode[0] in "IF":  # 16 bits
        image = Image.fromarray(np.uint8((np.asarray(image).astype(int) + 128) // 257))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image, (w, h) = image.convert(mode), image.size
    across, down = min(w, max(1, round(h * W / H))), min(h, max(1, round(w * H / W)))
    x, y = round((w - across) / 2), round((h - down) / 2)
    image = image.crop((x, y, x + across, y + down)).resize((W, H), Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(1, H, W, -1).transpose(0, 3, 1, 2)
    (p,) = session.run(None, {"pixels": pixels})[0]
    print(name, classes[p.argmax()], f"{p.max():.3f}", sep="  ")
'''


def script_for(model: Path, script: Path | None = None) -> str:
    """The script for that file, to be kept at ``script`` (default: beside the file)."""
    beside = model.name if script is None else os.path.relpath(model.absolute(), script.absolute().parent)
    return SCRIPT.replace("MODEL", ascii(beside), 1)
