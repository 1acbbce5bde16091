"""A real Chromium, a real JupyterLab, and served pages; skipped without a Chromium, never in continuous integration."""

import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from .journeys import LOGS
from .slices import needed

ROOT = Path(__file__).parent.parent.parent
NEW_CELL = "display(explorer.live().box)"  # what the text asks a reader to run in a new cell
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="session")
def browser():
    found = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if not found and not os.environ.get("CI"):
        pytest.skip("no Chromium on the path: install one to move the widgets in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    yield opened
    opened.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """The address of a JupyterLab in fast mode over the cells of each chapter that its widgets need, without outputs."""
    home, port = tmp_path_factory.mktemp("lab"), free_port()
    (home / "notebooks").mkdir()
    for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        whole = nbformat.read(path, as_version=4)
        cells = [v4.new_code_cell(cell["source"]) for cell in needed(whole.cells)]
        if any(f"`{NEW_CELL}`" in cell.source for cell in whole.cells):
            cells.append(v4.new_code_cell(NEW_CELL))
        kernel = {"kernelspec": whole.metadata.kernelspec}
        nbformat.write(
            v4.new_notebook(cells=cells, metadata=kernel), home / "notebooks" / path.name
        )
    overrides = home / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(
        json.dumps(
            {
                "@jupyterlab/notebook-extension:tracker": {
                    "windowingMode": "none"
                },  # draw all cells
                "@jupyterlab/apputils-extension:notification": {
                    "fetchNews": "false",
                    "checkForUpdates": False,
                },
            }
        )
    )
    settings = {
        "MINILDM_MODE": "fast",
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        f"--ServerApp.root_dir={home}",
        "--IdentityProvider.token=",
        "--ServerApp.disable_check_xsrf=True",
        "--ServerApp.log_level=ERROR",
    ]
    LOGS.append(home / "log")
    with open(home / "log", "w") as log:
        server = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api").close()
            break
        except OSError:
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(120)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the book's pages, as `make site` writes them with this Python; a warning ends it."""
    folder = tmp_path_factory.mktemp("site")
    make = [
        "make",
        "-o",
        ".venv/installed",
        "site",
        f"BIN={Path(sys.executable).parent}",
        f"SITE={folder}",
    ]
    made = subprocess.run(make, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that does not write down each request."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def served(site):
    """The address of the book's pages without a kernel, served from their folder."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", free_port()), functools.partial(Quiet, directory=site)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
