"""Claims about subjects' keys, and about what wraps them."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from interlock.home.erased import ErasedKeys
from interlock.home.wrapping import CommandWrap, subjects
from interlock.journal import KeyFile, KeyNeeded, KeysUnavailable, Subjects, Vault
from interlock.journal.subjects import KEPT, MAX_WRAPPED, SubjectKey, serial_of
from interlock.model.errors import HomeUnusable, Tampered

VAULT = Vault(bytes(32), bytes(32))
ANA, BEN = VAULT.subject("default", "ana"), VAULT.subject("default", "ben")


class Service:
    """A key service that counts its calls, and may be down, or answer nonsense."""

    tag = 9
    name = "the service"
    remote = True

    def __init__(self) -> None:
        self.inner = KeyFile(b"k" * 32)
        self.calls: list[str] = []
        self.down = False
        self.grown = b""

    def wrap(self, key: bytes, aad: bytes) -> bytes:
        self._answer("wrap")
        return self.inner.wrap(key, aad) + self.grown

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        self._answer("unwrap")
        return self.inner.unwrap(wrapped, aad)

    def _answer(self, operation: str) -> None:
        self.calls.append(operation)
        if self.down:
            raise KeysUnavailable("The service is down.")


def opens(key: SubjectKey, sealed: bytes) -> bytes:
    return key.open("row", sealed)


def test_a_key_unwraps_in_another_process_and_seals_what_it_opens() -> None:
    made = Subjects.of(VAULT).make("default", ANA, wait=False)
    again = Subjects.of(VAULT).unwrap("default", ANA, made.wrapped, wait=False)
    assert opens(again, made.key.seal("row", b"content")) == b"content"
    assert again.serial == serial_of(made.wrapped)


@pytest.mark.parametrize(("namespace", "subject"), [("default", BEN), ("other", ANA)])
def test_a_wrapped_key_in_another_subjects_row_does_not_unwrap(namespace: str, subject: str) -> None:
    made = Subjects.of(VAULT).make("default", ANA, wait=False)
    with pytest.raises(Tampered):
        Subjects.of(VAULT).unwrap(namespace, subject, made.wrapped, wait=False)


def test_no_bit_of_a_wrapped_key_can_be_changed_its_serial_and_kind_included() -> None:
    made = Subjects.of(VAULT).make("default", ANA, wait=False)
    for position in range(len(made.wrapped)):
        changed = bytearray(made.wrapped)
        changed[position] ^= 1
        with pytest.raises(HomeUnusable):
            Subjects.of(VAULT).unwrap("default", ANA, bytes(changed), wait=False)
    for length in range(len(made.wrapped)):
        with pytest.raises(HomeUnusable):
            Subjects.of(VAULT).unwrap("default", ANA, made.wrapped[:length], wait=False)


def test_another_keystore_unwraps_nothing() -> None:
    made = Subjects.of(VAULT).make("default", ANA, wait=False)
    with pytest.raises(Tampered):
        Subjects.of(Vault(b"o" * 32, bytes(32))).unwrap("default", ANA, made.wrapped, wait=False)


def test_a_key_is_made_once_and_never_handed_out_again() -> None:
    service = Service()
    keys = Subjects(service)
    keys.provide("default", KeyNeeded(ANA, None))
    first = keys.make("default", ANA, wait=False)
    with pytest.raises(KeyNeeded):
        keys.make("default", ANA, wait=False)
    keys.provide("default", KeyNeeded(ANA, None))
    assert keys.make("default", ANA, wait=False).key.serial != first.key.serial


def test_a_service_is_not_asked_while_others_wait_and_asked_once_for_each_key() -> None:
    service = Service()
    made = Subjects(service).make("default", ANA, wait=True)
    keys = Subjects(service)
    with pytest.raises(KeyNeeded) as needed:
        keys.unwrap("default", ANA, made.wrapped, wait=False)
    assert service.calls == ["wrap"]
    keys.provide("default", needed.value)
    for _ in range(3):
        keys.unwrap("default", ANA, made.wrapped, wait=False)
    assert service.calls == ["wrap", "unwrap"]


def test_a_key_that_was_replaced_or_let_go_is_not_kept() -> None:
    keys = Subjects.of(VAULT)
    old = keys.make("default", ANA, wait=False)
    new = keys.make("default", ANA, wait=False)
    assert keys.known(ANA, new.wrapped) is new.key
    assert keys.known(ANA, old.wrapped) is None
    keys.unwrap("default", ANA, new.wrapped, wait=False)
    keys.drop(ANA)
    assert keys.known(ANA, new.wrapped) is None


def test_so_many_keys_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.journal.subjects.KEPT", 3)
    keys = Subjects.of(VAULT)
    made = [keys.make("default", name, wait=False) for name in "abcde"]
    kept = [keys.known(name, one.wrapped) is not None for name, one in zip("abcde", made, strict=True)]
    assert kept == [False, False, True, True, True]
    assert KEPT >= 1_000


def test_what_a_service_wraps_too_large_is_refused() -> None:
    service = Service()
    service.grown = bytes(MAX_WRAPPED)
    with pytest.raises(KeysUnavailable):
        Subjects(service).make("default", ANA, wait=True)


def test_keys_of_the_keystore_open_beside_a_service_and_the_other_way_round_nothing_does() -> None:
    file, service = KeyFile(VAULT.wrapping_key()), Service()
    by_file = Subjects(file).make("default", ANA, wait=True)
    by_service = Subjects(service, file).make("default", BEN, wait=True)
    assert Subjects(service, file).unwrap("default", ANA, by_file.wrapped, wait=False)
    with pytest.raises(HomeUnusable, match="INTERLOCK_KEY_WRAP"):
        Subjects(file).unwrap("default", BEN, by_service.wrapped, wait=True)


# --- a command that wraps ----------------------------------------------------------------------------------

WRAPPING = """\
import base64, json, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
asked = json.load(sys.stdin)
assert asked["v"] == 1
aead, nonce, aad = AESGCMSIV(b"c" * 32), bytes(12), base64.b64decode(asked["aad"])
if asked["operation"] == "wrap":
    answer = {"wrapped": aead.encrypt(nonce, base64.b64decode(asked["key"]), aad)}
