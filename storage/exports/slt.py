"""Sign Language Transformers (neccam/slt): a gzipped list a split, one flat vector of features a frame."""

import gzip
from collections.abc import Iterator
from typing import IO

import numpy as np

from storage.exports.pickling import ListOf, dump, tensor
from storage.exports.protocol import ExportRun, Format, file_a_split
from storage.stored import StoredClip

# Floats of landmarks hardly compress: level 9 takes ten times the time for a hundredth of the size.
_LEVEL = 1


def _write(file: IO[bytes], clips: Iterator[StoredClip], run: ExportRun) -> None:
    # Without a name and a time in its header, so that the same clips give the same bytes.
    with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
        dump(packed, ListOf(_sample(clip, run) for clip in clips))


def _sample(clip: StoredClip, run: ExportRun) -> dict[str, object]:
    flat = [clip.landmarks.parts[part].reshape(len(clip.landmarks), -1) for part in run.parts]
    features = np.concatenate(flat, axis=1)
    return {
        "name": clip.clip_id,
        "signer": clip.text_of("signer"),
        "gloss": clip.text_of("gloss"),
        "text": clip.text_of("text"),
        "sign": tensor(np.where(np.isnan(features), np.float32(0), features), run.with_torch),
    }


FORMATS = (
    Format(
        name="slt",
        consumer="neccam/slt, and what reads its files: data.train, dev, test",
        structure="gzipped list of {'name', 'signer', 'gloss', 'text', 'sign': float32 (T, F)}, a file a "
        "split: PATH.train ...",
        layout="a frame's points one after another, x, y, z each: pose, left_hand, right_hand, face, or what "
        "--parts says. F (data.feature_size) is 3 times their number: 1629 with 468 face points, 225 with "
        "--parts pose,left_hand,right_hand",
        units="x, y as fractions of width and height, z as MediaPipe gives it",
        missing="0, for a part that was not found and for a frame that cannot be read",
        differs="features are landmarks instead of those of a network. slt adds to a torch tensor: as a "
        "NumPy array (export_options.tensors says which) each needs torch.from_numpy first",
        parts=("pose", "left_hand", "right_hand", "face"),
        file_of=file_a_split,
        write=_write,
        uses_tensors=True,
        accepts_parts=True,
    ),
)
