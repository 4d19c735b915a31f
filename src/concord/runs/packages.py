"""The packages that concord needs beside Python."""

# doctor looks for each of them, and a stamp names their versions
NEEDED = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "scikit-learn",
    "scipy",
    "safetensors",
    "pydantic",
    "typer",
    "rich",
    "matplotlib",
    "jinja2",
    "networkx",
)
