"""What an exported file says of itself: classes, and how a picture becomes the pixels that it takes."""

import json
from importlib.metadata import version

from concord.consensus.names import ENSEMBLE
from concord.data.images.resize import Resize
from concord.runs.loading import Loaded
from concord.runs.uncertainty import uncertainty_of

COLOURS = {1: "grey", 3: "RGB"}
MODES = {"grey": "L", "RGB": "RGB"}  # as Pillow names them
STEPS = {  # the fields of ``preprocessing`` before the resize
    "orientation": "EXIF orientation applied",
    "sixteen_bit": "v / 257, rounded",
    "transparency": "on white",
    "cmyk": "converted to RGB",
}


def described(loaded: Loaded, member: str, temperature: float = 1.0) -> dict[str, str]:
    """Metadata by key, as ONNX and safetensors hold them: texts, those of lists and numbers as JSON."""
    found = uncertainty_of(loaded.folder, loaded.result)
    limit = None if found is None else found.of(member).sets["lac"].threshold
    sure = {} if found is None or limit is None else {"set_coverage": found.coverage, "set_threshold": limit}
    channels, height, width = loaded.interface.shape
    colour = COLOURS.get(channels, "unknown")
    members = [m for m in loaded.config.members if member in (m.name, ENSEMBLE)]
    return {
        "classes": json.dumps(list(loaded.interface.classes)),
        "size": json.dumps([height, width]),
        "channels": json.dumps(channels),
        "colour": colour,
        "mode": MODES.get(colour, "unknown"),
        "values": "uint8, 0 to 255",
        "preparation": preparation(colour, height, width),
        "preprocessing": json.dumps({**STEPS, "colour": colour, **Resize((height, width)).plain()}),
        "network": ", ".join(m.network for m in members),
        "member": member,
        "concord_version": version("concord"),
        "temperature": json.dumps(temperature),
        **{key: json.dumps(value) for key, value in sure.items()},
    }


def preparation(colour: str, height: int, width: int) -> str:
    """The same in words."""
    layout = f"Input: uint8 values 0 to 255, shape (batch, channels, {height}, {width})."
    inside = "Normalisation is inside. Output: a probability for each class."
    if colour not in COLOURS.values():
        return f"{layout} {inside}"
    return (
        f"{layout} From an image file: apply the EXIF orientation; 16-bit values v become v / 257, rounded;"
        f" put transparent pixels on white; convert to {colour}, also from CMYK; cut out the largest centred"
        f" window with the proportions {height}:{width} (height:width) and resize it with the antialiased"
        " bilinear filter (Pillow: ImageOps.fit with Image.Resampling.BILINEAR)."
        f" {inside}"
    )
