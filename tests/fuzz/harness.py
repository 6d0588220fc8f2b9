"""Runs one target of `targets` under atheris, from seeds that stand in the code.

``uv run --group fuzz python tests/fuzz/fuzz_expression.py -runs=20000``; every option is libFuzzer's. What it
finds is written to ``crash-…`` in the working directory; give that file as an argument to see it again. The
texts it collects on the way stay in a folder of their own beside other temporary files.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris

LONGEST = 4_096


def run(target: Callable[[str], None], seeds: Sequence[str], words: Sequence[str]) -> None:
    """Fuzz a target until libFuzzer's options say that it is enough; `words` are what it is made of."""

    def one(data: bytes) -> None:
        target(data.decode("utf-8", "replace"))

    folder = Path(tempfile.mkdtemp(prefix="interlock-fuzz-"))
    corpus, dictionary = folder / "corpus", folder / "words"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed.encode())
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words))
    again = any(not argument.startswith("-") for argument in sys.argv[1:])
    options = [f"-max_len={LONGEST}", "-len_control=0", "-timeout=10", f"-dict={dictionary}"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], *([] if again else [str(corpus)])], one)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode("utf-8", "replace"))
