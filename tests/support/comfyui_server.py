"""A real ComfyUI server on the CPU and a client for it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
import websocket
from comfyui_hosts import ROOT, Host, link_pack
from PIL import Image

START_SECONDS = 300
MODEL_FOLDERS = (
    *("checkpoints", "animatediff_models", "animatediff_motion_lora", "embeddings", "loras", "controlnet"),
    *("upscale_models", "vae", "sams"),
)

Graph = dict[str, dict[str, Any]]  # ComfyUI's API format: node id -> {"class_type": …, "inputs": {…}}


class ServerError(RuntimeError):
    """The server did not start, died, or did not answer; carries the end of its log."""


@dataclass(frozen=True)
class NodeError:
    """What a node raised while it ran."""

    node_id: str
    node_type: str
    exception_type: str
    exception_message: str
    traceback: str

    def __str__(self) -> str:
        what = f"{self.exception_type}: {self.exception_message}"
        return f"{self.node_type} ({self.node_id}): {what}\n{self.traceback}"


@dataclass
class Result:
    """What became of a prompt."""

    prompt_id: str
    status: str  # "success", "error", "interrupted" or "invalid"
    seconds: float = 0.0
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)  # node id -> what it showed
    error: NodeError | None = None
    node_errors: dict[str, Any] = field(default_factory=dict)  # of validation, by node id
    message: str = ""  # of validation
    cached: list[str] = field(default_factory=list)  # node ids whose outputs were reused
    progress: Counter[str] = field(default_factory=Counter)  # node id -> the last step it reported
    previews: int = 0  # preview images received
    folders: dict[str, Path] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        return self.status == "success"

    def check(self) -> "Result":
        """Itself, or an AssertionError that says what went wrong."""
        assert self.ok, f"{self.status}: {self.error or self.message} {json.dumps(self.node_errors, indent=1)}"
        # With some outputs refused, ComfyUI runs the others and calls it a success.
        assert not self.node_errors, json.dumps(self.node_errors, indent=1)
        return self

    def files(self, node_id: str) -> list[Path]:
        """Every file the node says it wrote, in its order."""
        entries = [
            entry for shown in self.outputs.get(node_id, {}).values() if isinstance(shown, list) for entry in shown
        ]
        return [
            self.folders[entry["type"]] / entry.get("subfolder", "") / entry["filename"]
            for entry in entries
            if isinstance(entry, dict) and "filename" in entry
        ]

    def images(self, node_id: str) -> np.ndarray:
        """(F, H, W, 3) in [0, 1]: the pictures that a SaveImage or PreviewImage wrote."""
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in self.files(node_id)]
        return np.stack(pictures).astype(np.float32) / 255


class Server:
    """A running ComfyUI. Made by `start_server`.

    Attributes:
        host: the checkout it runs from.
        base: its base directory, with models/, input/, output/, temp/ and custom_nodes/.
        url: such as http://127.0.0.1:41234.
        log_path: what it printed.
    """

    def __init__(self, host: Host, base: Path, port: int, process: subprocess.Popen, log_path: Path) -> None:
        self.host = host
        self.base = base
        self.url = f"http://127.0.0.1:{port}"
        self.process = process
        self.log_path = log_path
        self.client_id = uuid.uuid4().hex

    # -- its folders

    @property
    def input_directory(self) -> Path:
        return self.base / "input"

    def model_folder(self, kind: str) -> Path:
        return self.base / "models" / kind

    def place(self, kind: str, file: Path, name: str | None = None) -> str:
        """Links a model file into one of its folders; returns the name that its loader knows."""
        link = self.model_folder(kind) / (name or file.name)
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
        return link.name

    # -- its state

    def log(self, characters: int = 6000) -> str:
        """The end of what it printed."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-characters:]

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            raise ServerError(f"ComfyUI {self.host.version} exited with {self.process.returncode}:\n{self.log()}")

    # -- its API

    def get(self, path: str, **parameters: Any) -> Any:
        response = requests.get(self.url + path, params=parameters, timeout=60)
        response.raise_for_status()
        return response.json()

    def post(self, path: str, content: dict[str, Any] | None = None) -> requests.Response:
        return requests.post(self.url + path, json=content or {}, timeout=60)

    def object_info(self, node: str | None = None) -> dict[str, Any]:
        """The description of one node, or {} if there is no such node; of all nodes without a name."""
        if node is None:
            return self.get("/object_info")
        return self.get(f"/object_info/{node}").get(node, {})

    def interrupt(self) -> None:
        """Stops the prompt that is running."""
        self.post("/interrupt").raise_for_status()

    def free(self) -> None:
        """Unloads the models and drops the cached outputs; done before the next prompt starts."""
        self.post("/free", {"unload_models": True, "free_memory": True}).raise_for_status()

    def queue(self, graph: Graph, timeout: float = 900) -> Result:
        """Runs a graph to its end. A failure is a Result too; `.check()` makes it an error."""
        with self.running(graph, timeout) as wait:
            return wait()

    def newest_record(self, timeout: float = 900) -> dict[str, Any]:
        """The history's entry of the newest prompt, whoever queued it, when nothing is queued any more."""
        deadline = time.monotonic() + timeout
        while any(self.get("/queue").values()):
            if time.monotonic() > deadline:
                raise ServerError(f"still at work after {timeout} s; the log ends:\n{self.log()}")
            time.sleep(0.05)
        return list(self.get("/history").values())[-1]

    @contextlib.contextmanager
    def running(self, graph: Graph, timeout: float = 900) -> Iterator["Wait"]:
        """Queues a graph; inside, `wait()` gives the Result and `wait.until(event)` comes back earlier.

        with server.running(graph) as wait:
            wait.until("progress")
            server.interrupt()
            assert wait().status == "interrupted"
        """
        channel = websocket.create_connection(f"ws{self.url[4:]}/ws?clientId={self.client_id}", timeout=5)
        try:
            started = time.monotonic()
            response = self.post("/prompt", {"prompt": graph, "client_id": self.client_id})
            wait = Wait(self, channel, started + timeout, started)
            answer = response.json()
            wait.result.prompt_id = answer.get("prompt_id", "")
            wait.result.node_errors = answer.get("node_errors", {})
            if response.status_code != 200:
                failure = answer.get("error", {})
                wait.result.status = "invalid"
                wait.result.message = f"{failure.get('message', '')} {failure.get('details', '')}".strip()
            yield wait
        finally:
            channel.close()


