"""``make pictures``: the pictures of the README and of docs/pictures.md, from the clips of ``make demo``."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

from PIL import Image

from extraction.errors import JobError
from ray_jobs.cli import guarded, main

_DATA_SET = os.path.join("demo-out", "landmarks")
_CLIP, _OTHER = "dev/pan", "train/zoom"
_PAGE_WIDTH_PX, _PAGE_HEIGHT_PX, _SHOWN_WIDTH_PX = 1200, 2300, 800
_COLOURS, _QUALITY = 128, 85
"""Of the PNG of a page, and of the JPEGs: no difference is seen, and they are a third as large."""


def run() -> int:
    """Makes all pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", default=os.path.join("docs", "images"), help="folder for the pictures")
    arguments = parser.parse_args()
    return guarded(lambda: _make(arguments.to))


def _make(to: str) -> int:
    if not os.path.exists(os.path.join(_DATA_SET, "dataset.json")):
        raise JobError(f"{_DATA_SET}: expected the data set of the demo, found none: run `make demo` first")
    os.makedirs(to, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for options in (
            [_CLIP, "--video", "webp", "--every", "3", "--image-size", "260"],
            [_OTHER, "--sheet", "6", "--image-size", "260"],
            ["--num-samples", "2", "--seed", "1", "--image-size", "260", "--no-combined", "--no-grid"],
        ):
            if main(["draw", _DATA_SET, *options, "--to", work]) != 0:
                return 2
        shutil.copy(os.path.join(work, "dev_pan.webp"), os.path.join(to, "draw.webp"))
        _save(os.path.join(work, "train_zoom-sheet.png"), os.path.join(to, "sheet.jpg"))
        faces = sorted(name for name in os.listdir(work) if name.endswith("-face.png"))
        _save(os.path.join(work, faces[0]), os.path.join(to, "close-up.jpg"))
        _report(work, os.path.join(to, "report.png"))
    print(f"pictures: {to}: {', '.join(sorted(os.listdir(to)))}")
    return 0


def _save(source: str, to: str) -> None:
    with Image.open(source) as picture:
        picture.convert("RGB").save(to, quality=_QUALITY, optimize=True)


def _report(work: str, to: str) -> None:
    """The beginning of the report as a real browser shows it; left as it is where there is none."""
    program = shutil.which(os.environ.get("LANDMARKS_CHROMIUM") or "chromium")
    if program is None:
        print(f"no Chromium here: {to} was not made anew")
        return
    page, shot = os.path.join(work, "page.html"), os.path.join(work, "shot.png")
    main(["report", _DATA_SET, "--to", page])
    with open(page, encoding="utf-8") as file:
        html = file.read()
    # The folder in which somebody made the picture concerns nobody.
    with open(page, "w", encoding="utf-8") as file:
        file.write(html.replace(os.getcwd() + os.sep, ""))
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--hide-scrollbars",
    ]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    size = f"--window-size={_PAGE_WIDTH_PX},{_PAGE_HEIGHT_PX}"
    command = [
        program,
        *flags,
        size,
        f"--user-data-dir={work}/profile",
        f"--screenshot={shot}",
        f"file://{page}",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(shot) as picture:
        size_px = (_SHOWN_WIDTH_PX, _PAGE_HEIGHT_PX * _SHOWN_WIDTH_PX // _PAGE_WIDTH_PX)
        small = picture.convert("RGB").resize(size_px, Image.Resampling.LANCZOS)
        small.quantize(_COLOURS, dither=Image.Dither.NONE).save(to, optimize=True)


if __name__ == "__main__":
    sys.exit(run())
