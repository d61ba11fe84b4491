"""Sound: against the standard library's wave, and what is no sound."""

import io
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.video import write_video
from tapetum.video.sound import read_sound


def written(path: Path, samples: np.ndarray, sample_rate: int) -> Path:
    """int16 (n, channels) as a wav file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def tone(seconds: float, sample_rate: int, channels: int = 1, pitch: float = 440.0) -> np.ndarray:
    wave_ = 12000 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * sample_rate)) / sample_rate)
    return np.repeat(wave_[:, None], channels, 1).astype(np.int16)


def test_channels_are_averaged(tmp_path: Path) -> None:
    samples = tone(0.1, 8000, 2)
    samples[:, 1] = 0
    found = read_sound(written(tmp_path / "a.wav", samples, 8000), 8000)
    np.testing.assert_allclose(found, samples[:, 0] / 65536, atol=1e-4)


def test_another_rate_keeps_the_pitch(tmp_path: Path) -> None:
    found = read_sound(written(tmp_path / "a.wav", tone(1.0, 8000), 8000), 16000)
    assert abs(len(found) - 16000) <= 32
    assert np.abs(np.fft.rfft(found[:16000])).argmax() == pytest.approx(440 * len(found[:16000]) / 16000, abs=1)


def test_a_part_is_that_part(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", tone(1.0, 8000), 8000)
    whole = read_sound(path, 8000)
    assert np.array_equal(read_sound(path, 8000, seconds=0.50009), whole[:4001])  # of sample 4000.72
    assert len(read_sound(path, 8000, seconds=5)) == 8000


def test_the_sound_of_a_video(tmp_path: Path) -> None:
    samples = tone(1.0, 48000)
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        image, sound = out.add_stream("mpeg4", rate=10), out.add_stream("pcm_s16le", rate=48000, layout="mono")
        image.width = image.height = 64
        for k in range(10):
            out.mux(image.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * k, np.uint8))))
            part = av.AudioFrame.from_ndarray(samples[None, 4800 * k : 4800 * (k + 1), 0], "s16", "mono")
            part.sample_rate, part.pts = 48000, 4800 * k
            out.mux(sound.encode(part))
        out.mux(image.encode(None))
        out.mux(sound.encode(None))
    assert np.array_equal(read_sound(tmp_path / "a.mkv", 48000), samples[:, 0] / np.float32(32768))


def test_what_is_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    write_video(path, [np.zeros((16, 16, 3), np.uint8)] * 3, frame_rate=10)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "list.wav").write_text("ffconcat version 1.0\nfile silent.mp4\n")
    with pytest.raises(BadInput, match=r"silent\.mp4 has no sound"):
        read_sound(path, 8000)
    for name in ("text.wav", "list.wav"):
        with pytest.raises(BadInput, match=f"{name} cannot be decoded as sound"):
            read_sound(tmp_path / name, 8000)
    with pytest.raises(BadInput, match="there is no file"):
        read_sound(tmp_path / "none.wav", 8000)
    with pytest.raises(BadInput, match="row 3 cannot be decoded"):
        read_sound(io.BytesIO(b"x").getvalue(), 8000, name="row 3")
    with pytest.raises(BadInput, match="rate 0"):
        read_sound(path, 0)
