"""Real witnesses, in processes of their own, and a home that asks them."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cli_command import run
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from house import REFUND, House
from interlock.home import Home
from interlock.ledger import Cosigner, Signer
from interlock.model.errors import HomeUnusable
from interlock.verify import Report, verify_export
from server_process import ServerProcess
from waiting import wait_for
from witness_process import WitnessProcess, policy

POLICY_FILE = "ledger/witnesses"


@pytest.fixture
def two(house: House, tmp_path: Path) -> Iterator[tuple[WitnessProcess, WitnessProcess]]:
    """Two witnesses that know the house's log, and a policy in the house that needs both."""
    vkey = house.home.publisher.vkey
    with (
        WitnessProcess(tmp_path / "w1", "w.example/1", vkey) as one,
        WitnessProcess(tmp_path / "w2", "w.example/2", vkey) as other,
    ):
        (house.home.path / POLICY_FILE).write_bytes(policy(vkey, one, other))
        yield one, other


def act(house: House, number: int) -> None:
    house.propose(args={**REFUND, "order_id": f"A-{number}"})


def checked(home: Home, folder: Path) -> Report:
    home.publisher.export(folder, home.witnesses.gather(patient=True))
    return verify_export(folder, policy=(home.path / POLICY_FILE).read_bytes())


def told(report: Report) -> str:
    return " | ".join(problem.what for problem in report.problems)


def test_a_checkpoint_is_published_with_the_cosignatures_of_its_quorum(
    house: House, two: tuple[WitnessProcess, WitnessProcess], tmp_path: Path
) -> None:
    before = int(time.time())
    for number in range(5):
        act(house, number)
        report = checked(house.home, tmp_path / f"export{number}")
        assert report.ok, told(report)
        assert set(report.cosigned) == {each.name for each in two}
        assert all(before <= at <= time.time() for at in report.cosigned.values())
    standing = house.home.witnesses.standing()
    assert (standing.configured, standing.reached) == (True, True)
    assert standing.size == standing.quorum_size == report.size
    assert house.home.witnesses.checkpoint() == (tmp_path / "export4" / "checkpoint").read_text()


def test_nobody_is_asked_twice_about_one_checkpoint(
    house: House, two: tuple[WitnessProcess, WitnessProcess]
) -> None:
    first = house.home.witnesses.gather()
    time.sleep(1.1)  # a second cosignature would carry another time
    assert house.home.witnesses.gather() == first


