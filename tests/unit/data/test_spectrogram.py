"""Spectrograms against an independent computation, and what becomes of files that are not as they should be."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from topotune.data.spectrogram import BANDS, RATE, log_mel, write_spectrograms
from topotune.errors import InputError

Wave = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _mel(hertz: Wave) -> Wave:
    return 2595 * np.log10(1 + hertz / 700)


def _expected(wave: Wave) -> Wave:
    """Log-mel decibels (F, 64) by the formulas, frame by frame, in float64."""
    padded = np.pad(wave, 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    count = 1 + len(wave) // 160
    power = np.stack([np.abs(np.fft.rfft(window * padded[at * 160 : at * 160 + 400])) ** 2 for at in range(count)])
    corners = 700 * (10 ** (np.linspace(0, _mel(np.array(8000.0)), BANDS + 2) / 2595) - 1)
    hertz = np.arange(201) * 40.0
    left, top, right = corners[:-2], corners[1:-1], corners[2:]
    up = (hertz[:, None] - left) / (top - left)
    down = (right - hertz[:, None]) / (right - top)
    return 10 * np.log10(np.maximum(power @ np.maximum(0, np.minimum(up, down)), 1e-10))


def _band(hertz: float) -> int:
    """The band whose centre is nearest, on the mel scale."""
    centres = np.linspace(0, _mel(np.array(8000.0)), BANDS + 2)[1:-1]
    return int(np.abs(centres - _mel(np.array(hertz))).argmin())


def _tone(hertz: float, seconds: float = 1, rate: int = RATE, amplitude: float = 0.5) -> Wave:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def _save(path: Path, wave: Wave, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, wave, rate, subtype=subtype)
    return path


def _prepare(out: Path, *paths: Path, **options: object) -> tuple[dict[str, object], list[np.ndarray]]:
    """What is said of these files, and each one's frames."""
    out.mkdir(exist_ok=True)
    said = write_spectrograms(out, [(path, number) for number, path in enumerate(paths)], **options)  # type: ignore[arg-type]
    images, clips = np.load(out / "images.npy"), np.load(out / "clips.npy")
    assert images.dtype == np.float16
    assert images.shape == (clips[:, 1].sum(), BANDS)
    assert clips[:, 0].tolist() == [0, *clips[:, 1].cumsum()[:-1]]
    return said, [images[first : first + count] for first, count in clips]


def _voices(folder: Path, count: int) -> list[Path]:
    """Noises of half a second to two."""
    noise = np.random.default_rng(0)
    lengths = noise.integers(8000, 32000, count)
    return [_save(folder / f"{n:03}.wav", noise.normal(0, 0.1, length)) for n, length in enumerate(lengths)]


