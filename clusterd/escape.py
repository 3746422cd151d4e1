"""Text from elsewhere in a form that can be shown: it can't steer a terminal, reorder a line, or hide in it."""

from __future__ import annotations

import re

# Characters that show as nothing though Unicode counts them as letters or marks (Default_Ignorable_Code_Point,
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt), and the one blank among the symbols. The
# others of that kind, zero-width and bidirectional controls among them, are not printable to Python either.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def printable(text: str) -> str:
    """Return `text` with every character escaped that could steer a terminal, reorder what is shown, or not be seen."""
    return text if is_plain(text) else "".join(map(_escape, text))


def is_plain(text: str) -> bool:
    """Whether all of the text can be shown as it is."""
    return text.isprintable() and (text.isascii() or _UNSEEN.search(text) is None)


def printable_lines(text: str) -> str:
    """Return a text of several lines with each of them `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def _escape(character: str) -> str:
    if is_plain(character):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()
