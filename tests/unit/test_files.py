"""Files that are whole or absent, and tables that come back as they were."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topotune import files
from topotune.errors import InputError


def test_write_text_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text"
    files.write_text(path, "λ\n")
    assert path.read_bytes() == "λ\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    files.write_text(path, "second")
    assert path.read_text() == "second"
    assert os.listdir(path.parent) == ["text"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_alone(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "text"
    files.write_text(path, "old")

    def fails(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(error):
        files.write_atomically(path, fails)
    with pytest.raises(error):
        files.write_atomically(tmp_path / "other", fails)
    assert os.listdir(tmp_path) == ["text"]
    assert path.read_text() == "old"


def test_json_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"a": [1, 2.5, None, "λ"]})
    assert files.read_json(path) == {"a": [1, 2.5, None, "λ"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": [1, 2.5, None, "λ"]}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_damaged_json_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(InputError, match=r"a\.json: no such file"):
        files.read_json(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
        files.read_json(path)


def test_csv_cells_have_types(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('whole,part,text,empty,exponent\n3,0.5,"a, ""b""",,1e-05\n-1,2.0,none,,5\n')
    first, second = files.read_csv(path)
    assert first == {"whole": 3, "part": 0.5, "text": 'a, "b"', "empty": None, "exponent": 1e-5}
    assert [type(value) for value in second.values()] == [int, float, str, type(None), int]
    files.write_csv(path, ["kept"], [{"kept": True}, {"kept": False}, {"kept": None}])
    assert [row["kept"] for row in files.read_csv(path)] == [True, False, None]
    assert files.read_csv(tmp_path / "none.csv") == []


@pytest.mark.parametrize("content", ["[]", "3", "null", '"a"'])
def test_a_table_is_a_json_object(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"a\.json: not a JSON object"):
        files.read_table(path)
    path.write_text('{"a": 1}')
    assert files.read_table(path) == {"a": 1}
    path.write_text('{"a": 1')
    with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
        files.read_table(path)
    with pytest.raises(InputError, match=r"b\.json: no such file"):
        files.read_table(tmp_path / "b.json")


@pytest.mark.parametrize(("row", "line"), [("3", 3), ("3,4", 3), ("3,4,5,6", 3), ('3,"4,5\n', 3), ("3,4,\n7,8", 4)])
def test_a_row_cut_short_or_too_long_is_named(row: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"a,b,c\n1,2,\n{row}")
    with pytest.raises(InputError, match=rf"a\.csv, line {line}: has not as many cells as the header; .* damaged"):
        files.read_csv(path)
    path.write_text("a,b,c\n1,2,\n")  # an empty cell is none that is missing
    assert files.read_csv(path) == [{"a": 1, "b": 2, "c": None}]


def test_hashes_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [{"config_hash": one, "id": 7} for one in ("0000000012345678", "1234567e80000000", "1e5")]
    files.write_csv(path, ["id", "config_hash"], rows)
    assert [row["config_hash"] for row in files.read_csv(path)] == [row["config_hash"] for row in rows]
    assert files.read_csv(path)[0]["id"] == 7


def test_a_row_with_an_unknown_column_is_refused_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    files.write_csv(path, ["a", "b"], [{"a": 1}, {"b": None, "a": 2}])
    assert path.read_text() == "a,b\n1,\n2,\n"
    with pytest.raises(ValueError, match="c"):
        files.write_csv(path, ["a", "b"], [{"a": 1, "c": 2}])
    assert path.read_text() == "a,b\n1,\n2,\n"


cells = st.one_of(
    st.none(), st.integers(), st.floats(allow_nan=False), st.text(st.characters(categories=["L", "P"]), min_size=1)
)


@given(st.lists(st.fixed_dictionaries({"a": cells, "b": cells}), max_size=5))
def test_csv_brings_back_numbers_exactly(rows: list[dict[str, Any]]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        files.write_csv(path, ["a", "b"], rows)
        again = files.read_csv(path)
    for one, other in zip(again, rows, strict=True):
        for name, value in other.items():
            if isinstance(value, str):
                # inf and nan written out are numbers to float(), and a text may look like a number
                assert str(one[name]).lower() in (value.lower(), "inf", "-inf", "nan")
            else:
                assert one[name] == value
                assert type(one[name]) is type(value)


def test_replace_folder_holds_the_named_files_only(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    for name in ("a", "b", "c"):
        files.write_text(source / name, name)
    files.write_text(target / "old", "old")
    files.replace_folder(target, [source / "a", source / "b"])
    assert {path.name: path.read_text() for path in target.iterdir()} == {"a": "a", "b": "b"}
    assert target.stat().st_mode & 0o777 == 0o755
    with pytest.raises(FileNotFoundError):
        files.replace_folder(target, [source / "a", source / "missing"])
    assert {path.name for path in target.iterdir()} == {"a", "b"}
    assert os.listdir(target.parent) == ["target"]
    assert json.dumps(sorted(os.listdir(source))) == '["a", "b", "c"]'


def test_arrays(tmp_path: Path) -> None:
    """Whole or absent, by any name; a damaged file is told of."""
    path = tmp_path / "maps" / "one.npz"
    assert files.read_arrays(path) == {}
    files.write_arrays(path, {"fc1/one": np.arange(3), "features.0/other": np.array([0.5])})
    first = path.read_bytes()
    assert {name: one.tolist() for name, one in files.read_arrays(path).items()} == {
        "fc1/one": [0, 1, 2], "features.0/other": [0.5],
    }  # fmt: skip
    files.write_arrays(path, files.read_arrays(path))
    assert path.read_bytes() == first
    flipped = bytearray(first)
    flipped[70] ^= 0xFF  # within the first array
    for content in (first[:40], b"", b"nonsense", first[:-60] + first[-30:], flipped):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"one\.npz is damaged"):
            files.read_arrays(path)
    assert [one.name for one in path.parent.iterdir()] == ["one.npz"]
