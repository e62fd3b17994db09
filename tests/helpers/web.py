"""A web server of a folder on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def send_header(self, keyword: str, value: str) -> None:
        if self.path.startswith("/no-time") and keyword == "Last-Modified":
            value = "yesterday"
        if not (self.path.startswith("/no-size") and keyword == "Content-Length"):
            super().send_header(keyword, value)


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Yield the address of a server, which states no sizes below `no-size`, and no times below `no-time`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
