"""Names of files and classes come from outside; this makes them safe to show."""


def counted(count: int, one: str, many: str = "") -> str:
    """``1 image``, ``1,200 images``: ``many`` is ``one`` with an s if it is left out."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def printable(text: object) -> str:
    r"""``text`` with control, invisible and undecodable characters as escapes such as ``\x1b``.

    What ``str.isprintable`` refuses is escaped: control characters, line breaks, direction overrides,
    zero-width characters and the surrogates that stand for bytes of no encoding. Letters of any script stay.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