@pytest.mark.parametrize("samples", [16000, 16159, 16160, 40007])
def test_values_are_those_of_the_formulas(samples: int, tmp_path: Path) -> None:
    wave = np.random.default_rng(samples).normal(0, 0.1, samples) + _tone(1234, samples / RATE)
    path = _save(tmp_path / "a.wav", wave.clip(-1, 1))
    said, (frames,) = _prepare(tmp_path / "out", path)
    assert frames.shape == (1 + samples // 160, BANDS)
    expected = _expected(soundfile.read(path)[0])
    np.testing.assert_allclose(frames, expected, atol=0.05)  # float16: a step of 1/32 from 32 to 64
    assert said["notes"] == {}


def test_a_real_word_has_the_values_of_the_formulas(real_data: Path) -> None:
    path = sorted((real_data / "SpeechCommands").glob("*/go/*.wav"))[0]
    wave, rate = soundfile.read(path)
    assert rate == RATE
    found = log_mel(torch.from_numpy(wave).float().unsqueeze(0))[0]
    expected = _expected(wave)
    assert found.shape == expected.shape == (101, BANDS)
    loud = expected > -80  # below, float32's rounding shows
    np.testing.assert_allclose(found[torch.from_numpy(loud)], expected[loud], atol=0.01)


def test_decibels_of_a_known_amplitude() -> None:
    """A tone on bin k of the transform: |X|² = (A · Σ window / 2)², spread over three bins as 1/4, 1, 1/4 of that."""
    tone = torch.from_numpy(_tone(4000, amplitude=0.5)).float()
    power = (0.5 * 200 / 2) ** 2
    frame = log_mel(tone.unsqueeze(0))[0, 50]
    assert float((10 ** (frame / 10)).max()) < power * 1.5
    assert float(frame.max()) == pytest.approx(_expected(_tone(4000))[50].max(), abs=1e-3)
    half = log_mel(tone.unsqueeze(0) / 2)[0, 50]
    assert float(frame.max() - half.max()) == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert log_mel(torch.zeros(1, 16000)).unique().tolist() == [-100]


TONES = [
    (hertz, rate)
    for rate in (8000, 16000, 22050, 44100, 48000)
    for hertz in (150, 440, 1000, 3000, 6000)
    if hertz < rate / 2
]


@pytest.mark.parametrize(("hertz", "rate"), TONES)
def test_a_tone_is_in_its_band_at_any_rate(hertz: int, rate: int, tmp_path: Path) -> None:
    said, (frames,) = _prepare(tmp_path / "out", _save(tmp_path / "a.wav", _tone(hertz, 2, rate), rate))
    assert frames.shape == (201, BANDS)
    assert abs(int(frames[100].argmax()) - _band(hertz)) <= 1
    np.testing.assert_allclose(frames[100].max(), _expected(_tone(hertz, 2))[100].max(), atol=0.6)
    assert said["notes"] == ({} if rate == RATE else {"resampled": 1})


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = _tone(440), _tone(2000, amplitude=0.2)
    stereo = _save(tmp_path / "stereo.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    mono = _save(tmp_path / "mono.wav", (left + right) / 2, subtype="FLOAT")
    opposite = _save(tmp_path / "opposite.wav", np.stack([left, -left], axis=1), subtype="FLOAT")
    said, (one, other, silence) = _prepare(tmp_path / "out", stereo, mono, opposite)
    np.testing.assert_allclose(one, other, atol=0.07)
    assert np.unique(silence).tolist() == [-100]
    assert said["notes"] == {"silent": 1}


def test_a_short_clip_is_padded_at_its_end(tmp_path: Path) -> None:
    said, (frames,) = _prepare(tmp_path / "out", _save(tmp_path / "a.wav", _tone(440, 0.5)))
    assert frames.shape == (101, BANDS)
    assert (frames[52:] == -100).all()
    assert (frames[:48].max(axis=1) > 20).all()
    assert said["notes"] == {"padded": 1}


def test_a_long_clip_is_cut_where_that_is_asked_for(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.wav", np.concatenate([_tone(440), _tone(3000)]))
    said, (whole,) = _prepare(tmp_path / "whole", path)
    assert (whole.shape, said["notes"]) == ((201, BANDS), {})
    said, (frames,) = _prepare(tmp_path / "cut", path, longest=RATE)
    assert (frames.shape, said["notes"]) == ((101, BANDS), {"cut": 1})
    np.testing.assert_array_equal(frames[:99], whole[:99])


def test_mean_and_deviation_are_of_the_values_written(tmp_path: Path) -> None:
    said, frames = _prepare(tmp_path / "out", *_voices(tmp_path, 12))
    values = np.concatenate(frames).astype(np.float64)
    assert said["mean"] == [pytest.approx(values.mean(), rel=1e-12)]
    assert said["std"] == [pytest.approx(values.std(), rel=1e-9)]
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "labels.npy"), np.arange(12))


def test_threads_change_nothing(tmp_path: Path) -> None:
    """Not the bytes, not what is said, and not how many torch has in a new thread of the process."""
    paths = _voices(tmp_path, 70)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    results = []
    for threads in (1, 2, 7):
        out = tmp_path / str(threads)
        said, _ = _prepare(out, *paths, threads=threads)
        results.append((said, [(out / f"{name}.npy").read_bytes() for name in ("images", "clips", "labels")]))
    assert results[0] == results[1] == results[2]
    with ThreadPoolExecutor(1) as pool:
        after = [torch.get_num_threads(), pool.submit(torch.get_num_threads).result()]
    torch.set_num_threads(before)
    assert after == [3, 3]


def test_a_clip_is_the_same_whatever_its_neighbours(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    paths = [_save(tmp_path / f"{number}.wav", noise.normal(0, 0.1, 16000)) for number in range(8)]
    _, together = _prepare(tmp_path / "out", *paths)
    for number, path in enumerate(paths):
        _, (alone,) = _prepare(tmp_path / "alone", path)
        np.testing.assert_allclose(alone, together[number], atol=0.04)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _no_samples(path: Path) -> None:
    _save(path, np.zeros(0))


def _text(path: Path) -> None:
    path.write_text("404 Not Found\n")


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def _header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def _nan(path: Path) -> None:
    wave = _tone(440)
    wave[7000] = np.nan
    _save(path, wave, subtype="FLOAT")


def _infinite(path: Path) -> None:
    _save(path, np.full(16000, np.inf), subtype="FLOAT")


def _odd_rate(path: Path) -> None:
    _save(path, _tone(440), rate=44099)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [_empty, _no_samples, _text, _cut_short, _header_only, _nan, _infinite, _odd_rate, _folder]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_in_a_hundred_is_left_out(damage: object, tmp_path: Path) -> None:
    tone = _save(tmp_path / "a.wav", _tone(440))
    bad = _save(tmp_path / "bad.wav", _tone(440))
    damage(bad)  # type: ignore[operator]
    paths = [tone] * 49 + [bad] + [tone] * 50
    said, frames = _prepare(tmp_path / "out", *paths)
    assert said["notes"] == {"unreadable": 1}
    assert len(frames) == 99
    assert np.load(tmp_path / "out" / "labels.npy").tolist() == [*range(49), *range(50, 100)]
    with pytest.raises(InputError) as error:
        _prepare(tmp_path / "out", *paths[1:])
    assert str(error.value) == (
        f"1 of 99 clips cannot be used (1 unreadable): {bad}; at most 1% may be left out: fetch them again, or take "
        "them out of the lists"
    )


def test_missing_and_unreadable_clips_count_together(tmp_path: Path) -> None:
    tone = _save(tmp_path / "z.wav", _tone(440))
    bad = tmp_path / "b.wav"
    _empty(bad)
    gone = [tmp_path / f"{name}.wav" for name in "cdea"]
    said, _ = _prepare(tmp_path / "out", *[tone] * 198, bad, missing=gone[:1])
    assert said["notes"] == {"missing": 1, "unreadable": 1}
    with pytest.raises(
        InputError, match=r"^2 of 199 clips cannot be used \(1 missing, 1 unreadable\): .*b.wav, .*c.wav; "
    ):
        _prepare(tmp_path / "out", *[tone] * 197, bad, missing=gone[:1])
    with pytest.raises(InputError, match=r"^4 of 104 clips .*\(4 missing\): \S*a.wav, \S*c.wav, \S*d.wav, …; at most"):
        _prepare(tmp_path / "out", *[tone] * 100, missing=gone)


def test_a_file_with_more_than_its_header_says_is_read(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.wav", _tone(440))
    path.write_bytes(path.read_bytes() + b"made with love")
    said, (frames,) = _prepare(tmp_path / "out", path)
    assert (frames.shape, said["notes"]) == ((101, BANDS), {})


def test_a_file_written_into_a_pipe_is_read(tmp_path: Path) -> None:
    """Programs that cannot go back to the header write the largest size."""
    path = _save(tmp_path / "a.wav", _tone(440))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    said, (frames,) = _prepare(tmp_path / "out", path)
    assert (frames.shape, said["notes"]) == ((101, BANDS), {})


def test_silence_is_kept_among_sounds_but_not_alone(tmp_path: Path) -> None:
    silence = _save(tmp_path / "silence.wav", np.zeros(16000))
    said, frames = _prepare(tmp_path / "out", silence, _save(tmp_path / "a.wav", _tone(440)), silence)
    assert said["notes"] == {"silent": 2}
    assert len(frames) == 3
    with pytest.raises(InputError, match=r"silence\.wav and all other clips \(3\) are silent"):
        _prepare(tmp_path / "out", *[silence] * 3)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_on_a_terminal_only_and_only_if_it_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [_save(tmp_path / "a.wav", _tone(440))] * 20
    _prepare(tmp_path / "out", *paths)
    assert capsys.readouterr() == ("", "")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _prepare(tmp_path / "out", *paths)
    assert terminal.getvalue() == ""
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    _prepare(tmp_path / "out", *paths)
    assert "\rpreparing sounds: 3 of 20\rpreparing sounds: " in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert capsys.readouterr().out == ""
