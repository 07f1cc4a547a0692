"""SpeechCommands: the official lists and labels, and what is said of folders that are not as they should be."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from topotune.data import PARTS
from topotune.data.batches import evaluation_batches, training_batches
from topotune.data.speech import FOLDER, SHA256, URL, WORDS, SpeechCommands
from topotune.data.splits import forget_splits, load_split
from topotune.errors import InputError

LISTS = ("validation_list.txt", "testing_list.txt")


def _say(folder: Path, word: str, name: str, hertz: float = 440) -> None:
    (folder / word).mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / word / name, 0.3 * np.sin(np.arange(16000) * hertz * 2 * np.pi / 16000), 16000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two words of 6 clips each: 4, 1 and 1."""
    folder = tmp_path / FOLDER
    for word in ("yes", "bed"):
        for number in range(6):
            _say(folder, word, f"{number}.wav", 300 + 100 * number)
    (folder / LISTS[0]).write_text("yes/4.wav\nbed/4.wav\n")
    (folder / LISTS[1]).write_text("yes/5.wav\nbed/5.wav\n")
    return folder


def _labels(root: Path, part: str) -> list[int]:
    out = root / "out"
    out.mkdir(exist_ok=True)
    SpeechCommands().prepare(root, part, out)
    labels: list[int] = np.load(out / "labels.npy").tolist()
    return labels


def test_labels_are_places_in_the_alphabet() -> None:
    assert len(WORDS) == len(set(WORDS)) == 35
    assert list(WORDS) == sorted(WORDS)


def test_words_of_the_official_archive(real_data: Path) -> None:
    there = [path.name for path in (real_data / FOLDER).iterdir() if path.is_dir()]
    assert there
    assert set(there) <= set(WORDS)


def test_the_lists_part_the_clips(folder: Path, tmp_path: Path) -> None:
    reader = SpeechCommands()
    lists = [folder / name for name in LISTS]
    assert reader.files(tmp_path, "validation") == [folder / "bed/4.wav", folder / "yes/4.wav", *lists]
    assert reader.files(tmp_path, "test") == [folder / "bed/5.wav", folder / "yes/5.wav", *lists]
    training = [folder / word / f"{number}.wav" for word in ("bed", "yes") for number in range(4)]
    assert reader.files(tmp_path, "train") == [*training, *lists]
    assert _labels(tmp_path, "train") == [1] * 4 + [33] * 4
    assert _labels(tmp_path, "test") == [1, 33]


def test_a_word_has_its_label_when_others_are_away(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "bed")
    assert _labels(tmp_path, "train") == [33] * 4
    assert _labels(tmp_path, "test") == [33]


def test_noise_and_hidden_files_are_no_words(folder: Path, tmp_path: Path) -> None:
    before = SpeechCommands().files(tmp_path, "train")
    _say(folder, "_background_noise_", "white.wav")
    _say(folder, "yes", "._0.wav")
    (folder / ".cache").mkdir()
    (folder / "yes" / "notes.txt").write_text("all by one speaker\n")
    (folder / "README.md").write_text("Speech Commands\n")
    assert SpeechCommands().files(tmp_path, "train") == before


def test_a_folder_that_is_no_word_is_an_error(folder: Path, tmp_path: Path) -> None:
    _say(folder, "banana", "0.wav")
    with pytest.raises(InputError, match="banana is none of the 35 words; choose from backward, bed, "):
        SpeechCommands().files(tmp_path, "train")


def test_what_is_missing_is_named_with_a_way_to_get_it(folder: Path, tmp_path: Path) -> None:
    reader = SpeechCommands()
    with pytest.raises(InputError, match="dataset 'speechcommands' needs the folder that holds it: --data FOLDER"):
        reader.files(None, "train")
    for path in (folder / LISTS[0], folder / LISTS[1], folder):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with pytest.raises(
            InputError,
            match=r"is missing; (move .* away, and then )?--download fetches SpeechCommands .* or unpack http",
        ) as error:
            reader.files(tmp_path, "train")
        assert str(error.value).startswith(f"{path} is missing")
        if path != folder:
            path.write_text("")


def test_a_part_without_clips_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / LISTS[1]).write_text("")
    with pytest.raises(InputError, match="has no clip of the test part"):
        SpeechCommands().files(tmp_path, "test")
    SpeechCommands().files(tmp_path, "train")


@pytest.mark.parametrize("line", ["yes", "yes/4", "banana/4.wav", "yes/../4.wav", "", "/4.wav"])
def test_a_damaged_list_is_an_error(line: str, folder: Path, tmp_path: Path) -> None:
    (folder / LISTS[0]).write_text(f"bed/4.wav\n{line}\nbed/3.wav\n")
    with pytest.raises(InputError) as error:
        SpeechCommands().files(tmp_path, "train")
    expected = f"{folder / LISTS[0]}, line 2: {line!r} is no clip; it should be <word>/<file>.wav"
    assert str(error.value) == expected


def test_a_list_that_is_no_text_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / LISTS[0]).write_bytes(b"yes/\xff.wav\n")
    with pytest.raises(InputError, match=r"validation_list\.txt cannot be read"):
        SpeechCommands().files(tmp_path, "train")


