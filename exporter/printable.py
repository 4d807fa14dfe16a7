"""Text from outside, made fit for one line of a terminal or a log."""


def printable(text: str) -> str:
    """Return `text` with line breaks, control characters and whatever else does not print as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
