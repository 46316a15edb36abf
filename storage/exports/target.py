"""Where an export goes: one file, a file a split, or a folder; and the manifest beside it."""

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any, cast

from extraction.errors import JobError
from storage.exports.protocol import ClipEntry, Format
from storage.files import Store, is_temporary

MANIFEST = "manifest.json"
_MANIFEST_VERSION = 1
_SAVED_EVERY_S = 10.0
"""Of an export of many files, what a kill can cost."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file that stands; each field is a key of its entry in the manifest.

    Attributes:
        name: Relative to the manifest's folder.
        sha256: Of its bytes.
        bytes: Their number.
        clips: Number of clips in it; 0 for a list of the others.
        frames: Of all its clips.
        content: Digest of which extractions of which clips it was made from.
    """

    name: str
    sha256: str
    bytes: int
    clips: int
    frames: int
    content: str


class Target:
    """The place of one export.

    Args:
        to: PATH, as a user gave it: a local path, or a URI as of :class:`storage.files.Store`.
        known: The format.

    Attributes:
        store: The folder that all its files lie in.
        manifest_name: Of the manifest, in that folder.

    Raises:
        JobError: If PATH is a file and the format wants a folder, or the other way round.
    """

    def __init__(self, to: str, known: Format) -> None:
        path = to if "://" in to else os.path.abspath(to)
        if known.is_folder:
            self.store, self._base, self.manifest_name = Store(path), "", MANIFEST
            if self.store.is_file(""):
                raise JobError(
                    f"{self.store.location}: expected a folder for the files of --format {known.name}, found "
                    "a file: choose another --to"
                )
            return
        path, query, options = path.partition("?") if "://" in path else (path, "", "")
        folder, _, base = path.rpartition("/")
        if not base or to.endswith("/") or folder.endswith(":/"):
            raise JobError(
                f"{path}: expected the name of a file for --format {known.name}: choose another --to"
            )
        if not base.endswith(known.ending):
            raise JobError(
                f"{path}: what reads --format {known.name} wants a name that ends in {known.ending}: give "
                f"--to {path}{known.ending}"
            )
        self.store = Store((folder or "/") + query + options)
        self._base, self.manifest_name = base, f"{base}.{MANIFEST}"
        if self.store.exists(base) and not self.store.is_file(base):
            raise JobError(
                f"{self.store.full(base)}: expected the name of a file for --format {known.name}, found a "
                f"folder: give a name in it, such as --to {to}/landmarks"
            )

    @property
    def location(self) -> str:
        """The whole PATH, for messages."""
        return self.store.full(self._base)

    def name_of(self, relative: str) -> str:
        """A file's name in the store, from what :attr:`~storage.exports.protocol.Format.file_of` says."""
        return f"{self._base}{relative}"

    def written(self, identity: Mapping[str, object], names: Sequence[str]) -> dict[str, Written]:
        """Files that an earlier run of the same export wrote, by name.

        Args:
            identity: What makes two exports the same: parts of the manifest.
            names: Every file that this export will have.

        Raises:
            JobError: If PATH holds an export of something else, or anything that no export wrote.
        """
        if not self.store.exists(self.manifest_name):
            self._expect_free(names)
            self._sweep()
            return {}
        there = self._manifest()
        for key, now in identity.items():
            if there.get(key) != now:
                raise JobError(
                    f"{self.location}: holds another export ({key}: there {_short(there.get(key), now)}, now "
                    f"{_short(now, there.get(key))}): choose another --to, or delete what is there"
                )
        files = {entry["name"]: Written(**entry) for entry in there["files"]}
        if strays := sorted(name for name, file in files.items() if file.clips and name not in names):
            raise JobError(
                f"{self.location}: holds {strays[0]}{_and_more(strays)}, which the data set no longer has: "
                "choose another --to, or delete what is there"
            )
        self._sweep()
        return files

    def _sweep(self) -> None:
        """Deletes what killed runs of this export left half written."""
        if self.manifest_name == MANIFEST:
            self.store.sweep()
            return
        for name in self.store.entries():
            if is_temporary(name) and name.startswith(f".{self._base}."):
                self.store.delete(name)

    def _expect_free(self, names: Sequence[str]) -> None:
        entries = self.store.entries()
        if self.manifest_name == MANIFEST:
            taken = [name for name in entries if not is_temporary(name)]
        else:
            taken = sorted(set(entries) & set(names))
        if taken:
            raise JobError(
                f"{self.store.location}: holds {sorted(taken)[0]}{_and_more(taken)}, which no export wrote: "
                "choose another --to, or delete what is there"
            )

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest = json.loads(self.store.read(self.manifest_name))
            if not isinstance(manifest["files"], list):
                raise TypeError("files is no list")
            for entry in manifest["files"]:
                Written(**entry)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise JobError(
                f"{self.store.full(self.manifest_name)}: expected the manifest of an export, cannot read it: "
                f"{error}: choose another --to, or delete what is there"
            ) from error
        return dict(manifest)

    def stands(self, file: Written) -> bool:
        """Whether a file that is listed is there, as long as it was."""
        try:
            with self.store.open(file.name) as there:
                return bool(there.size() == file.bytes)
        except FileNotFoundError:
            return False

    @contextmanager
    def create(
        self, name: str, entries: Sequence[ClipEntry], files: dict[str, Written], frames: Callable[[], int]
    ) -> Iterator[IO[bytes]]:
        """Opens a file that will be whole or absent, and lists it when it is whole.

        Args:
            name: In the store.
            entries: Its clips.
            files: Where to list it.
            frames: Asked for their number when all are written.
        """
        with self.store.create(name) as raw:
            counted = _Counted(raw)
            yield cast(IO[bytes], counted)
        files[name] = Written(
            name, counted.sha256(), counted.tell(), len(entries), frames(), content(entries)
        )


