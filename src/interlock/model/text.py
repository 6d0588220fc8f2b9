"""Text that came from an agent or a tool, made safe to look at.

1. Control, bidirectional and invisible characters are not removed silently: each becomes ``⟨U+202E⟩``, so
   that a reviewer sees that something was there. Line breaks and tabs stay.
2. Letters of scripts that imitate Latin inside an otherwise Latin word are reported by `lookalikes`.
3. Text is cut at a stated length, and says so.

Source: Unicode TR36 and TR39; "Trojan Source" (Boucher and Anderson, 2021).
"""

from __future__ import annotations

import unicodedata

_KEEP = frozenset("\n\t ")
_INVISIBLE = frozenset(
    "\u115f\u1160\u17b4\u17b5\u3164\uffa0\u034f\u2800"  # blank letters and joiners
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Letters and marks that show nothing although their category does not say so; variation selectors among
them, which can carry hidden text."""
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp", "Zs"})
"""Unicode categories of what nobody sees."""


def visible(text: str, limit: int = 4_000) -> str:
    """The text with every unseen character written out, cut after `limit` characters."""
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return text
    shown = "".join(_letter(letter) for letter in text[:limit])
    return shown if len(text) <= limit else f"{shown}… ({len(text) - limit} more characters)"


def _letter(letter: str) -> str:
    if letter in _KEEP:
        return letter
    if letter in _INVISIBLE or unicodedata.category(letter) in _UNSEEN:
        return f"⟨U+{ord(letter):04X}⟩"
    return letter


def lookalikes(text: str) -> list[str]:
    """Names of non-Latin letters that stand among Latin ones in one word, at most eight.

    >>> lookalikes("pаypal")
    ['CYRILLIC SMALL LETTER A']
    """
    found: list[str] = []
    for word in text.split():
        names = [unicodedata.name(letter, "") for letter in word if letter.isalpha()]
        if any(name.startswith("LATIN") for name in names):
            found += [n for n in names if n.startswith(("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"))]
    return list(dict.fromkeys(found))[:8]