def test_a_witness_that_is_down_is_missed_by_the_auditor_and_never_by_the_gate(
    house: House, two: tuple[WitnessProcess, WitnessProcess], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    act(house, 1)
    assert checked(house.home, tmp_path / "before").ok
    reached = house.home.witnesses.standing().size
    assert two[1].stop() == 0
    act(house, 2)
    report = checked(house.home, tmp_path / "down")
    assert not report.ok
    assert "no quorum of the policy: w.example/1" in told(report)
    assert verify_export(tmp_path / "down", vkey=house.home.publisher.vkey).ok
    standing = house.home.witnesses.standing()
    assert not standing.reached
    assert standing.quorum_size == reached
    assert "ConnectError" in standing.witnesses[1].error
    assert "without its quorum" in caplog.text
    act(house, 3)  # the gate goes on
    two[1].start()
    report = checked(house.home, tmp_path / "after")
    assert report.ok, told(report)


def test_a_home_that_forgot_what_was_cosigned_learns_it_from_the_witness(
    house: House, two: tuple[WitnessProcess, WitnessProcess], tmp_path: Path
) -> None:
    for number in range(3):
        act(house, number)
    assert checked(house.home, tmp_path / "before").ok
    state = house.home.path / "ledger" / "witnessed.json"
    for content in (None, b"garbage", b"{}"):
        act(house, 9)
        if content is None:
            state.unlink()
        else:
            state.write_bytes(content)
        house.propose(args={**REFUND, "order_id": f"B-{content!r}"})
        house.home.witnesses.gather(patient=True)
        assert house.home.witnesses.standing().reached, house.home.witnesses.standing()


def test_two_histories_shown_to_two_witnesses_have_no_quorum_between_them(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    honest = open_house(name="one")
    act(honest, 1)
    vkey = honest.home.publisher.vkey
    with (
        WitnessProcess(tmp_path / "w1", "w.example/1", vkey) as one,
        WitnessProcess(tmp_path / "w2", "w.example/2", vkey) as other,
    ):
        both = policy(vkey, one, other)
        (honest.home.path / POLICY_FILE).write_bytes(both)
        assert checked(honest.home, tmp_path / "common").ok
        honest.home.close()
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        reports = {}
        for name, seen in (("one", one), ("two", other)):
            # The same keys and the same log so far; from here on each tells its own witness another story.
            house = open_house(name=name)
            act(house, 100 if name == "one" else 200)
            (house.home.path / POLICY_FILE).write_bytes(policy(vkey, seen))
            assert checked(house.home, tmp_path / f"{name}-alone").ok
        for name in ("one", "two"):
            house = open_house(name=name)
            (house.home.path / POLICY_FILE).write_bytes(both)
            (house.home.path / "ledger" / "witnessed.json").unlink()
            reports[name] = checked(house.home, tmp_path / f"{name}-both")
            assert verify_export(tmp_path / f"{name}-both", vkey=vkey).ok  # each for itself is a good log
            errors = [each.error for each in house.home.witnesses.standing().witnesses]
            assert sum("cosigned another log" in error or "422" in error for error in errors) == 1
        for report in reports.values():
            assert not report.ok
            assert "no quorum" in told(report)
        assert "signed two roots" in one.stderr() + other.stderr()


def test_a_witness_refuses_a_rollback_after_it_was_killed(
    house: House, two: tuple[WitnessProcess, WitnessProcess], tmp_path: Path
) -> None:
    act(house, 1)
    older = house.home.publisher.publish()
    act(house, 2)
    house.home.witnesses.gather()
    size = house.home.witnesses.standing().size
    for witness in two:
        witness.kill()
        witness.start()
        answer = submit(witness, f"old 0\n\n{older}")
        assert (answer.status_code, answer.text) == (409, f"{size}\n")
        assert answer.headers["content-type"] == "text/x.tlog.size"
    act(house, 3)
    assert checked(house.home, tmp_path / "after").ok


def submit(witness: WitnessProcess, body: str | bytes) -> httpx.Response:
    content = body.encode() if isinstance(body, str) else body
    return httpx.post(f"{witness.url}/add-checkpoint", content=content, trust_env=False, timeout=30)


def test_a_witness_answers_as_the_specification_says(
    house: House, two: tuple[WitnessProcess, WitnessProcess]
) -> None:
    witness = two[0]
    note = house.home.publisher.publish()
    assert submit(witness, "").status_code == 400
    assert submit(witness, b"\xff\xfe" * 100).status_code == 400
    assert submit(witness, f"old 0\n\n{note}".replace("interlock.local", "example.com")).status_code == 404
    size = note.split("\n")[1]
    assert submit(witness, f"old 0\n\n{note}".replace(f"\n{size}\n", "\n99\n")).status_code == 403
    assert submit(witness, f"old 99\n\n{note}").status_code == 400
    assert submit(witness, f"old 1\n\n{note}").text == "0\n"
    good = submit(witness, f"old 0\n\n{note}")
    assert good.status_code == 200
    assert good.text.startswith(f"— {witness.name} ")
    assert good.text.count("\n") == 1
    assert submit(witness, b"x" * (1 << 20)).status_code == 413
    assert submit(witness, f"old 0\n\n{note}").status_code == 409
    for method, path, status in (
        ("GET", "/add-checkpoint", 405),
        ("POST", "/", 404),
        ("GET", "/../key.json", 404),
        ("POST", "/add-checkpoint/", 404),
    ):
        answer = httpx.request(method, f"{witness.url}{path}", trust_env=False)
        assert answer.status_code == status, path


def test_of_two_continuations_at_once_in_two_processes_one_is_cosigned(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house(name="one")
    vkey = house.home.publisher.vkey
    house.home.close()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    notes = []
    for name in ("one", "two"):
        house = open_house(name=name)
        act(house, 100 if name == "one" else 200)
        notes.append(house.home.publisher.publish())
    assert notes[0].split("\n")[1] == notes[1].split("\n")[1]
    with (
        WitnessProcess(tmp_path / "w", "w.example/1", vkey) as first,
        # The same folder: one witness in two processes.
        WitnessProcess(tmp_path / "w", "w.example/1", vkey) as second,
    ):
        answers: list[httpx.Response] = []
        together = threading.Barrier(2)

        def ask(witness: WitnessProcess, note: str) -> None:
            together.wait()
            answers.append(submit(witness, f"old 0\n\n{note}"))

        threads = [
            threading.Thread(target=ask, args=pair) for pair in ((first, notes[0]), (second, notes[1]))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [200, 409]


# --- beside a server ---------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """A witness that takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_publishes_what_its_witnesses_cosigned_and_waits_for_none(
    open_house: Callable[..., House], tmp_path: Path, silent: str
) -> None:
    house = open_house(name="served")
    vkey, path = house.home.publisher.vkey, house.home.path
    with WitnessProcess(tmp_path / "w", "w.example/1", vkey) as witness:
        other = WitnessProcess(tmp_path / "w2", "w.example/2", vkey)
        other.start()
        other.kill()
        other.url = silent
        (path / POLICY_FILE).write_bytes(policy(vkey, witness, other, needed="any"))
        with ServerProcess(path) as server:

            def get(address: str) -> httpx.Response:
                return httpx.get(f"{server.url}{address}", trust_env=False)

            # One of two is enough, and is not kept waiting for by the one that never answers.
            wait_for(lambda: f"— {witness.name} " in get("/ledger/checkpoint").text)
            server.ready()
            assert get("/readyz").json()["witnesses"] == "quorum"
            (path / POLICY_FILE).write_bytes(policy(vkey, witness, other, needed="all"))
            wait_for(lambda: get("/readyz").json().get("witnesses") == "missing")
            began = time.monotonic()
            act(house, 1)
            assert get("/readyz").is_success
            assert time.monotonic() - began < 2
            (path / POLICY_FILE).write_bytes(b"quorum of my own\n")
            wait_for(lambda: "no usable policy" in server.log.read_text())
            assert get("/readyz").json()["witnesses"] == "missing"
            act(house, 2)
            assert server.stop() == 0


# --- witnesses that lie ------------------------------------------------------------------------------------

FALSE = Cosigner("w.example/false", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHERS = [
    Cosigner(f"w.example/{number}", Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)))
    for number in (1, 2)
]
STRANGER = Cosigner("w.example/false", Ed25519PrivateKey.from_private_bytes(bytes(32)))


@contextlib.contextmanager
def answering(status: int, answer: Callable[[str], bytes], pause: float = 0.0) -> Iterator[str]:
    """A server that answers every checkpoint's text as the test says, a byte at a time where it pauses."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            content = answer(body.split("\n\n")[1] + "\n")
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                for byte in content if pause else ():
                    self.wfile.write(bytes([byte]))
                    time.sleep(pause)
                self.wfile.write(b"" if pause else content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def honestly(text: str) -> bytes:
    return FALSE.cosign(text, 1_700_000_000).encode()


@pytest.mark.parametrize(
    ("status", "answer", "pause", "told"),
    [
        (200, lambda text: b"", 0, "no valid cosignature"),
        (200, lambda text: b"\xff\xfe", 0, "cannot be asked"),
        (200, lambda text: b"x" * (1 << 20), 0, "more than"),
        (200, lambda text: STRANGER.cosign(text, 5).encode(), 0, "no valid cosignature"),
        (200, lambda text: honestly(text.replace("interlock", "another")), 0, "no valid cosignature"),
        (500, honestly, 0, "status 500"),
        (302, honestly, 0, "status 302"),
        (409, honestly, 0, "status 409"),
        (409, lambda text: b"9" * 19 + b"\n", 0, "which no log has"),
        (409, lambda text: f"{(1 << 44) + 1}\n".encode(), 0, "which no log has"),
        (409, lambda text: b"900\n", 0, "cosigned 900"),
        (409, lambda text: b"9" * 60_000 + b"\n", 0, "status 409"),
        (409, lambda text: b"-1\n", 0, "status 409"),
        (409, lambda text: b"0\n", 0, "another log of 0"),
        (409, lambda text: b"1\n", 0, "another log of 1"),
        (200, honestly, 0.2, "no answer within"),
    ],
)
def test_whatever_a_witness_answers_only_its_true_word_is_published(
    house: House, status: int, answer: Callable[[str], bytes], pause: float, told: str
) -> None:
    act(house, 1)
    with answering(status, answer, pause) as url:
        trust = f"witness liar {FALSE.vkey} {url}\nquorum liar\n"
        (house.home.path / POLICY_FILE).write_text(trust)
        began = time.monotonic()
        assert house.home.witnesses.gather(patient=True) == house.home.publisher.publish()
        assert time.monotonic() - began < 8
    standing = house.home.witnesses.standing()
    assert not standing.reached
    assert told in standing.witnesses[0].error


@pytest.mark.parametrize(
    ("quorum", "stops"),
    [("none", False), ("others", False), ("liar", True), ("any", False), ("both", True), ("two", True)],
)
def test_a_witness_that_contradicts_stops_the_home_only_where_the_policy_gives_it_that_weight(
    house: House, quorum: str, stops: bool
) -> None:
    act(house, 1)
    with answering(409, lambda text: b"900\n") as url, answering(500, honestly) as silent:
        groups = {
            "any": "group any any liar w1\n",
            "both": "group both all liar w1\n",
            "two": "group two 2 liar w1\n",
            "others": "group others any w1 w2\n",
        }
        (house.home.path / POLICY_FILE).write_text(
            f"witness liar {FALSE.vkey} {url}\n"
            f"witness w1 {OTHERS[0].vkey} {silent}\n"
            f"witness w2 {OTHERS[1].vkey} {silent}\n"
            f"{groups.get(quorum, '')}quorum {quorum}\n"
        )
        for _ in range(2):
            house.home.witnesses.gather(patient=True)
    standing = house.home.witnesses.standing()
    assert standing.contradicted
    assert [each.contradicts for each in standing.witnesses] == [True, False, False]
    assert (house.home.recovery.required is not None) == stops
    if not stops:
        act(house, 2)


def test_two_witnesses_that_contradict_weigh_together(house: House) -> None:
    act(house, 1)
    with answering(409, lambda text: b"900\n") as url, answering(409, lambda text: b"901\n") as another:
        text = f"witness liar {FALSE.vkey} {url}\nwitness w1 {OTHERS[0].vkey} {another}\n"
        (house.home.path / POLICY_FILE).write_text(f"{text}group one any liar w1\nquorum one\n")
        house.home.witnesses.gather(patient=True)
    assert house.home.recovery.required is not None
    assert house.home.recovery.situation().gap.seen == 901


def test_a_witness_that_contradicted_and_then_cosigns_is_believed(house: House) -> None:
    act(house, 1)
    with answering(409, lambda text: b"900\n") as url:
        (house.home.path / POLICY_FILE).write_text(f"witness w {FALSE.vkey} {url}\nquorum none\n")
        house.home.witnesses.gather(patient=True)
    assert house.home.witnesses.standing().contradicted
    with answering(500, honestly) as url:  # what it said stands while it does not take it back
        (house.home.path / POLICY_FILE).write_text(f"witness w {FALSE.vkey} {url}\nquorum none\n")
        house.home.witnesses.gather(patient=True)
    assert house.home.witnesses.standing().contradicted
    with answering(200, honestly) as url:
        (house.home.path / POLICY_FILE).write_text(f"witness w {FALSE.vkey} {url}\nquorum none\n")
        house.home.witnesses.gather(patient=True)
    assert not house.home.witnesses.standing().contradicted


def test_more_than_its_word_is_not_published_either(house: House) -> None:
    with answering(200, lambda text: honestly(text) + STRANGER.cosign(text, 9).encode() + b"rest\n") as url:
        (house.home.path / POLICY_FILE).write_text(f"witness w {FALSE.vkey} {url}\nquorum w\n")
        published = house.home.witnesses.gather()
    signed = house.home.publisher.publish()
    assert published.removeprefix(signed) == honestly(signed.split("\n\n")[0] + "\n").decode()


def test_a_policy_of_another_log_is_refused_and_nobody_is_asked(house: House, silent: str) -> None:
    other = Signer("example.com/other", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    text = f"log {other.vkey}\nwitness w {FALSE.vkey} {silent}\nquorum w\n"
    (house.home.path / POLICY_FILE).write_text(text)
    with pytest.raises(HomeUnusable, match="not this one"):
        house.home.witnesses.gather()
    act(house, 1)


# --- the command line --------------------------------------------------------------------------------------


def test_an_auditor_is_given_proofs_on_the_command_line(
    house: House, two: tuple[WitnessProcess, WitnessProcess], tmp_path: Path
) -> None:
    home = str(house.home.path)
    for number in range(4):
        act(house, number)
    vkey = house.home.publisher.vkey
    trust = tmp_path / "trust"
    trust.write_bytes((house.home.path / POLICY_FILE).read_bytes())
    held = tmp_path / "held"
    held.write_text(house.home.publisher.publish())
    act(house, 5)
    assert run(tmp_path, "ledger", "export", "e", "--home", home).code == 0
    assert run(tmp_path, "ledger", "verify", "e", "--policy", "trust").code == 0
    status = run(tmp_path, "ledger", "status", "--home", home, "--json").json
    assert (status["quorum"], status["signed"]) == ("reached", status["published"])
    assert [each["name"] for each in status["witnesses"]] == [each.name for each in two]

    size = status["signed"]
    for index in range(size):
        assert run(tmp_path, "ledger", "prove", str(index), "-o", "p", "--home", home).code == 0
        found = run(tmp_path, "ledger", "verify-proof", "p", "--policy", "trust", "--json")
        assert found.code == 0, found.out
        assert found.json["index"] == index
    assert run(tmp_path, "ledger", "prove", str(size), "--home", home).code == 5
    printed = run(tmp_path, "ledger", "prove", "0", "--home", home)
    assert printed.out.startswith("c2sp.org/tlog-proof@v1\nextra ")

    old = held.read_text().split("\n")[1]
    grown = run(tmp_path, "ledger", "prove", "--consistency", old, str(size), "-o", "g", "--home", home)
    assert grown.code == 0, grown.err
    check = ("ledger", "verify-proof", "g", "--since", "held")
    assert run(tmp_path, *check, "--policy", "trust").code == 0
    assert run(tmp_path, *check, "--vkey", vkey).code == 0
    assert run(tmp_path, *check).code == 6
    # An earlier size is signed anew, after a check that it is the beginning of what was signed.
    earlier = ("ledger", "prove", "--consistency", "1", old, "-o", "b", "--home", home)
    assert run(tmp_path, *earlier).code == 0
    assert (tmp_path / "b").read_text().split("\n\n")[1] == held.read_text().split("\n\n")[0]
    flipped = bytearray((tmp_path / "p").read_bytes())
    flipped[-20] ^= 1
    (tmp_path / "p").write_bytes(flipped)
    assert run(tmp_path, "ledger", "verify-proof", "p", "--policy", "trust").code == 3


def test_proofs_are_refused_where_they_make_no_sense(house: House, tmp_path: Path) -> None:
    home = str(house.home.path)
    for arguments in ((), ("1", "--consistency", "1", "2")):
        assert run(tmp_path, "ledger", "prove", *arguments, "--home", home).code == 2
    for old, size in ((3, 2), (0, 10_000), (-1, 2)):
        asked = run(tmp_path, "ledger", "prove", "--home", home, "--consistency", str(old), str(size))
        assert asked.code == 2, asked.out
    assert run(tmp_path, "ledger", "verify-proof", "nowhere").code == 2
    assert run(tmp_path, "ledger", "status", "--home", home, "--json").json["quorum"] == "none"


def test_a_database_that_was_rewritten_gives_no_proof(house: House, tmp_path: Path) -> None:
    act(house, 1)
    house.home.publisher.publish()
    house.sql("UPDATE entries SET body = CAST(replace(body, 'default', 'another') AS BLOB)")
    asked = run(tmp_path, "ledger", "prove", "1", "--home", str(house.home.path))
    assert asked.code in (3, 7), asked.out
    assert asked.out == ""


def test_the_witness_prints_its_key_for_policies(tmp_path: Path) -> None:
    assert run(tmp_path, "ledger", "witness", "keys", "--home", "w").code == 7
    with WitnessProcess(tmp_path / "w", "w.example/1") as witness:
        assert run(tmp_path, "ledger", "witness", "keys", "--home", "w").out == f"{witness.vkey}\n"
        assert run(tmp_path, "ledger", "witness", "--home", "w", "keys", "--json").json["logs"] == []
        assert run(tmp_path, "ledger", "witness", "--home", "w", "--port", str(witness.port)).code == 7
        assert witness.stop() == 0
    assert run(tmp_path, "ledger", "witness", "--home", "w", "--name", "other.example/1").code == 7
    assert run(tmp_path, "ledger", "witness", "--home", "w", "--log", "nonsense").code == 2


def test_a_home_that_was_put_back_with_all_its_machine_is_told_by_its_witness(
    open_house: Callable[..., House], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = open_house(name="now")
    with WitnessProcess(tmp_path / "w", "w.example/1", house.home.publisher.vkey) as witness:
        (house.home.path / POLICY_FILE).write_bytes(policy(house.home.publisher.vkey, witness))
        house.home.witnesses.gather()
        house.home.close()
        shutil.copytree(tmp_path / "now", tmp_path / "backup")
        house = open_house(name="now")
        act(house, 1)
        house.home.witnesses.gather()
        restored = open_house(name="backup")  # nothing on this machine can tell
        act(restored, 2)
        restored.home.witnesses.gather(patient=True)
        assert not restored.home.witnesses.standing().reached
        assert "the witness 'w.example/1' says" in caplog.text
