"""A look over a folder for what tells data sets apart: files of annotations, and names of folders."""

import os
from dataclasses import dataclass

_MAX_DEPTH = 9
"""How2Sign's annotations lie six folders below the one that its download makes; ROOT may lie above that."""
_MAX_SUBFOLDERS = 500
"""More are clips: PHOENIX-2014-T has 519 in its smallest split."""
_MAX_FOLDERS = 4000
_ANNOTATION_EXTENSIONS = (".csv", ".json", ".pkl", ".tsv", ".txt")


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look over a folder found.

    Attributes:
        root: The folder.
        files: Paths of the files that can hold annotations, the nearest first.
        folders: Paths of the folders, the root included, the nearest first.
    """

    root: str
    files: tuple[str, ...]
    folders: tuple[str, ...]


def survey(root: str) -> Survey:
    """Looks over a folder and what lies in it, without going into folders of clips or frames.

    Args:
        root: A local folder; of a file, only the file is found.

    Returns:
        What was found; nothing where the folder cannot be listed.
    """
    root = os.path.abspath(root)
    files = [root] if os.path.isfile(root) else []
    folders: list[str] = []
    seen: set[str] = set()
    level = [root]
    for _ in range(_MAX_DEPTH + 1):
        below: list[str] = []
        for folder in level:
            real = os.path.realpath(folder)
            if real in seen or len(seen) >= _MAX_FOLDERS:
                continue
            seen.add(real)
            listed = _listed(folder)
            if listed is None:
                continue
            folders.append(folder)
            files += [os.path.join(folder, name) for name in listed[0]]
            if len(listed[1]) <= _MAX_SUBFOLDERS:
                below += [os.path.join(folder, name) for name in listed[1]]
        level = below
    return Survey(root, tuple(files), tuple(folders))


def files_in(folder: str) -> list[str]:
    """Paths of the files that directly lie in a folder and can hold annotations; none if it has no list."""
    listed = _listed(folder)
    return [os.path.join(folder, name) for name in listed[0]] if listed else []


def _listed(folder: str) -> tuple[list[str], list[str]] | None:
    """Names of the files that can hold annotations, and of the folders; None where it cannot be listed."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(_ANNOTATION_EXTENSIONS):
                    files.append(entry.name)
                elif entry.is_dir():
                    folders.append(entry.name)
    except OSError:
        return None
    return sorted(files), sorted(folders)
