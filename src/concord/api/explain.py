"""A network explained."""

from pathlib import Path

from concord.report.explain import Explanation, explanation
from concord.report.explain_page import write_explanation

__all__ = ["explain"]


def explain(network: str, to: str | Path | None = None) -> Explanation:
    """What a network of the zoo, torchvision or timm is made of; with ``to`` its page as an HTML file too.

    Raises UsageError for an unknown name, with the nearest one, and for a file that does not end in .html.
    """
    explained = explanation(network)
    if to is not None:
        write_explanation(explained, to)
    return explained
