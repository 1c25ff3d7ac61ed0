"""ComfyUI's own page in Chromium: needs a ComfyUI, Playwright and a Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from comfyui_hosts import find_hosts, search_places
from comfyui_server import Server, start_server
from frontend import Page, open_page, what_is_missing

HOSTS = find_hosts()
MISSING = what_is_missing() if HOSTS else f"a ComfyUI in {search_places()}"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if MISSING and collection_path.name.startswith("test_") else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(f"SKIPPED tests/browser: it needs {MISSING}", yellow=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if MISSING and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session", params=HOSTS, ids=[f"comfyui-{host.version}" for host in HOSTS])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each ComfyUI found, one after the other."""
    with start_server(request.param, tmp_path_factory.mktemp(f"page-{request.param.version}-")) as running:
        yield running


@pytest.fixture(scope="session")
def page(server: Server) -> Iterator[Page]:
    """The server's page, opened once."""
    with open_page(server) as opened:
        yield opened
