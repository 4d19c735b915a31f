"""Messages of pydantic in plain words; options of the command line are checked by it too."""

import re

# (message of pydantic, plain words), the first that fits
PHRASES = (
    (r"Value error, (.*)", r"\1"),
    (r"Field required", "is missing"),
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be a valid (string|URL).*", "must be text"),
    (r"Input should be a valid boolean.*", "must be true or false"),
    (r"Input should be a valid (list|tuple|array).*", "must be a list"),
    (r"Input should be a valid (dictionary|mapping).*", "must be a table"),
    (r"Input should be greater than or equal to (.*)", r"must be at least \1"),
    (r"Input should be less than or equal to (.*)", r"must be at most \1"),
    (r"(?:Input should|should|Input must) be (.*)", r"must be \1"),
    (r"String should have at least 1 character", "must not be empty"),
    (r"String should have at most (\d+) characters?", r"must have at most \1 characters"),
    (r"(?:List|Tuple) should have at least (\d+) items?.*", r"must have \1 or more entries"),
    (r"(?:List|Tuple) should have at most (\d+) items?.*", r"must have at most \1 entries"),
)


def plain(message: str) -> str:
    """``Input should be greater than 0`` -> ``must be greater than 0``; other messages as they are."""
    for pattern, words in PHRASES:
        if match := re.fullmatch(pattern, message, re.DOTALL):
            return match.expand(words)
    return message
