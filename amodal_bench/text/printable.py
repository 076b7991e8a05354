"""Text from elsewhere (paths, errors, names in files) in a spelling that is safe to show, store and encode."""

import re

# Control characters (C0, DEL, C1), lone surrogates, the two line separators, and what reorders text (Unicode's
# Bidi_Control): with them a name can move the cursor, hide itself, or read other than it is.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str, keep: str = "") -> str:
    r"""The text with control characters and their kind spelled out: ESC as `\x1b`, a lone surrogate as `\ud800`.

    The result can always be encoded as UTF-8, and spelling it again changes nothing. All other Unicode stays as it is,
    backslashes too: a name that holds the four characters `\x1b` looks the same as one that holds ESC.

    Args:
        text: anything, lone surrogates included.
        keep: of the characters that would be spelled out, those that stay, for text of several lines `"\n"`.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _spelled(found[0]), text)


def indented(text: str) -> str:
    """Lines that stay recognisable as one message: all but the first are moved in, so that none poses as another."""
    first, *more = (printable(line.expandtabs(2)) for line in text.split("\n"))
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in more)])


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