def test_a_clip_stands_once_in_one_list(folder: Path, tmp_path: Path) -> None:
    (folder / LISTS[0]).write_text("yes/4.wav\nbed/4.wav\nyes/4.wav\n")
    with pytest.raises(InputError, match=r"validation_list\.txt: yes/4\.wav stands there 2 times; it should once"):
        SpeechCommands().files(tmp_path, "train")
    (folder / LISTS[0]).write_text("yes/4.wav\nyes/5.wav\n")
    with pytest.raises(InputError, match=r"yes/5\.wav stands in both lists"):
        SpeechCommands().files(tmp_path, "train")


def test_a_listed_clip_in_a_hundred_may_be_missing(folder: Path, tmp_path: Path) -> None:
    for number in range(100, 199):
        shutil.copyfile(folder / "bed/4.wav", folder / "bed" / f"{number}.wav")
    names = [f"bed/{number}.wav" for number in range(100, 200)]
    (folder / LISTS[1]).write_text("\n".join(names) + "\n")
    split = load_split("speechcommands", "test", tmp_path)
    assert (len(split), split.notes) == (99, {"missing": 1})
    (folder / names[7]).unlink()
    forget_splits()
    with pytest.raises(
        InputError, match=r"^2 of 100 clips cannot be used \(2 missing\): \S*bed/107.wav, \S*bed/199.wav;"
    ):
        load_split("speechcommands", "test", tmp_path)


def test_nothing_is_kept_of_a_part_that_fails(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPOTUNE_CACHE", str(tmp_path / "cache"))
    (folder / "yes" / "0.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"^1 of 8 clips cannot be used \(1 unreadable\): \S*yes/0\.wav;"):
        load_split("speechcommands", "train", tmp_path)
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_clips_are_a_second_long(folder: Path, tmp_path: Path) -> None:
    soundfile.write(folder / "yes/0.wav", np.ones(8000) * 0.1, 16000)
    soundfile.write(folder / "yes/1.wav", np.ones(20000) * 0.1, 16000)
    soundfile.write(folder / "yes/2.wav", np.ones(22050) * 0.1, 22050)
    soundfile.write(folder / "yes/3.wav", np.zeros(16000), 16000)
    split = load_split("speechcommands", "train", tmp_path)
    assert split.clips is not None
    assert split.clips[:, 1].tolist() == [101] * 8
    assert split.notes == {"cut": 1, "padded": 1, "resampled": 1, "silent": 1}


def test_real_clips_from_files_to_batches(real_data: Path) -> None:
    sizes = {"train": 180, "validation": 60, "test": 60}
    splits = {part: load_split("speechcommands", part, real_data) for part in PARTS}
    for part, split in splits.items():
        count = sizes[part]
        assert split.clips is not None
        assert (split.images.shape, split.images.dtype) == ((101 * count, 64), torch.float16)
        assert split.clips.tolist() == [[101 * n, 101] for n in range(count)]
        assert (split.labels.shape, split.labels.dtype) == ((count,), torch.int64)
        assert torch.bincount(split.labels).unique().tolist() == [0, count // 10]
        assert split.notes == {}
        assert (split.entry.mean, split.entry.std) == (splits["train"].entry.mean, splits["train"].entry.std)
        (batch,) = evaluation_batches(split, count)
        assert batch.images.shape == (count, 1, 64, 101)
        assert batch.owner is None or batch.owner.tolist() == list(range(count))
    images = torch.cat([batch.images for batch in training_batches(splits["train"], 60, 0, augment=True)])
    assert images.shape == (180, 1, 64, 101)
    assert float(images.double().mean()) == pytest.approx(0, abs=1e-5)
    assert float(images.double().std()) == pytest.approx(1, abs=1e-5)


def test_the_checksum_is_the_same_when_prepared_anew(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_split("speechcommands", "test", real_data)
    forget_splits()
    monkeypatch.setenv("TOPOTUNE_CACHE", str(tmp_path))
    again = load_split("speechcommands", "test", real_data)
    assert again.checksum == first.checksum
    assert any(tmp_path.iterdir())
    assert not torch.equal(again.images[:101], again.images[101:202])


def _archive(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())


def test_fetch_unpacks_the_official_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(url: str, to: Path, sha256: str | None = None, md5: str | None = None) -> None:
        asked.append((url, sha256))
        _archive(to, ["./yes/0.wav", *(f"./{name}" for name in LISTS)])

    monkeypatch.setattr("topotune.data.speech.download", download)
    SpeechCommands().fetch(tmp_path)
    assert asked == [(URL, SHA256)]
    home = tmp_path / "SpeechCommands"
    assert [path.name for path in home.iterdir()] == ["speech_commands_v0.02"]
    names = [path.relative_to(tmp_path / FOLDER).as_posix() for path in sorted((tmp_path / FOLDER).rglob("*.*"))]
    assert names == [*reversed(LISTS), "yes/0.wav"]
    SpeechCommands().fetch(tmp_path)
    assert len(asked) == 1


def test_fetch_leaves_nothing_of_an_archive_that_does_not_unpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "topotune.data.speech.download", lambda url, to, **_: _archive(to, ["yes/0.wav", "../../outside.wav"])
    )
    with pytest.raises(InputError, match=r"speech_commands_v0\.02\.tar\.gz cannot be unpacked into"):
        SpeechCommands().fetch(tmp_path)
    assert [path.name for path in (tmp_path / "SpeechCommands").iterdir()] == [URL.rpartition("/")[2]]
    assert not (tmp_path / "outside.wav").exists()


def test_torchaudio_expects_the_same_archive() -> None:
    from torchaudio.datasets import speechcommands

    assert speechcommands._CHECKSUMS[URL] == SHA256