class Wait:
    """Listens to a prompt's events until it ends."""

    def __init__(self, server: Server, channel: websocket.WebSocket, deadline: float, started: float) -> None:
        self.server = server
        self.channel = channel
        self.deadline = deadline
        self.started = started
        self.result = Result("", "", folders={kind: server.base / kind for kind in ("output", "input", "temp")})

    def __call__(self) -> Result:
        """The prompt's Result, when it has ended."""
        while not self.result.status:
            self.next_event()
        return self.result

    def until(self, event: str) -> dict[str, Any]:
        """The content of the next event of this kind, such as "progress" or "executing"."""
        while not self.result.status:
            kind, content = self.next_event()
            if kind == event:
                return content
        raise AssertionError(f"the prompt ended ({self.result.status}) before any {event}")

    def next_event(self) -> tuple[str, dict[str, Any]]:
        if time.monotonic() > self.deadline:
            self.server.interrupt()
            raise ServerError(f"no end of the prompt in time; the log ends:\n{self.server.log()}")
        try:
            message = self.channel.recv()
        except websocket.WebSocketTimeoutException:
            self.server.check_alive()
            return "", {}
        except (websocket.WebSocketConnectionClosedException, OSError) as error:
            time.sleep(1)  # for the exit status of the process
            self.server.check_alive()
            raise ServerError(f"connection lost:\n{self.server.log()}") from error
        if isinstance(message, bytes):
            self.result.previews += 1
            return "preview", {}
        event = json.loads(message)
        if event["data"].get("prompt_id", self.result.prompt_id) == self.result.prompt_id:
            self.take(event["type"], event["data"])
            return event["type"], event["data"]
        return "", {}

    def take(self, event: str, content: dict[str, Any]) -> None:
        result = self.result
        if event == "progress":
            result.progress[str(content.get("node"))] = content["value"]
        elif event == "execution_cached":
            result.cached = content["nodes"]
        elif event in ("execution_success", "execution_error", "execution_interrupted"):
            result.seconds = time.monotonic() - self.started
            result.outputs = self.history().get("outputs", {})
            result.status = event.removeprefix("execution_")
        if event == "execution_error":
            result.error = NodeError(
                str(content["node_id"]),
                content["node_type"],
                content["exception_type"],
                content["exception_message"].strip(),
                "".join(content["traceback"]),
            )

    def history(self) -> dict[str, Any]:
        """The server's record of the prompt, which it writes just after it sends the last event."""
        for _ in range(100):
            record = self.server.get(f"/history/{self.result.prompt_id}").get(self.result.prompt_id)
            if record:
                return record
            time.sleep(0.05)
        raise ServerError(f"prompt {self.result.prompt_id} has no history")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def start_server(
    host: Host,
    base: Path,
    *arguments: str | Path,
    packs: Sequence[Path] = (ROOT,),
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Starts ComfyUI on the CPU, and ends it with everything it started.

    Args:
        host: the checkout to start.
        base: its base directory, made if need be; nothing is written into the checkout.
        arguments: more of ComfyUI's own, such as "--extra-model-paths-config", path.
        packs: the node packs to load: folders, ours by default.
        environment: more environment variables.
    """
    for folder in MODEL_FOLDERS:
        (base / "models" / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("input", "output", "temp", "user"):
        (base / folder).mkdir(exist_ok=True)
    names = link_pack(base / "custom_nodes", packs)
    log_path = base / "server.log"
    port = free_port()
    command = host.command(
        *("--cpu", "--base-directory", base, "--port", str(port), "--disable-auto-launch"),
        *("--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}"),
        *("--disable-all-custom-nodes", *(["--whitelist-custom-nodes", *names] if names else [])),
        *arguments,
    )
    variables = {**host.environment(), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **(environment or {})}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=host.path,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = Server(host, base, port, process, log_path)
        wait_until_ready(server)
        yield server
    finally:
        end_process_group(process)


def wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        server.check_alive()
        with contextlib.suppress(requests.RequestException):
            server.get("/system_stats")
            return
        time.sleep(0.5)
    raise ServerError(f"ComfyUI {server.host.version} was not ready in {START_SECONDS} s:\n{server.log()}")


def end_process_group(process: subprocess.Popen, patience: float = 10) -> None:
    for strength in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, strength)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            if strength == signal.SIGTERM:
                continue  # the leader is gone, its children may not be
