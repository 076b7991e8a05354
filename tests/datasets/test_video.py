import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.fishbowl import FishBowl, FishBowlOptions
from amodal_bench.datasets.fishbowl import video as _video
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.masks import rle
from amodal_bench.plugin import Location
from amodal_bench.types import Image

HEIGHT, WIDTH, FRAMES = 20, 32, 8


def picture(frame: int) -> Image:
    image = np.full((HEIGHT, WIDTH, 3), 30 * frame, dtype=np.uint8)
    image[:, :16, 0] = 200
    return image


def write_video(path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'amodal-bench[video]'")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        for frame in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(frame), format="rgb24")))
        container.mux(stream.encode())


def write_clip(root: Path) -> None:
    """One fish that fills the frame, and no video yet."""
    code = rle.encode(np.ones((HEIGHT, WIDTH), dtype=np.bool_))
    mask = {"size": code["size"], "counts": code["counts"].decode()}
    for name in ("00000", "00000_object1"):
        (root / name).mkdir(parents=True)
        (root / name / "objects.json").write_text(json.dumps([{"id": 1, "masks": [mask] * FRAMES}]))


def opened(root: Path) -> FishBowl:
    return FishBowl(Location(name="fishbowl", root=root, cache=root.parent / "cache"), "test", FishBowlOptions())


def test_frames_come_from_the_video_in_any_order(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    write_video(tmp_path / "data" / "00000" / "video.mp4")
    dataset = opened(tmp_path / "data")
    assert len(dataset) == FRAMES
    for frame in (0, 1, 7, 2, 0, 6, 5):
        image = dataset[frame].query.image
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert image.dtype == np.uint8
        assert np.abs(image.astype(int) - picture(frame)).max() <= 4


def test_a_video_is_decoded_once_for_frames_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "video.mp4")
    starts: list[Path] = []
    decode = _video._decode
    monkeypatch.setattr(_video, "_decode", lambda path: decode(starts.append(path) or path))  # type: ignore[func-returns-value]
    for frame in (0, 0, 1, 2, 1, 4, 6):
        _video.read_frame(tmp_path / "video.mp4", frame)
    assert len(starts) == 1
    _video.read_frame(tmp_path / "video.mp4", 0)
    assert len(starts) == 2


def test_a_video_without_the_frame_or_damaged_is_a_bad_record(tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4")
    with pytest.raises(BadRecord, match=r"video\.mp4: frame 8 was asked for, it has 8 frames"):
        _video.read_frame(tmp_path / "video.mp4", FRAMES)
    assert _video.read_frame(tmp_path / "video.mp4", FRAMES - 1).shape == (HEIGHT, WIDTH, 3)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "video.mp4").read_bytes()[:200])
    for name in ("cut.mp4", "none.mp4", "cut.mp4"):
        with pytest.raises(BadRecord, match=rf"{name}: not a readable video"):
            _video.read_frame(tmp_path / name, 0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "an empty file"),
        ("<html>", "an HTML page"),
        ("#EXTM3U\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n", "of no kind that is known"),
        ("ffconcat version 1.0\nfile other.mp4\n", "of no kind that is known"),
    ],
)
def test_what_is_no_video_is_told_and_opens_no_other(tmp_path: Path, content: str, told: str) -> None:
    write_video(tmp_path / "other.mp4")
    (tmp_path / "video.mp4").write_text(content)
    with pytest.raises(BadRecord, match=rf"video\.mp4: not a readable video: {told}"):
        _video.read_frame(tmp_path / "video.mp4", 0)


def test_without_pyav_a_video_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "data")
    (tmp_path / "data" / "00000" / "video.mp4").write_bytes(b"")
    monkeypatch.setattr(_video, "find_spec", lambda name: None if name == "av" else find_spec(name))
    with pytest.raises(DatasetNotReady, match=r"needs PyAV: pip install 'amodal-bench\[video\]' \(or extract"):
        opened(tmp_path / "data")


def test_the_real_video_shows_the_real_frames() -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install 'amodal-bench[video]'")
    folder = os.environ.get("AMODAL_BENCH_REAL_DATA")
    if not folder:
        pytest.skip("set AMODAL_BENCH_REAL_DATA to a folder that holds fishbowl_mini/ (four rendered clips)")
    clip = Path(folder) / "fishbowl_mini" / "00002"
    stills = [np.asarray(PIL.Image.open(clip / "frames" / f"{frame:05d}.png").convert("RGB")) for frame in range(8)]
    for frame in (0, 7, 3):
        decoded = _video.read_frame(clip / "video.mp4", frame).astype(int)
        distances = [np.abs(decoded - still).mean() for still in stills]
        assert int(np.argmin(distances)) == frame
