"""Text for the terminal: what is in the names of files and labels is shown, and not carried out."""

from __future__ import annotations

from typing import Final

# Escape sequences begin with a control character, and what turns the direction of text hides what follows.
_SHOWN: Final = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{code: f"\\u{code:04x}" for code in (*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
_IN_JSON: Final = {code: f"\\u{code:04x}" for code in _SHOWN if code >= 0x7F}


def visible(text: str) -> str:
    """Return a text whose control characters are shown as symbols, "\\x1b" as "␛"; lines and tabs stay."""
    return text.translate(_SHOWN)


def visible_json(text: str) -> str:
    """Return JSON that means the same, with control characters that JSON allows escaped as well."""
    return text.translate(_IN_JSON)
