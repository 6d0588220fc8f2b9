"""What a rule says of an entry that it does not accept.

1. `Broken`: the entry cannot follow what came before it. The export fails.
2. `Unfounded`: it rests on something that never came. Where the entries are there from the first one on, that
   is as bad; where the beginning is missing, it says nothing.
3. `Unclear`: whether it is right cannot be told here. The export cannot be checked.
"""

from __future__ import annotations


class Broken(ValueError):
    """The entry cannot follow what came before it. The message is a sentence."""


class Unfounded(Broken):
    """The entry rests on another that was not seen; it may stand before the first one that was."""


class Unclear(ValueError):
    """The entry uses something that is not known here. The message is a sentence."""
