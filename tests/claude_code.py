"""The real Claude Code with a scripted model: an API on loopback that says what the test wrote down.

A script is a list of turns. A turn is a list of tool calls ``(id, tool, input)``; a function is called when
its turn comes (what happens elsewhere meanwhile), and returns the calls. After the last turn the model says
that it is finished. A turn counts as over when its tools have answered, also in a resumed session.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ToolCall = tuple[str, str, dict[str, Any]]
Turn = Sequence[ToolCall] | Callable[[], Sequence[ToolCall]]


def program() -> Path | None:
    """The Claude Code that the Agent SDK brings along; None where it is not installed."""
    found = find_spec("claude_agent_sdk")
    if found is None or not found.submodule_search_locations:
        return None
    file = Path(found.submodule_search_locations[0]) / "_bundled" / "claude"
    return file if file.is_file() else None


@dataclass
class Model:
    """The scripted model, and what it was told. `results` are the answers of tools by the id of their call,
    `read` everything that it was sent last."""

    script: Sequence[Turn]
    url: str = ""
    results: dict[str, str] = field(default_factory=dict)
    read: str = ""
    failed: Exception | None = None

    def says(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        if not body.get("tools"):
            return [{"type": "text", "text": "ok"}]
        self.read = json.dumps(body["messages"])
        turns = 0
        for message in body["messages"]:
            content = message["content"] if isinstance(message["content"], list) else []
            answers = [part for part in content if part.get("type") == "tool_result"]
            turns += bool(answers)
            for part in answers:
                self.results[part["tool_use_id"]] = _text(part.get("content"))
        if turns >= len(self.script):
            return [{"type": "text", "text": "finished"}]
        turn = self.script[turns]
        try:
            calls = turn() if callable(turn) else turn
        except Exception as error:  # noqa: BLE001 (raised again where the test waits)
            self.failed = error
            return [{"type": "text", "text": "the script failed"}]
        return [{"type": "tool_use", "id": id, "name": name, "input": given} for id, name, given in calls]


@contextmanager
def scripted(*script: Turn) -> Iterator[Model]:
    """The model, listening."""
    model = Model(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(404, b"{}", "application/json")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if "/v1/messages" not in self.path or "count_tokens" in self.path:
                self._send(200, b'{"input_tokens": 10}', "application/json")
                return
            content = model.says(body)
            message = {
                "id": f"msg_{uuid.uuid4().hex}",
                "type": "message",
                "role": "assistant",
                "model": body.get("model"),
                "content": content,
                "stop_reason": "tool_use" if content[0]["type"] == "tool_use" else "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": 10, "output_tokens": 5},
            }
            if body.get("stream"):
                self._send(200, _stream(message), "text/event-stream")
            else:
                self._send(200, json.dumps(message).encode(), "application/json")

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield model
        if model.failed is not None:
            raise model.failed
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _stream(message: dict[str, Any]) -> bytes:
    parts: list[tuple[str, dict[str, Any]]] = [
        ("message_start", {"message": {**message, "content": [], "stop_reason": None}})
    ]
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            begun, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            begun = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        parts += [
            ("content_block_start", {"index": index, "content_block": begun}),
            ("content_block_delta", {"index": index, "delta": delta}),
            ("content_block_stop", {"index": index}),
        ]
    stop = {"delta": {"stop_reason": message["stop_reason"], "stop_sequence": None}}
    parts += [("message_delta", {**stop, "usage": {"output_tokens": 5}}), ("message_stop", {})]
    return "".join(
        f"event: {name}\ndata: {json.dumps({'type': name, **content})}\n\n" for name, content in parts
    ).encode()


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content)
    return str(content)


@dataclass(frozen=True)
class ClaudeCode:
    """Runs of the real program in one working folder, under one configuration of its own."""

    file: Path
    work: Path
    settings: Path

    def environment(self, model: Model) -> dict[str, str]:
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith(("INTERLOCK_", "CLAUDE"))
        }
        return {
            **kept,
            "HOME": str(self.work.parent),
            "CLAUDE_CONFIG_DIR": str(self.work.parent / "claude"),
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "sk-test",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }

    def start(self, model: Model) -> subprocess.Popen[bytes]:
        """A run that the test ends, in a process group of its own."""
        return subprocess.Popen(
            [str(self.file), "-p", "go", "--settings", str(self.settings)],
            cwd=self.work,
            env=self.environment(model),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, model: Model, *more: str) -> dict[str, Any]:
        """A whole run of ``claude -p``; what it printed."""
        return self._run(model, "go", *more)

    def resume(self, model: Model, session: str) -> dict[str, Any]:
        """Go on where a run was deferred."""
        return self._run(model, "--resume", session)

    def _run(self, model: Model, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [str(self.file), "-p", *arguments, "--settings", str(self.settings), "--output-format", "json"],
            cwd=self.work,
            env=self.environment(model),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr.decode()
        return dict(json.loads(done.stdout))
