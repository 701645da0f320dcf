"""Headless Chromium and a server for the built site."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 600_000
"""Milliseconds that a page may take for anything, on a machine that has other things to do."""
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


@dataclass(frozen=True)
class View:
    """How a reader sees the site: from a server or the disk, on what, in which theme."""

    scheme: Literal["http", "file"]
    device: Literal["desktop", "phone"]
    theme: Literal["light", "dark"]

    def __str__(self) -> str:
        return f"{self.scheme}-{self.device}-{self.theme}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of a browser context."""
        width, height = WIDTHS[self.device]
        phone = self.device == "phone"
        return {
            "viewport": {"width": width, "height": height},
            "color_scheme": self.theme,
            "is_mobile": phone,
            "has_touch": phone,
        }


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    # Several pages ask for all they need at once; who is turned away comes back late.
    request_queue_size = 256

    # A browser that closes a page drops its connections; that is no error of the site.
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine; give the address, ending in a slash."""
    handler = functools.partial(_Quiet, directory=str(root))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()
