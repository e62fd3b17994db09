"""Texts that name where a store is; credentials are refused and never repeated."""

import sys
from pathlib import Path

import pytest

from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.remote import parse_path, remove_tree


def test_parse_path__a_path_is_a_local_folder(tmp_path: Path) -> None:
    assert parse_path(str(tmp_path)) == parse_path(tmp_path) == tmp_path
    (tmp_path / "own" / "deep").mkdir(parents=True)
    remove_tree(tmp_path / "own")
    assert not (tmp_path / "own").exists()
    with pytest.raises(
        ArgumentError, match=r"--storage-option is for stores at a URL, not for 'features'; leave it out"
    ):
        parse_path("features", ["anon=true"])


def test_parse_path__a_url_keeps_its_options() -> None:
    pytest.importorskip("s3fs")
    pytest.importorskip("upath")
    path = parse_path("s3://bucket/prefix/", ["endpoint_url=http://127.0.0.1:1", "anon=true"])
    assert str(path / "a.zarr") == "s3://bucket/prefix/a.zarr"
    assert path.storage_options["anon"] is True
    assert path.storage_options["config_kwargs"]["read_timeout"] == 60
    quick = parse_path("s3://bucket", ['config_kwargs={"read_timeout": 5}'])
    assert quick.storage_options["config_kwargs"] == {
        **path.storage_options["config_kwargs"],
        "read_timeout": 5,
    }
    assert path.storage_options["endpoint_url"] == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "option",
    [
        "key=HIDDEN",
        "secret=HIDDEN",
        "token=HIDDEN",
        "aws_session_token=HIDDEN",
        "Password=HIDDEN",
        'client_kwargs={"aws_secret_access_key": "HIDDEN"}',
        'client_kwargs=[{"inner": {"token": "HIDDEN"}}]',
        "endpoint_url=http://me:HIDDEN@127.0.0.1",
    ],
)
def test_parse_path__refuses_credentials_in_options_and_never_repeats_them(option: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"looks like a credential.*set it in the environment: AWS_ACCESS_KEY_ID"
    ) as caught:
        parse_path("s3://bucket/prefix", [option])
    assert "HIDDEN" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://me:HIDDEN@bucket/prefix", "s3://bucket/prefix?signature=HIDDEN"])
def test_parse_path__refuses_credentials_in_urls_and_never_repeats_them(url: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"holds a user or a query.*Credentials come from the environment"
    ) as caught:
        parse_path(url)
    assert "HIDDEN" not in str(caught.value)


def test_parse_path__refuses_other_urls_and_malformed_options() -> None:
    pytest.importorskip("s3fs")
    with pytest.raises(
        ArgumentError, match=r"--storage-option config_kwargs=5 is not a JSON object; write one, such as \{"
    ):
        parse_path("s3://bucket/prefix", ["config_kwargs=5"])
    with pytest.raises(UnknownNameError, match="unknown kind of store URL 'gs'"):
        parse_path("gs://bucket/prefix")
    for url in ("s3://", "s3:///prefix"):  # as with an empty variable in place of the bucket
        with pytest.raises(ArgumentError, match=f"'{url}' names no bucket; write s3://bucket/prefix"):
            parse_path(url)
    with pytest.raises(ArgumentError, match="--storage-option takes NAME=VALUE") as caught:
        parse_path("s3://bucket/prefix", ["HIDDEN"])
    assert "HIDDEN" not in str(caught.value)


def test_parse_path__names_the_command_for_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        ArgumentError, match=r"need 's3fs', not installed here; run: pip install 'vqafeat\[s3\]'"
    ):
        parse_path("s3://bucket/prefix")
