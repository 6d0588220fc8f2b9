"""Regular expressions in conditions: RE2, bounded in size, memory and time.

1. RE2 searches in time linear in the text; its factor is the size of the compiled program. The program is
   bounded here, and so is the product of both (`MAX_SEARCH`): no argument can make a decision slow.
2. A pattern is looked for anywhere in the text, as in CEL; ``^`` and ``$`` anchor it.

Source: https://github.com/google/re2/wiki/Syntax; Cox, "Regular Expression Matching in the Wild" (2010).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

MAX_PATTERN = 500
"""Characters of a pattern."""
MAX_SEARCH = 10_000_000
"""Steps that one search may take at worst, a tenth of a second or less: the bytes of the text times the
instructions of the pattern. Whether a longer text matches is unknown. Everyday patterns have ten to fifty
instructions, so that they search texts of a quarter million characters."""
_MAX_PROGRAM = 2_000
"""Instructions of a compiled pattern; a class of Unicode letters takes 1,200."""
_MAX_MEMORY = 1 << 20


@lru_cache(maxsize=1_024)
def pattern_of(pattern: str) -> Any:
    """A compiled RE2 pattern over bytes of UTF-8. Raises ValueError.

    A search takes time linear in the text, whatever the pattern, because its program is bounded too.
    """
    import re2  # type: ignore[import-untyped]  # only policies that use .matches() pay for loading it

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MAX_MEMORY
    try:
        compiled = re2.compile(pattern.encode(), options=options)
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0] if error.args else "unreadable"
        raise ValueError(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from None
    if compiled.programsize > _MAX_PROGRAM:
        raise ValueError(f"{compiled.programsize} instructions; at most {_MAX_PROGRAM}")
    return compiled


def search(compiled: Any, text: str) -> bool | None:
    """Whether a pattern is found in a text; None where that takes too long, or it is no Unicode text."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return None
    if len(encoded) * compiled.programsize > MAX_SEARCH:
        return None
    return compiled.search(encoded) is not None
