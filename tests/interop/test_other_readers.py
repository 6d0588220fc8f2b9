"""Strangers' code reads our ledger: Go's checksum-database packages, and pymerkle.

A log of 70,000 entries has every kind of file: 274 level-0 tiles, two tiles of level 1, one of level 2, the
last of each partial. It is exported by the command. Go's reader (`ledger.go` beside this file) must agree
with it, and must not once a bit of any of these files is another one.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pymerkle import InclusionProof, InmemoryTree, verify_consistency, verify_inclusion

from house import POLICY, House
from interlock.home import Home
from interlock.journal import Tx
from interlock.ledger import (
    Frontier,
    Kind,
    inclusion_path,
    leaf_hash,
    subtrees,
)
from interlock.policy import parse

ENTRIES = 70_000
EARLIER = 4_321
PROVED = (0, 255, 65_536, 69_999)
PACKAGES = Path("/usr/share/gocode")
WANTED = "Go and its tlog packages are needed: apt-get install golang-go golang-golang-x-mod-dev"


class Log(NamedTuple):
    """A home's log, exported, with proofs from the command and the checkpoint of an earlier size."""

    folder: Path
    vkey: str
    bodies: list[bytes]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """The lives of real actions, repeated until there are enough: these readers tell them apart by place."""
    folder = tmp_path_factory.mktemp("log")
    home = Home.open(folder / "home", policy=parse({"policy.yaml": POLICY}), by="test")
    house = House(home)
    for number in range(20):
        house.propose(
            args={"order_id": f"A-{number}", "amount_usd": "5.00", "recipient": "acme"}, inline=True
        )
        house.held(args={"order_id": f"B-{number}", "amount_usd": "500.00", "recipient": "acme"})
    lives = itertools.cycle([json.loads(body) for body in home.journal.entries()])

    def append(count: int) -> Callable[[Tx], None]:
        def transition(tx: Tx) -> None:
            for fields in itertools.islice(lives, count):
                own = {key: fields[key] for key in fields.keys() - {"v", "kernel", "kind", "at", "namespace"}}
                tx.append(Kind(fields["kind"]), **own)

        return transition

    size = home.journal.head()[0]
    home.journal.commit(append(EARLIER - size))
    (folder / "held").write_text(home.publisher.publish(), encoding="utf-8")
    while (size := home.journal.head()[0]) < ENTRIES:
        home.journal.commit(append(min(5_000, ENTRIES - size)))
    bodies = list(home.journal.entries())
    vkey = home.publisher.vkey
    home.close()
    command(folder, "export", "export")
    for index in PROVED:
        command(folder, "prove", str(index), "-o", f"{index}.tlog-proof")
    command(folder, "prove", "--consistency", str(EARLIER), str(ENTRIES), "-o", "growth")
    return Log(folder, vkey, bodies)


def command(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "interlock.cli", "ledger", *arguments, "--home", "home"],
        cwd=folder,
        check=True,
        capture_output=True,
        env={name: text for name, text in os.environ.items() if not name.startswith("INTERLOCK_")},
    )


