"""The script that labels image files with an exported ONNX file, without concord and without torch."""

import os
from pathlib import Path

SCRIPT = """\
import json, pathlib, sys, numpy, onnxruntime, PIL.Image, PIL.ImageOps  # python SELF photo.jpg ...
net = onnxruntime.InferenceSession(pathlib.Path(__file__).parent / MODEL)
about = net.get_modelmeta().custom_metadata_map
for name in sys.argv[1:]:
    image = PIL.ImageOps.exif_transpose(PIL.Image.open(open(name, "rb")))
    image = image.convert("I").point(lambda v: v / 257 + 0.5) if image.mode[0] == "I" else image  # 16 bits
    image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = PIL.ImageOps.fit(image.convert(about["mode"]), json.loads(about["size"])[::-1], 2)  # bilinear
    (p,) = net.run(None, {"pixels": [numpy.atleast_3d(image).transpose(2, 0, 1)]})[0]
    print(name, json.loads(about["classes"])[p.argmax()], f"{p.max():.3f}", sep="  ")
"""


def script_for(model: Path, script: Path | None = None) -> str:
    """The script for that file, to be kept at ``script`` (default: beside the file)."""
    beside = model.name if script is None else os.path.relpath(model.absolute(), script.absolute().parent)
    own = "label.py" if script is None else ascii(script.name)[1:-1]
    return SCRIPT.replace("SELF", own, 1).replace("MODEL", ascii(beside), 1)
