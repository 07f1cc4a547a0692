"""Log-mel spectrograms of sound files: 16 kHz, windows of 25 ms every 10 ms, 64 mel bands, in dB.

As Poli et al. (2022), section 3.2. N clips, n samples, F frames, M = 64 bands: n samples at 16 kHz make 1 + n // 160
frames.

Threads, each with a block of clips: libsndfile and torch release the interpreter's lock, a block takes it less often
than clip by clip, and there is nothing to start. On two cores a clip of 1 s took 0.65 ms in two threads (1.4 ms clip by
clip), and 1.0 ms in two processes, after the 3 s that those need to start; all of SpeechCommands takes about 100 s.
"""

import os
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import groupby
from math import gcd, sqrt
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torchaudio import transforms

from topotune.data.cache import save_array
from topotune.errors import InputError

RATE = 16000  # samples a second
HOP = 160  # samples
BANDS = 64
TOLERATED = 0.01  # of a part's clips may be left out

_BLOCK = 8  # clips: of 10 s each, their spectra take 15 MB
_LARGEST_KERNEL = 1 << 24  # values; a rate that has no factor in common with 16000 needs more to be resampled

Frames = np.ndarray[Any, np.dtype[np.float16]]


class _Sound(NamedTuple):
    """One file: frames (F, M), None where it cannot be used, and what was found or done."""

    frames: Frames | None
    notes: tuple[str, ...]


def wav_names(folder: Path) -> list[str]:
    """The names of the wav files in a folder, hidden ones left out."""
    return [name for name in os.listdir(folder) if name.endswith(".wav") and not name.startswith(".")]


def log_mel(waves: Tensor) -> Tensor:
    """Decibels (N, 1 + n // 160, M) of waves (N, n) at 16 kHz; silence is −100."""
    decibels: Tensor = _log_mel_layers()(waves)
    return decibels.transpose(1, 2)


def write_spectrograms(
    out: Path,
    clips: Sequence[tuple[Path, int]],
    *,
    longest: int | None = None,
    missing: Sequence[Path] = (),
    threads: int | None = None,
) -> dict[str, Any]:
    """Write ``images.npy`` (F, M) float16, ``clips.npy`` (N, 2) and ``labels.npy`` (N,): see ``Split``.

    Clips shorter than a second are padded with zeros at their end. The result does not depend on ``threads``.

    Args:
        out: a folder.
        clips: files and their labels; there is at least one.
        longest: samples at 16 kHz after which a clip is cut; None to keep all.
        missing: files that should be there as well.
        threads: how many at a time; as many as torch has by default.

    Returns:
        ``mean`` and ``std`` over all frames and bands, and ``notes``: how many clips were resampled, padded, cut,
        silent, or left out (unreadable, missing).

    Raises:
        InputError: more than 1 % of the clips are missing or unreadable, or all of them are silent.
    """
    lost = dict.fromkeys(missing, "missing")
    _tolerate(lost, len(clips) + len(missing))
    notes = Counter(lost.values())
    places, labels = [], []
    with _Array(out / "images.npy") as array:
        sounds = _in_order([path for path, _ in clips], longest, threads or torch.get_num_threads())
        for (path, label), (frames, found) in zip(clips, _shown(sounds, len(clips)), strict=True):
            notes.update(found)
            if frames is None:
                lost[path] = "unreadable"
            else:
                places.append((array.rows, len(frames)))
                labels.append(label)
                array.add(frames)
    _tolerate(lost, len(clips) + len(missing))
    mean, std = array.moments()
    if std == 0:
        raise InputError(
            f"{clips[0][0]} and all other clips ({len(labels)}) are silent: there is nothing to tell apart"
        )
    save_array(out, "clips", np.array(places, np.int64))
    save_array(out, "labels", np.array(labels, np.int64))
    return {"mean": [mean], "std": [std], "notes": dict(sorted(notes.items()))}


def _tolerate(lost: dict[Path, str], total: int) -> None:
    """A few files that cannot be used are left out; many are an error."""
    if len(lost) > TOLERATED * total:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(lost.values()).items()))
        first = ", ".join(str(path) for path in sorted(lost)[:3])
        raise InputError(
            f"{len(lost)} of {total} clips cannot be used ({kinds}): {first}{', …' if len(lost) > 3 else ''}; "
            f"at most {TOLERATED:.0%} may be left out: fetch them again, or take them out of the lists"
        )


