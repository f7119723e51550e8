"""Pictures, one after the other, in a file."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

Frame = UInt8[ndarray, "H W 3"]
FORMATS = (".gif", ".mp4")
_FRAME_MS = 160
_LAST = 8  # times as long


def film_writer(path: Path) -> Callable[[list[Frame]], None]:
    """What writes pictures to a file, after its suffix.

    Raises:
        ValueError: If the suffix is not of `FORMATS`.
        ImportError: If what writes films is not installed; names the extra.
    """
    if path.suffix == ".gif":
        return partial(_write_gif, path)
    if path.suffix != ".mp4":
        raise ValueError(f"{str(path)!r} must end in {' or '.join(FORMATS)}")
    try:
        importlib.import_module("imageio_ffmpeg")
    except ImportError as error:
        raise ImportError(
            'films need imageio-ffmpeg: pip install "rllib-dbf[video]", or write a .gif'
        ) from error
    return partial(_write_mp4, path)


def _write_gif(path: Path, frames: list[Frame]) -> None:
    from PIL import Image

    images = [Image.fromarray(frame).quantize() for frame in frames]
    durations = [_FRAME_MS] * (len(images) - 1) + [_LAST * _FRAME_MS]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)


def _write_mp4(path: Path, frames: list[Frame]) -> None:
    import imageio_ffmpeg

    height, width = (size - size % 2 for size in frames[0].shape[:2])  # the codec wants even sizes
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=1000 / _FRAME_MS, macro_block_size=1
    )
    writer.send(None)
    for frame in [*frames, *[frames[-1]] * (_LAST - 1)]:
        writer.send(frame[:height, :width].copy())
    writer.close()
