"""Tables and figures of the papers, measured again: `load_table` reads one, `run_table` fills it."""

import tomllib
from pathlib import Path

TABLES_FOLDER = Path(__file__).parent / "tables"


def table_names() -> list[str]:
    """Return the names of the shipped tables: by paper, tables before figures, by their numbers."""

    def order(name: str) -> tuple[str, bool, int, str]:
        paper, _, rest = name.partition("-")
        number = rest.removeprefix("figure-").rstrip("abc")
        return paper, rest.startswith("figure"), int(number), name

    return sorted((path.stem for path in TABLES_FOLDER.glob("*.toml")), key=order)


def table_summaries() -> dict[str, str]:
    """Return name → what the table shows, read without importing PyTorch."""
    paths = {name: TABLES_FOLDER / f"{name}.toml" for name in table_names()}
    words = "{label} of {paper}: {title}"
    return {name: words.format_map(tomllib.loads(path.read_text("utf-8"))) for name, path in paths.items()}
