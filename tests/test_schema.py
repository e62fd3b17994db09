from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from vqafeat.errors import DatasetError, WeightsError
from vqafeat.schema import NonEmpty, Texts, parse


@dataclass(frozen=True)
class Row:
    name: str
    width: int | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise DatasetError("name is empty; write one.")


@dataclass(frozen=True)
class Table:
    title: str
    limits: tuple[float, float] = (0.0, 1.0)
    rows: tuple[Row, ...] = ()
    first: Row | None = None
    tolerance: dict[str, float] = field(default_factory=dict)
    files: Texts = ()


def test_parse__makes_nested_dataclasses_tuples_and_floats() -> None:
    values = {"title": "T", "limits": [1, 5], "rows": [{"name": "a"}], "first": {"name": "b", "width": 3}}
    assert parse(Table, values, "table") == Table("T", (1.0, 5.0), (Row("a"),), Row("b", 3))
    assert isinstance(parse(Table, values, "table").limits[0], float)


@pytest.mark.parametrize(("value", "texts"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ())])
def test_parse__makes_a_tuple_of_a_single_text(value: object, texts: tuple[str, ...]) -> None:
    assert parse(Table, {"title": "T", "files": value}, "table").files == texts


def test_parse__keeps_infinity() -> None:
    assert parse(Table, {"title": "T", "limits": [0, float("inf")]}, "table").limits[1] == float("inf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "x"}, "table 't.toml': unknown key 'titel': did you mean title?"),
        (
            {"zzz": 1},
            "table 't.toml': unknown key 'zzz': known are: title, limits, rows, first, tolerance, files.",
        ),
        ({"title": 3}, "table 't.toml': title: 3 must be a valid string."),
        ({"title": None}, "table 't.toml': title: None must be a valid string."),
        ({"limits": [1]}, "table 't.toml': limits: item 2 is missing; add it."),
        ({"limits": [1, "2"]}, "table 't.toml': limits[1]: '2' must be a valid number."),
        ({"limits": [1, True]}, "table 't.toml': limits[1]: True must be a valid number."),
        ({"rows": {}}, "table 't.toml': rows: {} must be a valid array."),
        ({"rows": [{"name": "a"}, {}]}, "table 't.toml': rows[1]: missing key 'name'; add it."),
        ({"rows": [{"nam": "a"}]}, "table 't.toml': rows[0]: unknown key 'nam': did you mean name?"),
        ({"first": {"name": "a", "wdt": 1}}, "table 't.toml': first: unknown key 'wdt': did you mean width?"),
        ({"first": 3}, "table 't.toml': first: 3 must be a table."),
        ({"rows": [{"name": ""}]}, "table 't.toml': name is empty; write one."),
        ({"files": 3}, "table 't.toml': files: 3 must be a valid array."),
        ({"files": ["a", 3]}, "table 't.toml': files[1]: 3 must be a valid string."),
        ({"tolerance": {"srocc": "a"}}, "table 't.toml': tolerance.srocc: 'a' must be a valid number."),
    ],
)
def test_parse__says_what_is_wrong_and_where(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as error:
        parse(Table, {"title": "T", **change}, "table 't.toml'")
    assert str(error.value) == message


def test_parse__missing_key() -> None:
    with pytest.raises(DatasetError, match="table: missing key 'title'; add it"):
        parse(Table, {}, "table")


def test_parse__raises_the_error_type_of_the_caller() -> None:
    with pytest.raises(WeightsError, match=r"run\.json: title: 3 must be a valid string"):
        parse(Table, {"title": 3}, "run.json", WeightsError)


@dataclass(frozen=True)
class Named:
    name: NonEmpty[str] = "a"
    rows: NonEmpty[tuple[str, ...]] = ("a",)
    changes: NonEmpty[Mapping[str, int]] = field(default_factory=dict)


@pytest.mark.parametrize(("key", "value"), [("name", ""), ("rows", []), ("changes", {})])
def test_parse__refuses_what_is_empty(key: str, value: object) -> None:
    with pytest.raises(DatasetError) as error:
        parse(Named, {key: value}, "table")
    assert str(error.value) == f"table: {key} is empty; name at least one."