else:
    try:
        answer = {"key": aead.decrypt(nonce, base64.b64decode(asked["wrapped"]), aad)}
    except Exception:
        sys.exit(3)
json.dump({name: base64.b64encode(value).decode() for name, value in answer.items()}, sys.stdout)
"""


def command(folder: Path, source: str = WRAPPING, name: str = "wrap") -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{source}", encoding="utf-8")
    path.chmod(0o700)
    return path


def test_a_command_wraps_what_it_unwraps_and_binds_it(tmp_path: Path) -> None:
    wrap = CommandWrap(command(tmp_path))
    wrapped = wrap.wrap(b"k" * 32, b"this row")
    assert b"k" * 32 not in wrapped
    assert wrap.unwrap(wrapped, b"this row") == b"k" * 32
    with pytest.raises(Tampered):
        wrap.unwrap(wrapped, b"another row")


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.exit(1)",
        "print('no')",
        "print('{}')",
        "print('[1]')",
        "print('{\"wrapped\": 5}')",
        'print(\'{"wrapped": "not base64"}\')',
        'print(\'{"wrapped": "\' + "A" * 8192 + \'"}\')',
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_a_command_that_gives_no_answer_seals_nothing(tmp_path: Path, source: str) -> None:
    keys = Subjects(CommandWrap(command(tmp_path, source)))
    with pytest.raises(KeysUnavailable) as refused:
        keys.make("default", ANA, wait=True)
    assert (refused.value.status, refused.value.exit_code) == (503, 7)


def test_a_command_that_hangs_is_ended_with_what_it_started_and_not_asked_again_at_once(
    tmp_path: Path,
) -> None:
    pid = tmp_path / "pid"
    source = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    wrap = CommandWrap(command(tmp_path, source), timeout_sec=1.0)
    with pytest.raises(KeysUnavailable, match="in time"):
        wrap.wrap(bytes(32), b"")
    child = int(pid.read_text())
    pid.unlink()
    for _ in range(200):
        try:
            os.kill(child, 0)
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            break
        if state == "Z":
            break
        time.sleep(0.01)
    else:
        pytest.fail("what the command started still runs")
    with pytest.raises(KeysUnavailable, match="a moment ago"):
        wrap.wrap(bytes(32), b"")
    assert not pid.exists()


def test_what_a_command_complains_of_is_logged_and_told_to_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrap = CommandWrap(command(tmp_path, "import sys; sys.exit('token s3cret expired')"))
    with pytest.raises(KeysUnavailable) as refused:
        wrap.wrap(bytes(32), b"")
    assert "s3cret" not in json.dumps(refused.value.problem())
    assert "s3cret" in caplog.text


@pytest.mark.parametrize(
    "named", ["kms", "command:", "command:relative/path", "command:/does/not/exist", "file:x"]
)
def test_a_wrapping_that_makes_no_sense_is_refused(named: str) -> None:
    with pytest.raises(HomeUnusable):
        subjects(VAULT, lambda _subject, _serial: False, {"INTERLOCK_KEY_WRAP": named})


def test_a_command_that_others_can_change_is_not_run(tmp_path: Path) -> None:
    path = command(tmp_path)
    path.chmod(0o722)
    with pytest.raises(HomeUnusable, match="changed by others"):
        CommandWrap(path)
    path.chmod(0o600)
    with pytest.raises(HomeUnusable, match="no command"):
        CommandWrap(path)


# --- the list outside the database -------------------------------------------------------------------------


def test_what_one_process_notes_another_one_knows(tmp_path: Path) -> None:
    one, two = ErasedKeys(tmp_path / "erased"), ErasedKeys(tmp_path / "erased")
    assert not two(ANA, b"12345678")
    one.add([(ANA, b"12345678")])
    assert two(ANA, b"12345678")
    assert not two(ANA, b"87654321")
    assert not two(BEN, b"12345678")
    two.add([(BEN, b"12345678")])
    assert one.all() == two.all() == {(ANA, b"12345678".hex()), (BEN, b"12345678".hex())}
    assert (tmp_path / "erased").stat().st_mode & 0o077 == 0


def test_a_list_that_does_not_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "erased").write_text("something else\n")
    with pytest.raises(HomeUnusable):
        ErasedKeys(tmp_path / "erased")(ANA, b"12345678")
