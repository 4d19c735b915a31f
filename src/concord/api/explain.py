"""A network explained, and what one of its units sees."""

from pathlib import Path

from concord.report.explain import Explanation, explanation
from concord.report.explain_page import write_explanation
from concord.report.field_page import write_field
from concord.runs.seen import Seen, seen_by_unit

__all__ = ["explain", "explain_field"]


def explain(network: str, to: str | Path | None = None) -> Explanation:
    """What a network of the zoo, torchvision or timm is made of; with ``to`` its page as an HTML file too.

    Raises UsageError for an unknown name, with the nearest one, and for a file that does not end in .html.
    """
    explained = explanation(network)
    if to is not None:
        write_explanation(explained, to)
    return explained


def explain_field(
    network: str,
    image: str | Path,
    unit: tuple[int, int],
    *,
    layer: str | None = None,
    seed: int = 0,
    to: str | Path | None = None,
) -> Seen:
    """What the unit (row, column) of a network's last map, or of the map of ``layer``, sees of an image.

    The image is scaled to the size for which the network was made; the weights start from ``seed``. With
    ``to`` the page as an HTML file too, which shows the region and the gradient on the picture.

    Raises UsageError for an unknown name, a network that does not take one picture, a layer without a map, a
    unit outside of it, and a page that does not end in .html; DataError for a file that is not an image.
    """
    seen = seen_by_unit(network, image, unit, layer=layer, seed=seed)
    if to is not None:
        write_field(seen, to)
    return seen
