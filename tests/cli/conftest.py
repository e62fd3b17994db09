"""Twenty clips with their labels, and an empty working directory; this process decodes."""

from pathlib import Path

import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import VIDEO_COUNT
from tests.helpers.extractions import DEFAULT_WORKERS
from vqafeat.extraction.pipeline import default_workers


@pytest.fixture(autouse=True)
def _decode_here(decode_here: None) -> None:
    """Decode in this process in every test of this folder."""


@pytest.fixture
def decoding_processes(_decode_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the decoding processes that a user's command starts."""
    for name in DEFAULT_WORKERS:
        monkeypatch.setattr(name, default_workers)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for index in range(VIDEO_COUNT):
        frames = noise_frames(6, 64, 48, seed=index) // (1 + index % 4)
        write_clip(folder / f"v{index}.mp4", frames)
    rows = "".join(
        f"v{index}.mp4,{4 - index % 4 + index / 200},{index // 2}\n" for index in range(VIDEO_COUNT)
    )
    (folder / "mine.csv").write_text("video,mos,content\n" + "".join(rows))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