class _Array:
    """A .npy file (F, M) float16 that grows; the header of this format leaves room for a larger F."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._sum = self._squares = 0.0
        self._file = path.open("wb")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def add(self, frames: Frames) -> None:
        """Append frames (F, M)."""
        self._file.write(frames.tobytes())
        self.rows += len(frames)
        values = frames.astype(np.float64)
        self._sum += float(values.sum())
        self._squares += float(np.square(values).sum())

    def moments(self) -> tuple[float, float]:
        """Mean and deviation of all values there are."""
        count = self.rows * BANDS
        mean = self._sum / count
        return mean, sqrt(max(self._squares / count - mean**2, 0))

    def _write_header(self) -> None:
        described = {"descr": "<f2", "fortran_order": False, "shape": (self.rows, BANDS)}
        np.lib.format.write_array_header_1_0(self._file, described)


def _in_order(paths: Sequence[Path], longest: int | None, threads: int) -> Iterator[_Sound]:
    """The files' sounds, of which no more than a few blocks are in memory."""
    blocks = [paths[start : start + _BLOCK] for start in range(0, len(paths), _BLOCK)]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from _ahead(pool, partial(_block, longest=longest), blocks, 2 * threads)
    finally:
        torch.set_num_threads(before)  # some of it is the process's own


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[Path]], list[_Sound]],
    blocks: Iterable[Sequence[Path]],
    most: int,
) -> Iterator[_Sound]:
    waiting: deque[Future[list[_Sound]]] = deque()
    for block in blocks:
        waiting.append(pool.submit(work, block))
        if len(waiting) > most:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _block(paths: Sequence[Path], longest: int | None) -> list[_Sound]:
    """Neighbours of one length are computed together."""
    sounds = []
    for length, group in groupby((_wave(path, longest) for path in paths), lambda one: len(one[0])):
        waves, notes = zip(*group, strict=True)
        if length == 0:
            sounds += [_UNREADABLE] * len(waves)
            continue
        frames = log_mel(torch.stack(waves)).half().numpy()
        sounds += [
            _Sound(np.ascontiguousarray(one), found) if np.isfinite(one).all() else _UNREADABLE
            for one, found in zip(frames, notes, strict=True)
        ]
    return sounds


_UNREADABLE = _Sound(None, ("unreadable",))


def _wave(path: Path, longest: int | None) -> tuple[Tensor, tuple[str, ...]]:
    """One channel at 16 kHz (n,), and what was found or done; no sample where the file is damaged."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        usable = len(samples) > 0 and _can_resample(rate) and not _is_cut_short(path)
    except (soundfile.SoundFileError, OSError):
        usable = False
    if not usable:
        return torch.empty(0), ()
    wave = torch.from_numpy(samples).mean(dim=1)
    notes = [] if wave.any() else ["silent"]
    if rate != RATE:
        notes.append("resampled")
        wave = _resampler(rate)(wave)
    if len(wave) < RATE:
        notes.append("padded")
        wave = nn.functional.pad(wave, (0, RATE - len(wave)))
    if longest is not None and len(wave) > longest:
        notes.append("cut")
        wave = wave[:longest]
    return wave, tuple(notes)


def _is_cut_short(path: Path) -> bool:
    """Whether a wav file is shorter than its own header says; libsndfile reads what is left without a word."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] != b"RIFF":
        return False
    (size,) = struct.unpack("<I", head[4:])
    # without the 8 bytes themselves, which some programs count; those that write into a pipe give no size
    return bool(path.stat().st_size < size < 0x7FFFF000)


def _can_resample(rate: int) -> bool:
    common = gcd(rate, RATE)
    return rate > 0 and (rate // common) * (RATE // common) <= _LARGEST_KERNEL


@lru_cache(maxsize=8)
def _resampler(rate: int) -> nn.Module:
    resampler: nn.Module = transforms.Resample(rate, RATE)
    return resampler


@lru_cache(maxsize=1)
def _log_mel_layers() -> nn.Module:
    mel = transforms.MelSpectrogram(RATE, n_fft=400, hop_length=HOP, n_mels=BANDS, power=2.0)
    return nn.Sequential(mel, transforms.AmplitudeToDB("power"))


def _shown(sounds: Iterable[_Sound], total: int) -> Iterator[_Sound]:
    """The same, with a line on a terminal that counts them if it takes long."""
    due = time.monotonic() + 3 if sys.stderr.isatty() else float("inf")
    line = False
    for number, sound in enumerate(sounds):
        if time.monotonic() > due:
            print(f"\rpreparing sounds: {number} of {total}", end="", file=sys.stderr, flush=True)
            due, line = time.monotonic() + 0.5, True
        yield sound
    if line:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