class Manifest:
    """The manifest while an export runs.

    Args:
        target: Where.
        about: All that it says but the files.
        files: Those that stand, by name; what is put into it is listed when it is saved next.
    """

    def __init__(self, target: Target, about: Mapping[str, object], files: Mapping[str, Written]) -> None:
        self._target, self._about, self._files = target, about, files
        self._saved = -_SAVED_EVERY_S

    def save_at_times(self) -> None:
        """Saves it if that was long ago."""
        if time.monotonic() - self._saved >= _SAVED_EVERY_S:
            self.save(complete=False)

    def save(self, complete: bool) -> None:
        """Writes it, whole or not at all."""
        said = {
            "manifest_version": _MANIFEST_VERSION,
            "made_by": f"ray-landmarks {_version()}",
            "complete": complete,
            **self._about,
            "files": [asdict(self._files[name]) for name in sorted(self._files)],
        }
        self._target.store.write(self._target.manifest_name, json.dumps(said, indent=1).encode() + b"\n")
        self._saved = time.monotonic()


def content(entries: Sequence[ClipEntry]) -> str:
    """Digest of which extractions of which clips a file is made from."""
    return hashlib.sha256("".join(entry.digest for entry in entries).encode()).hexdigest()


class _Counted(io.RawIOBase):
    """A file for writing from the first byte to the last, which is what makes its digest cheap."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._hash, self._bytes = raw, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._raw.write(view)
        self._hash.update(view)
        self._bytes += len(view)
        return len(view)

    def tell(self) -> int:
        return self._bytes

    def sha256(self) -> str:
        return self._hash.hexdigest()


def _short(value: object, other: object) -> str:
    """A value for a message; of two dicts only what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {key: value[key] for key in value if value[key] != other.get(key)}
    return json.dumps(value)


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _version() -> str:
    try:
        return version("ray-landmarks")
    except PackageNotFoundError:
        return "(not installed)"
