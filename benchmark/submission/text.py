"""Text that strangers write and others read: types that refuse what hides, reorders or never ends.

Markup is not refused, a method may be called `<T>`: whoever renders the text escapes it. What cannot be made visible
is refused here: control characters, line ends within a line, bidirectional marks, zero-width and unassigned characters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

FORBIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols by category, yet nothing is seen
MOST_MARKS = 3  # combining marks in a row: more climb over the neighbouring lines


def visible(text: str) -> str:
    """The text, stripped. ValueError where a character in it cannot be seen, or marks are piled up."""
    for character in text:
        if unicodedata.category(character) in FORBIDDEN_CATEGORIES or character in BLANK:
            raise ValueError(f"holds the invisible character U+{ord(character):04X}; leave it out")
    marks = "".join("m" if unicodedata.category(c) in ("Mn", "Me") else "." for c in text)
    if "m" * (MOST_MARKS + 1) in marks:
        raise ValueError("piles up combining marks; write it without them")
    if text != text.strip():
        raise ValueError("begins or ends with a space; leave it out")
    return text


def https(text: str) -> str:
    """The address. ValueError unless it is https with a plain host, no user name, no password and no port."""
    parts = urlsplit(text)
    plain = re.fullmatch(r"(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc)
    if (
        parts.scheme != "https"
        or not plain
        or not re.fullmatch(r"[\x21-\x7e]+", text)
        or re.search(r"[\"'<>\\`]", text)
    ):
        raise ValueError("is no https address of plain characters; write it as https://host/path")
    return text


def skeleton(name: str) -> str:
    """What is left of a name once case, width and spaces are taken off: two rows may not share it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(folded.split())


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(visible)]
Paragraph = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(visible)]
Link = Annotated[str, Field(max_length=300), AfterValidator(https)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Token = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="a keyed hash of an id (benchmark.submission.ids)")]
FolderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$", description="of a submission")]
