"""Files that are whole or absent: every write goes to a temporary neighbour first and is then renamed."""

import csv
import errno
import io
import json
import math
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from topotune.errors import InputError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk and rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # as of a full disk
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def is_full(error: BaseException) -> bool:
    """Whether this says that a disk, or a quota, has no room left."""
    by_numpy = "requested and" in str(error)  # 1000 requested and 16 written
    return isinstance(error, OSError) and (error.errno in (errno.ENOSPC, errno.EDQUOT) or by_numpy)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write ``content`` to ``path`` atomically; of a full disk, this raises an OSError, as few libraries do."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; a NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def as_json(value: Any) -> str:
    """One indented JSON document; JSON has no NaN and no infinity, so that these become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """The JSON value in ``path``.

    Raises:
        InputError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None


def read_table(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises:
        InputError: the file is missing, is no JSON or holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object")
    return value


Row = dict[str, Any]


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under a fixed header; a missing or ``None`` value is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV file, numbers and truths as such and empty cells as ``None``; no file means no rows.

    Raises:
        InputError: a row is cut short or too long.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}, line {number}: has not as many cells as the header; the file is damaged")
    return [{name: _parse(name, cell) for name, cell in row.items()} for row in rows]


def check_rows(path: Path, rows: Iterable[Row], columns: Iterable[str], numbers: Collection[str]) -> None:
    """Whether a table's rows have these columns and, in those that are ``numbers``, a number or nothing.

    Raises:
        InputError: it is another table, or a cell holds something else.
    """
    for line, row in enumerate(rows, start=2):
        for name in (*columns, *numbers):
            if name not in row:
                raise InputError(f"{path}: is another table: it has no column {name!r}, but {', '.join(row)}")
            if name in numbers and isinstance(row[name], str):
                raise InputError(f"{path}, line {line}: {name} = {row[name]!r} is not a number; the file is damaged")


_TEXT = {"config_hash", "checkpoint", "weights", "other", "reason"}  # a hash can look like a number: 1234567e8


def _parse(name: str, cell: str | None) -> Any:
    if cell is None or cell == "":
        return None
    if name in _TEXT:
        return cell
    if cell in ("True", "False"):
        return cell == "True"
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write numpy arrays by name: a compressed .npz, without anything pickled."""
    import numpy as np  # heavy

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    write_atomically(path, write)


def read_arrays(path: Path) -> dict[str, Any]:
    """The numpy arrays in an .npz file; no file means none.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return {}
    import numpy as np  # heavy

    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); topotune analyze makes it anew") from None


def replace_folder(target: Path, sources: Iterable[Path]) -> None:
    """Make ``target`` a folder that holds copies of these files, and nothing else.

    The copy is complete before the old folder goes; a crash between the two leaves no half-written file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        fresh.chmod(0o755)
        for source in sources:
            shutil.copy2(source, fresh / source.name)
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
