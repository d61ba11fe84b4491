"""Sound written beside images and as wav, read back."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tapetum.core.errors import BadInput
from tapetum.video import open_video, write_video
from tapetum.video.sound import SoundTrack, has_sound, read_sound, wav_file

RATE = 16000


def tone(seconds: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def test_mp4_has_the_sound_at_its_time(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(RATE, np.float32), tone(1.0)])
    taken: list[int] = []

    def pieces():
        for number, piece in enumerate(np.array_split(sound, 7)):
            taken.append(number)
            yield piece

    def frames():
        for number in range(20):
            assert len(taken) <= 2 + number * 7 / 20, "pieces are taken as frames go on"
            yield np.full((32, 32, 3), 10 * number, np.uint8)

    path = write_video(tmp_path / "a.mp4", frames(), 10, sound=SoundTrack(pieces(), RATE))
    assert has_sound(path)
    with open_video(path) as video:
        assert len(video) == 20
    heard = read_sound(path, RATE)
    assert abs(len(heard) - len(sound)) <= 2048
    quiet, loud = np.abs(heard[: RATE - 1600]).max(), np.abs(heard[RATE + 1600 : 2 * RATE - 1600]).max()
    assert quiet < 0.02
    assert 0.4 < loud < 0.6
    one = [np.zeros((32, 32, 3), np.uint8)]
    assert has_sound(write_video(tmp_path / "b.mp4", one, 24, sound=SoundTrack([tone(1 / 24)], RATE)))


def test_wav_and_refusals(tmp_path: Path) -> None:
    with wav_file(tmp_path / "a.wav", RATE) as file:
        file.write(tone(0.5)[:100])
        file.write(tone(0.5)[100:])
    sample_rate, read = wavfile.read(tmp_path / "a.wav")
    assert sample_rate == RATE
    assert np.array_equal(read, np.round(tone(0.5) * 32767).astype(np.int16))
    frames = [np.zeros((16, 16, 3), np.uint8)] * 3
    with pytest.raises(BadInput, match="mp4"):
        write_video(tmp_path / "a.gif", frames, 10, sound=SoundTrack([tone(0.5)], RATE))
    both = np.stack([tone(0.5), 0 * tone(0.5)], 1)
    with pytest.raises(BadInput, match="shape"):
        write_video(tmp_path / "b.mp4", frames, 10, sound=SoundTrack([both], RATE))
    with pytest.raises(BadInput, match="shape"), wav_file(tmp_path / "c.wav", RATE) as file:
        file.write(both)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav"]
