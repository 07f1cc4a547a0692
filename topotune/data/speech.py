"""SpeechCommands v0.02 (Warden, arXiv 1804.03209): one of 35 words in each second, the official lists of clips."""

import shutil
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from topotune.data.sources import data_folder, download
from topotune.data.spectrogram import RATE, wav_names, write_spectrograms
from topotune.errors import InputError

# a clip's label is its word's place
WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
FOLDER = "SpeechCommands/speech_commands_v0.02"
URL = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"  # as in torchaudio


class SpeechCommands:
    """Clips ``root/SpeechCommands/speech_commands_v0.02/<word>/*.wav``; see ``Reader``. Words may be left out."""

    folder = FOLDER

    def files(self, root: Path | None, part: str) -> list[Path]:
        """The part's clips, and the two lists."""
        folder = _folder(root)
        there, _ = _clips(folder, part)
        return [folder / name for name in (*there, *LISTS.values())]

    def prepare(self, root: Path | None, part: str, out: Path) -> dict[str, Any]:
        """Spectrograms of the part's clips, a second each."""
        folder = _folder(root)
        there, missing = _clips(folder, part)
        clips = [(folder / name, WORDS.index(name.partition("/")[0])) for name in there]
        return write_spectrograms(out, clips, longest=RATE, missing=[folder / name for name in missing])

    def fetch(self, root: Path | None) -> None:
        """The official archive (2.3 GB), if there is no such folder.

        Raises:
            InputError: it cannot be downloaded or unpacked.
        """
        folder = data_folder("speechcommands", root) / FOLDER
        if folder.exists():
            return
        folder.parent.mkdir(exist_ok=True)
        archive = folder.parent / URL.rpartition("/")[2]
        download(URL, archive, sha256=SHA256)
        _unpack(archive, folder)
        archive.unlink()


def _folder(root: Path | None) -> Path:
    folder = data_folder("speechcommands", root) / FOLDER
    for path in (folder, *(folder / name for name in LISTS.values())):
        if not path.exists():
            first = f"move {folder} away, and then " if folder.exists() else ""  # what is there is not fetched again
            raise InputError(
                f"{path} is missing; {first}--download fetches SpeechCommands where there is a network, "
                f"or unpack {URL} into {folder}"
            )
    return folder


def _clips(folder: Path, part: str) -> tuple[list[str], list[str]]:
    """Names ``word/file.wav`` of a part's clips: those that are there, and those that are only in its list.

    What a list says of words that are not there at all is left out.
    """
    words = _words(folder)
    found = {f"{word}/{name}" for word in words for name in wav_names(folder / word)}
    lists = {name: _listed(folder / file) for name, file in LISTS.items()}
    both = sorted(lists["validation"] & lists["test"])
    if both:
        raise InputError(
            f"{folder}: {both[0]} stands in both lists, {' and '.join(LISTS.values())}; it may in one only"
        )
    wanted = lists[part] if part in lists else found - lists["validation"] - lists["test"]
    wanted = {name for name in wanted if name.partition("/")[0] in words}
    if not wanted & found:
        raise InputError(f"{folder} has no clip of the {part} part; there should be clips <word>/*.wav")
    return sorted(wanted & found), sorted(wanted - found)


def _words(folder: Path) -> list[str]:
    """The words that have a folder; others are for noise (``_background_noise_``) or hidden."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "_.")
    for name in names:
        if name not in WORDS:
            raise InputError(f"{folder / name} is none of the 35 words; choose from {', '.join(WORDS)}")
    return names


def _listed(path: Path) -> set[str]:
    """The names in a list, a line each."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        word, _, name = line.partition("/")
        if word not in WORDS or "/" in name or not name.endswith(".wav"):
            raise InputError(f"{path}, line {number}: {line!r} is no clip; it should be <word>/<file>.wav")
    name, count = Counter(lines).most_common(1)[0] if lines else ("", 0)
    if count > 1:
        raise InputError(f"{path}: {name} stands there {count} times; it should once")
    return set(lines)


def _unpack(archive: Path, folder: Path) -> None:
    """Into a temporary neighbour first, so that ``folder`` is whole or absent."""
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(fresh, filter="data")
        fresh.chmod(0o755)
        fresh.rename(folder)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{archive} cannot be unpacked into {folder} ({error})") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
