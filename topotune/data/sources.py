"""What readers of several data sets share: the folder of them all, the drawing of a validation part, downloads."""

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from topotune.errors import InputError

PATIENCE = 60.0  # seconds that a server may be silent
_CHUNK = 1 << 20

_SPLIT_SEED = 0  # never changes: every result there is was measured on this split


def data_folder(name: str, root: Path | None) -> Path:
    """The folder that holds data sets.

    Raises:
        InputError: it was not given, or is not there.
    """
    if root is None:
        raise InputError(f"dataset {name!r} needs the folder that holds it: --data FOLDER, or TOPOTUNE_DATA")
    if not root.is_dir():
        raise InputError(f"data folder {root} does not exist; give the folder that holds {name!r} with --data")
    return root


def drawn(count: int, part: str, train: int) -> np.ndarray[Any, Any]:
    """Which of ``count`` samples for training are of the training part (``train`` of them) or of the validation part,
    in order."""
    import torch  # seconds that a plan need not wait for

    order = torch.randperm(count, generator=torch.Generator().manual_seed(_SPLIT_SEED))
    return (order[:train] if part == "train" else order[train:]).sort().values.numpy()


def verified(path: Path, md5: str) -> bytes:
    """The content of a file that should have this MD5.

    Raises:
        InputError: it has not, or is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; --download fetches it where there is a network")
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise InputError(
            f"{path} ({len(content)} bytes) is truncated or altered: its MD5 is {found}, it should be {md5}; "
            "delete it, and --download fetches it anew"
        )
    return content


def download(url: str, to: Path, sha256: str | None = None, md5: str | None = None) -> None:
    """Fetch a file; one that is there and has its checksum stays.

    What has come so far waits in ``NAME.part``, from where the next call goes on if the server can do that.

    Raises:
        InputError: no network, no such file there, a broken connection, or a wrong checksum: nothing is kept then.
    """
    if to.is_file() and not _wrong(to, sha256, md5):
        return
    part = to.with_name(f"{to.name}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{url} cannot be fetched: the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"{url} cannot be fetched ({reason}); the same command goes on with what has come, or put the file to {to}"
        ) from None
    if wrong := _wrong(part, sha256, md5):
        part.unlink()
        raise InputError(f"{url} is not the file that was expected: {wrong}; what came was deleted")
    os.replace(part, to)


def _fetch(url: str, part: Path) -> None:
    """Fill ``part``, from where it ends if the server can do that."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return  # all of it has come before
        part.unlink()
        _fetch(url, part)
        return
    with answer:
        resumed = (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-")
        with part.open("ab" if resumed else "wb") as file:
            first = file.tell()
            shutil.copyfileobj(answer, file, _CHUNK)
            came, wanted = file.tell() - first, answer.headers.get("Content-Length")
    if wanted is not None and came < int(wanted):
        raise ConnectionError(f"the connection broke off after {first + came} of {first + int(wanted)} bytes")


def _wrong(path: Path, sha256: str | None, md5: str | None) -> str:
    """What is wrong with a file's checksums; empty where nothing is."""
    for name, wanted in (("sha256", sha256), ("md5", md5)):
        if wanted:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, partial(hashlib.new, name, usedforsecurity=False)).hexdigest()
            if found != wanted.lower():
                return f"its {name.upper()} is {found}, it should be {wanted}"
    return ""
