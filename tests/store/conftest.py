"""An object store on loopback, for tests of stores at a URL."""

from collections.abc import Iterator

import pytest

from tests.store.s3 import SECRET, LoopbackS3, loopback_s3


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackS3]:
    """An S3 with the bucket `bucket`, and credentials in the environment; the test is skipped where moto or s3fs is absent."""
    pytest.importorskip("moto.server", reason="moto is absent: pip install 'moto[server]'")
    pytest.importorskip("s3fs", reason="s3fs is absent: pip install 'vqafeat[s3]'")
    pytest.importorskip("upath", reason="universal-pathlib is absent: pip install 'vqafeat[s3]'")
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    with loopback_s3() as served:
        yield served
