"""Pictures as files that are either whole or absent."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import cv2

from extraction.draw import Image
from extraction.errors import JobError


@contextlib.contextmanager
def whole_or_absent(path: str) -> Iterator[str]:
    """A file that appears when it is finished; its folder is made where it is missing.

    Args:
        path: Of the file.

    Yields:
        The path to write to meanwhile, with the same extension. What is there is deleted if the block fails.

    Raises:
        JobError: If the folder or the file cannot be written.
    """
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(os.path.splitext(path)[1], ".landmarks-", folder)
        os.close(handle)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    except OSError as error:
        why = error.strerror or error
        raise JobError(f"{path}: cannot be written: {why}: choose another folder with --to") from error


def write_png(path: str, picture: Image) -> None:
    """Writes a picture.

    Args:
        path: Of the file.
        picture: uint8 (H, W, 3), RGB.

    Raises:
        JobError: If the file cannot be written.
    """
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    with whole_or_absent(path) as temporary, open(temporary, "wb") as file:
        file.write(data.tobytes())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
