"""A policy's files: which they are, and their texts.

1. A policy is one file, or the YAML and JSON files of one directory. Files named ``*.test.yaml`` are its
   tests and no part of it. A file that was probably meant to be (``deny.YAML``, ``deny.test.json``, one in a
   subdirectory) is an error: a rule that silently is not there is the worst kind of rule.
2. All files of a policy together have at most `MAX_POLICY_BYTES`, and are UTF-8.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from interlock.model.errors import InvalidInput, PolicyError
from interlock.policy import Policy, parse

MAX_POLICY_BYTES = 4 << 20
"""Of all files of a policy together."""
_POLICY_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_YAML = frozenset({".yaml", ".yml"})
_TEST_SUFFIXES = (".test.yaml", ".test.yml")


def read_policy(path: Path) -> Policy:
    """Load a policy from a file, or from the YAML and JSON files of a directory that are no tests of it.

    Raises:
        PolicyError: it does not load; nothing changes.
    """
    return parse(read_sources(path))


def read_sources(path: Path) -> dict[str, str]:
    """The texts of a policy's files by their names.

    Raises:
        PolicyError: they cannot be read.
    """
    return _texts(_policy_files(path))


def read_tests(path: Path) -> dict[str, str]:
    """The texts of a policy's tests by their names; empty where it has none.

    Args:
        path: the policy's file, whose tests stand beside it under its own name, or its directory; or a test
            file itself.

    Raises:
        InvalidInput: they cannot be read.
    """
    try:
        return _texts(_test_files(path))
    except PolicyError as error:
        raise InvalidInput(error.detail, path="tests", fix=error.fix) from None


def _policy_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = [file for file in _files(path) if file.suffix in _POLICY_SUFFIXES and not _is_test(file)]
    if not found:
        raise PolicyError(f"{path} holds no .yaml, .yml or .json file.", fix="Name a policy file.")
    _check_nothing_is_left_out(path)
    return found


def _test_files(path: Path) -> list[Path]:
    if path.is_dir():
        return [file for file in _files(path) if file.name.endswith(_TEST_SUFFIXES)]
    if path.name.endswith(_TEST_SUFFIXES):
        return [path]
    beside = (path.with_name(path.stem + suffix) for suffix in _TEST_SUFFIXES)
    return [file for file in beside if file.exists()]


def _check_nothing_is_left_out(folder: Path) -> None:
    """Raises `PolicyError` where a file looks like one of the policy's and would not be read."""
    for file in _listed(folder):
        suffix = file.suffix.lower()
        odd = suffix in (*_POLICY_SUFFIXES, ".json5", ".jsonc") and file.suffix not in _POLICY_SUFFIXES
        if file.is_dir():
            if suffix in _POLICY_SUFFIXES or any(inner.suffix.lower() in _YAML for inner in _listed(file)):
                raise PolicyError(
                    f"{file} is a directory with policy files in it, which are not read.",
                    fix="Move them up, or out of the policy's directory.",
                )
        elif odd or (_is_test(file) and not file.name.endswith(_TEST_SUFFIXES)):
            raise PolicyError(
                f"{file} is neither a policy file (.yaml, .yml, .json) nor a test (.test.yaml): "
                "it would not be read.",
                fix="Rename it, or move it out of the policy's directory.",
            )


def _is_test(file: Path) -> bool:
    return file.stem.endswith(".test")


def _files(folder: Path) -> list[Path]:
    return [file for file in _listed(folder) if not file.is_dir()]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise PolicyError(f"{folder} cannot be read: {error.strerror}.") from None


def _texts(files: Iterable[Path]) -> dict[str, str]:
    sources: dict[str, str] = {}
    left = MAX_POLICY_BYTES
    for file in files:
        data = _read(file, left)
        left -= len(data)
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise PolicyError(f"{file} is UTF-16.", fix="Save it as UTF-8.")
        try:
            sources[str(file)] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise PolicyError(
                f"{file} is not UTF-8 at byte {error.start}.", fix="Save it as UTF-8."
            ) from None
    return sources


def _at_once(name: str, flags: int) -> int:
    """Open without waiting for whoever might write into a pipe."""
    return os.open(name, flags | os.O_NONBLOCK)


def _read(file: Path, limit: int) -> bytes:
    try:
        with open(file, "rb", opener=_at_once) as handle:
            if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                raise PolicyError(f"{file} is no ordinary file.", fix="Name a file that can be read twice.")
            data = handle.read(limit + 1)
    except FileNotFoundError:
        raise PolicyError(f"There is no policy file {file}.", fix="Name an existing file.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PolicyError(f"{file} cannot be read: {reason}.") from None
    if len(data) > limit:
        raise PolicyError(
            f"The policy has more than {MAX_POLICY_BYTES} bytes; {file} is where that is exceeded.",
            fix="Split it into policies of their own.",
        )
    return data