Reader = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """The Go program, built from Debian's packages without a network; called with its arguments."""
    if shutil.which("go") is None or not (PACKAGES / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip(WANTED)
    built = tmp_path_factory.mktemp("go")
    settings = {"GO111MODULE": "off", "GOPATH": str(PACKAGES), "GOCACHE": str(built / "cache"), "GOFLAGS": ""}
    source = Path(__file__).with_name("ledger.go")
    done = subprocess.run(
        ["go", "build", "-o", str(built / "ledger"), str(source)],
        cwd=built,
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
        check=False,
    )
    assert done.returncode == 0, done.stderr

    def read(log: Log, *arguments: object, vkey: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [built / "ledger", "-vkey", vkey or log.vkey, *map(str, arguments)],
            cwd=log.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    return read


def test_go_reads_every_entry_tile_and_proof_of_an_export(log: Log, go: Reader) -> None:
    done = go(log, "export", "export")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["size"] == ENTRIES == len(log.bodies)
    assert said["root"] == (log.folder / "export/checkpoint").read_text().split("\n")[2]
    assert said["files"] == len([path for path in (log.folder / "export/tile").rglob("*") if path.is_file()])
    assert said["files"] == 274 + 274 + 2 + 1
    assert said["inclusion"] > 700
    assert said["consistency"] == 11


BEGIN, END = 40, -2
FILES = {
    "the root of the checkpoint": ("checkpoint", None),
    "the signature": ("checkpoint", END),
    "an entry": ("tile/entries/000", BEGIN),
    "the length of an entry": ("tile/entries/100", 1),
    "an entry of the partial bundle": ("tile/entries/273.p/112", END),
    "a level-0 tile": ("tile/0/017", BEGIN),
    "the partial level-0 tile": ("tile/0/273.p/112", END),
    "a level-1 tile": ("tile/1/000", BEGIN),
    "the partial level-1 tile": ("tile/1/001.p/17", END),
    "the level-2 tile": ("tile/2/000.p/1", BEGIN - 20),
}


@pytest.fixture
def flipped(log: Log, request: pytest.FixtureRequest) -> Iterator[str]:
    """One bit of a file is another one while the test runs."""
    name, place = FILES[request.param]
    file = log.folder / "export" / name
    whole = file.read_bytes()
    if place is None:
        place = whole.index(b"\n", whole.index(b"\n") + 1) + 5
    changed = bytearray(whole)
    changed[place] ^= 1
    file.write_bytes(changed)
    yield request.param
    file.write_bytes(whole)


@pytest.mark.parametrize("flipped", FILES, indirect=True)
def test_go_refuses_an_export_with_one_flipped_bit_in(flipped: str, log: Log, go: Reader) -> None:
    done = go(log, "export", "export")
    assert (done.returncode, done.stdout) == (1, ""), flipped
    assert done.stderr.strip()


def test_go_refuses_what_is_missing_or_too_much(log: Log, go: Reader) -> None:
    export = log.folder / "export"
    stray = export / "tile/0/274.p/1"
    stray.parent.mkdir()
    stray.write_bytes(bytes(32))
    done = go(log, "export", "export")
    assert (done.returncode, "no file of this log" in done.stderr) == (1, True)
    stray.unlink()
    stray.parent.rmdir()
    bundle = export / "tile/entries/200"
    kept = bundle.rename(export / "kept")
    assert go(log, "export", "export").returncode == 1
    kept.rename(bundle)
    assert go(log, "export", "export").returncode == 0


def test_go_refuses_another_key_under_the_same_name(log: Log, go: Reader) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from interlock.ledger import Signer

    other = Signer(log.vkey.split("+", 1)[0], Ed25519PrivateKey.generate())
    done = go(log, "export", "export", vkey=other.vkey)
    assert (done.returncode, "no verifiable signatures" in done.stderr) == (1, True)


@pytest.mark.parametrize("index", PROVED)
def test_go_checks_the_proof_of_an_entry(index: int, log: Log, go: Reader) -> None:
    file = log.folder / f"{index}.tlog-proof"
    done = go(log, "proof", file)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {"index": index, "size": ENTRIES, "entry": log.bodies[index].decode()}
    for old, new in ((f"index {index}", f"index {index ^ 1}"), ('"default"', '"defauls"')):
        changed = _with_entry(file.read_text(), old, new)
        forged = log.folder / "forged"
        forged.write_text(changed)
        assert go(log, "proof", forged).returncode == 1


def _with_entry(proof: str, old: str, new: str) -> str:
    """The proof with one text replaced, inside the entry that it carries too."""
    from base64 import b64decode, b64encode

    lines = proof.split("\n")
    entry = b64decode(lines[1].removeprefix("extra ")).decode().replace(old, new)
    lines[1] = f"extra {b64encode(entry.encode()).decode()}"
    return "\n".join(lines).replace(old, new)


def test_go_checks_that_the_log_grew_since_a_checkpoint(log: Log, go: Reader) -> None:
    done = go(log, "growth", "growth", "held")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"old": EARLIER, "size": ENTRIES}
    lines = (log.folder / "growth").read_text().split("\n")
    lines[1], lines[2] = lines[2], lines[1]
    (log.folder / "swapped").write_text("\n".join(lines))
    assert go(log, "growth", "swapped", "held").returncode == 1


# --- pymerkle ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(log: Log) -> InmemoryTree:
    return InmemoryTree.init_from_entries(log.bodies[:3_000], algorithm="sha256")


def test_pymerkle_has_the_same_root_for_the_same_entries(log: Log, theirs: InmemoryTree) -> None:
    ours, leaves = Frontier.EMPTY, [leaf_hash(body) for body in log.bodies[:3_000]]
    assert theirs.get_root(0) == ours.root()
    for size in (1, 2, 3, 7, 255, 256, 257, 511, 1_024, 2_999, 3_000):
        ours = ours.appended(leaves[ours.size : size])
        assert theirs.get_root(size) == ours.root()


@pytest.mark.parametrize(
    ("index", "size"), [(0, 1), (0, 3_000), (255, 256), (256, 257), (1_499, 2_999), (2_999, 3_000)]
)
def test_pymerkle_proves_an_entry_as_we_do(index: int, size: int, log: Log, theirs: InmemoryTree) -> None:
    proof = theirs.prove_inclusion(index + 1, size)
    leaves = [leaf_hash(body) for body in log.bodies[:size]]
    assert proof.path == [leaves[index], *subtrees(inclusion_path(index, size), leaves)]
    root = Frontier.EMPTY.appended(leaves).root()
    verify_inclusion(leaves[index], root, proof)
    ours = InclusionProof("sha256", True, size, index + 1, proof.rule, proof.path)
    ours.verify(leaves[index], root, index=index + 1, size=size)


@pytest.mark.parametrize(("old", "size"), [(1, 2), (255, 256), (256, 3_000), (1_234, 2_999)])
def test_pymerkle_proves_growth_between_our_roots(
    old: int, size: int, log: Log, theirs: InmemoryTree
) -> None:
    leaves = [leaf_hash(body) for body in log.bodies[:size]]
    before, after = (Frontier.EMPTY.appended(leaves[:count]).root() for count in (old, size))
    # Its proofs split the newer leaves further than RFC 9162 does: so the roots are compared, not the lists.
    verify_consistency(before, after, theirs.prove_consistency(old, size))
