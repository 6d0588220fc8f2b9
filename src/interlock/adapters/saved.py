"""Where runs that wait for a person are kept, for frameworks that keep none themselves.

1. A run is kept under its own random name when it pauses, and dropped when it has ended. What is kept is what
   the model and its tools said; it is as confidential as they are, and not encrypted.
2. What is kept is a claim by whoever can write it. It says which run goes on, never what may run: the gate is
   asked by the calls' names.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, MutableMapping
from pathlib import Path


class SavedRuns(MutableMapping[str, str]):
    """Runs that wait, each in a file of a folder that only this user reads."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __getitem__(self, name: str) -> str:
        try:
            return self._file(name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: str) -> None:
        fresh = self._file(name).with_suffix(f".{secrets.token_hex(4)}")
        opened = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(value)
        fresh.replace(self._file(name))

    def __delitem__(self, name: str) -> None:
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (file.stem for file in self._folder.glob("*.json"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _file(self, name: str) -> Path:
        if not name.isalnum():
            raise KeyError(name)
        return self._folder / f"{name}.json"
