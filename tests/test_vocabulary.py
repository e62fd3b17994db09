"""The names of version 1 that the field's terms replaced are gone: a newcomer guesses what a name is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("vqafeat", "cli/vqafeat_cli", "tests") for path in (ROOT / folder).rglob("*.py")
)
TEXTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FORMER_MODULES = """
    modeling studies labels one_run keeping starting records group_state checkpoints trainers
    run_files run_folders recorded holding mixing rows branches leaks subsets part_videos layouts
    in_work collecting row_store fetching spreading mending ledger engines stills places locking
    caching copying packing arrays json_text csv_text small_files state_dicts shelves stand_in bench
    kinds renderers pictures running
"""
FORMER_NAMES = """
    take_up picks Keeper new_head start_at see_labels Assignment GroupState SplitOutcome offer Plan
    _Desk _spread _news_until_done _work _end_with follows_recipe train_together scores_together
    shares_time TRAINED_TOGETHER RecordedRun TrainedOn Spread TrainedModel make_room HeldFeatures
    SharedBlock Sequences FeatureSource Mixture own_names RowPicks every_row RowDraws
    rows_in_testing reachable OneOfEachCube EveryNth Clock settling_fraction bucket_batches
    first_kept_epoch with_branches with_lines _within LabelLine label_lines Outputs a_loss_each
    one_for_all combined READS ON_LABEL_SCALE LeakReport seen_videos ReadHead VideoInWork VideoJob
    Outcome RowSink FrameBatches ClipCollector RowStore Fetching _Teller Silent Ledger ENGINES
    _Spread _Share LOST patience patience_seconds ExtractorRequest Look Extractor tapped picked
    file_source file_stamp stills Place place_named of_each network_errors_told cache_errors_told
    held_alone held_together held_after_writers sweep telling_refusals local_copy _made Tell
    _going_where_damaged Repacked _replacing _beside Contents has_right_sum options_of small_text
    guarded unwrapped doubled first_few Study StudyKind StudySource Bench Shelf StandIn RunRequest
    Need facts_of Replicas renew_copies Computing parted nearer ranks_read told said asked found
    drawn chosen place wanted driving elsewhere
"""
FORMER_WORDS = (
    "ledger",
    "--engine ",
    "--patience ",
    "--ranks-read ",
    "--label-scale ",
    "--mixing ",
    "--recorded ",
    "--scale-of ",
)


def names(path: Path) -> Iterator[str]:
    """Yield every identifier of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case (
                ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.alias(asname=str(name))
            ):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.keyword(arg=str(name)) | ast.alias(name=name):
                yield name
            case ast.ImportFrom(module=str(name)):
                yield from name.split(".")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names__are_those_of_the_field(path: Path) -> None:
    assert set(names(path)).isdisjoint(FORMER_NAMES.split()), "see the glossary in CONTRIBUTING.md"


def test_modules__are_named_by_the_field() -> None:
    modules = {path.stem for path in SOURCES if "tests" not in path.parts}
    modules |= {path.name for path in (ROOT / "vqafeat").rglob("*") if path.is_dir()}
    assert modules.isdisjoint(FORMER_MODULES.split())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_words__of_the_guides_are_those_of_the_field(path: Path) -> None:
    text = path.read_text()
    assert not [word for word in FORMER_WORDS if re.search(rf"(?<![\w-]){re.escape(word)}", text)]
