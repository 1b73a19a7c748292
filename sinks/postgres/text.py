"""Text that PostgreSQL can hold, and back.

PostgreSQL's text, json and jsonb have no NUL; our records may (a description is whatever the merchant sent), and an
event that cannot be stored would stop the sink for good. NUL is written as U+E000 "0" and U+E000 itself as U+E000 "1".
Both are as rare as can be, so what people see in the tables is what was sent.
"""

from __future__ import annotations

import re

__all__ = ["restored", "restored_json", "storable", "storable_json"]

_MARK = "\ue000"
_NUL = "\x00"
# A NUL as JSON encoders write it. An even number of backslashes before it are characters of their own.
_NUL_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_ESCAPED = re.compile(f"{_MARK}([01])")
_IN_TEXT = {"0": _NUL, "1": _MARK}
_IN_JSON = {"0": r"\u0000", "1": _MARK}


def storable(text: str) -> str:
    """The text for a text column."""
    if _NUL in text or _MARK in text:
        return text.replace(_MARK, _MARK + "1").replace(_NUL, _MARK + "0")
    return text


def restored(text: str) -> str:
    """The text of a text column as it was."""
    return _ESCAPED.sub(lambda found: _IN_TEXT[found[1]], text) if _MARK in text else text


def storable_json(document: str) -> str:
    """The JSON document for a json or jsonb column."""
    if _MARK in document:
        document = document.replace(_MARK, _MARK + "1")
    if r"\u0000" in document:
        document = _NUL_IN_JSON.sub(rf"\g<1>{_MARK}0", document)
    return document


def restored_json(document: str) -> str:
    """A JSON document made by PostgreSQL of such columns, with the texts as they were."""
    if _MARK in document:
        return _ESCAPED.sub(lambda found: _IN_JSON[found[1]], document)
    return document
