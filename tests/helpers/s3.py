"""An S3 of moto's on loopback, which counts requests and can refuse or delay some of them."""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SECRET = "very-secret-value-of-the-environment"


@dataclass
class LoopbackS3:
    """What the server saw, and what it does.

    Attributes:
        url: where it listens.
        requests: method and path of each request, in order.
        refused: how many of the next requests are answered with 503.
        delayed: how many of the next requests wait before they are answered.
        delay_seconds: how long these wait.
        cut: how many of the next replies with a long body end in its middle.
    """

    url: str = ""
    requests: list[str] = field(default_factory=list)
    refused: int = 0
    delayed: int = 0
    delay_seconds: float = 0.0
    cut: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def around(self, application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return a WSGI application that does so before another one answers."""

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            with self._counting:
                self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
                refused, delayed = self.refused > 0, self.delayed > 0
                self.refused -= refused
                self.delayed -= delayed
            if refused:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response("503 Slow Down", [("Content-Type", "application/xml")])
                return [
                    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
                ]
            if delayed:
                time.sleep(self.delay_seconds)
            reply = application(environ, start_response)
            return self._cut_off(b"".join(reply)) if self.cut else reply

        return answer

    def _cut_off(self, body: bytes) -> Iterator[bytes]:
        if len(body) < 10_000:
            yield body
            return
        self.cut -= 1
        yield body[: len(body) // 2]
        raise ConnectionResetError

    @contextmanager
    def seen(self) -> Iterator[list[str]]:
        """Lend a list that holds the requests of the block at its end."""
        start, seen = len(self.requests), list[str]()
        yield seen
        seen += self.requests[start:]


@contextmanager
def loopback_s3(bucket: str = "bucket") -> Iterator[LoopbackS3]:
    """Serve an S3 with one bucket; what the environment holds as credentials is taken."""
    import boto3
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    served = LoopbackS3()
    application = served.around(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    # what an earlier server of this process held is moto's own, and global
    urllib.request.urlopen(f"{served.url}/moto-api/reset", data=b"").close()
    client = boto3.client("s3", endpoint_url=served.url)
    client.create_bucket(Bucket=bucket)
    client.close()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
