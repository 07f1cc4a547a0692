"""The bird audio detection sets of the DCASE 2018 challenge (Stowell et al., arXiv 1807.05812): is there a bird?

Each set is a folder of its own in ``root/BirdDCASE``, with its clips in ``wav/``. Its table, a CSV file with the header
``itemid,datasetid,hasbird``, lies beside them, or in ``root/BirdDCASE/labels`` with the set's name as ``datasetid``.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topotune.data.sources import data_folder, drawn
from topotune.data.spectrogram import wav_names, write_spectrograms
from topotune.errors import InputError

OFFICIAL = ("BirdVox-DCASE-20k", "ff1010bird", "warblrb10k")
URL = "https://dcase.community/challenge2018/task-bird-audio-detection"
FOLDER = "BirdDCASE"
HEADER = ["itemid", "datasetid", "hasbird"]


class BirdDCASE:
    """All sets together, each split 80/10/10 apart, whole clips; see ``Reader``."""

    folder = FOLDER

    def files(self, root: Path | None, part: str) -> list[Path]:
        """The part's clips and the tables; of training, also the clips that are in no table."""
        sets = _sets(root)
        clips = [one.wav(item) for one in sets for item in one.part(part) if item in one.there]
        return clips + [one.table for one in sets] + (_unlabelled(sets) if part == "train" else [])

    def prepare(self, root: Path | None, part: str, out: Path) -> dict[str, Any]:
        """Spectrograms of the part's clips; clips that are in no table are counted with the training part."""
        sets = _sets(root)
        chosen = [(one, item) for one in sets for item in one.part(part)]
        clips = [(one.wav(item), one.labels[item]) for one, item in chosen if item in one.there]
        missing = [one.wav(item) for one, item in chosen if item not in one.there]
        said = write_spectrograms(out, clips, missing=missing)
        if part == "train" and (unlabelled := _unlabelled(sets)):
            said["notes"]["unlabelled"] = len(unlabelled)
        return said

    def fetch(self, root: Path | None) -> None:
        """Says where the sets are to be had, if there is none: they come from three places.

        Raises:
            InputError: there is none.
        """
        _sets(root)


@dataclass(frozen=True)
class _Set:
    """One set.

    table: the file that ``labels`` (0 or 1 of each item) are from.
    there: the items that have a clip.
    """

    folder: Path
    table: Path
    labels: dict[str, int]
    there: frozenset[str]

    def wav(self, item: str) -> Path:
        """Where the item's clip is, or should be."""
        return self.folder / "wav" / f"{item}.wav"

    def part(self, part: str) -> list[str]:
        """The items of a part, in order: a tenth each for validation and test. A missing clip changes no other's."""
        items = sorted(self.labels)
        held = max(round(len(items) / 10), 1)
        train = len(items) - 2 * held
        if part == "train":
            return [items[index] for index in drawn(len(items), "train", train)]
        rest = [items[index] for index in drawn(len(items), "validation", train)]
        return [rest[index] for index in drawn(len(rest), "train" if part == "validation" else "validation", held)]


def _sets(root: Path | None) -> list[_Set]:
    home = data_folder("birddcase", root) / FOLDER
    folders = sorted(path.parent for path in home.glob("*/wav") if path.is_dir())
    if not folders:
        raise InputError(
            f"{home} has no set of clips; {URL} says where {', '.join(OFFICIAL)} come from: "
            f"unpack each to {home}/<set>/wav, and put its CSV file into {home}/labels"
        )
    return [_read(folder) for folder in folders]


def _read(folder: Path) -> _Set:
    table, labels = _table(folder)
    there = frozenset(name.removesuffix(".wav") for name in wav_names(folder / "wav"))
    if len(labels) < 3:
        raise InputError(f"{table} has {len(labels)} clips of {folder.name}; 3 at least, for three parts")
    if not there & labels.keys():
        raise InputError(f"{folder / 'wav'} has no clip <itemid>.wav of those in {table}")
    return _Set(folder, table, labels, there)


def _unlabelled(sets: list[_Set]) -> list[Path]:
    return [one.wav(item) for one in sets for item in sorted(one.there - one.labels.keys())]


def _table(folder: Path) -> tuple[Path, dict[str, int]]:
    """The one table of a set, and its labels."""
    own = [path for path in sorted(folder.glob("*.csv")) if _rows(path)]
    shared = sorted((folder.parent / "labels").glob("*.csv"))
    found = [(path, labels) for path in own or shared if (labels := _labels(path, None if own else folder.name))]
    if len(found) != 1:
        names = ", ".join(str(path) for path, _ in found) or "none"
        raise InputError(
            f"{folder} needs one table, a CSV file with the header {','.join(HEADER)}, in it or, "
            f"with datasetid {folder.name!r}, in {folder.parent / 'labels'}; found: {names}"
        )
    return found[0]


def _labels(path: Path, name: str | None) -> dict[str, int]:
    """Of each item, whether it has a bird (0, 1); of the set ``name`` only, if it is given."""
    labels: dict[str, int] = {}
    for number, row in _rows(path):
        if len(row) != len(HEADER):
            raise InputError(f"{path}, line {number}: {len(row)} of {len(HEADER)} cells; the file is damaged")
        item, datasetid, hasbird = row
        if name not in (None, datasetid):
            continue
        if hasbird not in ("0", "1"):
            raise InputError(f"{path}, line {number}: hasbird is {hasbird!r}; it should be 0 or 1")
        if item in labels:
            raise InputError(f"{path}, line {number}: itemid {item!r} stands there twice; it should once")
        labels[item] = int(hasbird)
    return labels


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows below the header, with their lines' numbers; none where it has another header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            if next(reader, None) != HEADER:
                return []
            return [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error})") from None
