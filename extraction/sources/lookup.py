"""Finding clips again by their ids, without looking at all others."""

import os

from extraction.clips import Clip, ClipKind, from_uri, printable
from extraction.errors import JobError
from extraction.sources.datasets.annotation import Annotation
from extraction.sources.datasets.locating import Located
from extraction.sources.datasets.matching import annotated, annotations_of, is_input
from extraction.sources.datasets.registry import find_dataset
from extraction.sources.datasets.tails import Tails
from extraction.sources.frame_folder import VIDEO_EXTENSIONS, natural_order, read_frame_folder
from extraction.sources.inputs import frames_clip, lone_level, video_clip
from extraction.sources.tree import list_tree


def find_clip(root: str, clip_id: str, dataset: str | None = None, annotations: str | None = None) -> Clip:
    """Finds the clip of an id; for many clips of one input, :class:`ClipFinder` reads what it needs once.

    Args:
        root: The folder of clips; with ``dataset``, the folder that was unpacked.
        clip_id: The clip's id in the data set of landmarks.
        dataset: Name of the data set that the folder is; None where it is any tree of clips.
        annotations: Where the data set's annotations lie, if not in ``root``.

    Raises:
        JobError: If it is not there, saying where it was looked for.
    """
    return ClipFinder(root, dataset, annotations).find(clip_id)


class ClipFinder:
    """Finds clips of one input by their ids; annotations are read once, folders listed only if they must be.

    Args:
        root: The folder of clips, or its ``file://`` URI; with ``dataset``, the folder that was unpacked.
        dataset: Name of the data set that the folder is, as ``dataset.json`` of the landmarks says it; None
            where it is any tree of clips.
        annotations: Where the data set's annotations lie, if not in ``root``.

    Raises:
        JobError: If the annotations cannot be read.
    """

    def __init__(self, root: str, dataset: str | None = None, annotations: str | None = None) -> None:
        root = from_uri(root)
        self._located: Located | None = None
        self._why = ""
        if dataset is not None:
            try:
                self._located = find_dataset(dataset, root, annotations)
            except JobError as error:
                # Of a data set whose ids are paths, the clips are found all the same.
                if annotations is not None or not os.path.isdir(root):
                    raise
                self._why = str(error)
        said = annotations_of(self._located)[0] if self._located else ()
        self._said = {annotation.clip_id: annotation for annotation in said}
        self._media = self._located.media if self._located and self._located.media else root
        self._listed: Tails[tuple[str, str, ClipKind]] | None = None

    def find(self, clip_id: str) -> Clip:
        """Finds the clip of an id, with its annotations and its range where it has them.

        Args:
            clip_id: The clip's id in the data set of landmarks.

        Raises:
            JobError: If it is not there, saying where it was looked for.
        """
        annotation = self._said.get(clip_id)
        if annotation is None and self._located and self._located.layout.takes_all:
            # The table is not given this time; its ids may have been ends of paths.
            clip = _in_tree(self._media, clip_id) or self._by_tail(clip_id)
        elif annotation is None:
            clip = _in_tree(self._media, clip_id)
        else:
            clip = self._annotated(annotation)
        if clip is None:
            raise JobError(self._not_there(clip_id, annotation))
        return clip

    def is_annotated(self, clip_id: str) -> bool:
        """Whether an annotation says which part of which input a clip is."""
        return clip_id in self._said

    def unspoken(self, clip_id: str) -> str:
        """Why no annotation says which part of which input a clip is; "" where one does, or none has to."""
        if clip_id in self._said:
            return ""
        if self._located is None or self._located.layout.takes_all:
            return self._why
        return f"{self._located.why} does not name it"

    def _annotated(self, annotation: Annotation) -> Clip | None:
        assert self._located
        layout = self._located.layout
        for source in annotation.sources:
            # A clip that lies where its tail says is the nearest to the top: no folder needs to be listed.
            found = _in_tree(self._media, source.tail)
            if found is None or not is_input(layout, found.clip_id, found.kind):
                found = self._by_tail(source.tail)
            if found is not None:
                return annotated(annotation, source, found, layout)
        return None

    def _by_tail(self, tail: str) -> Clip | None:
        assert self._located
        layout = self._located.layout
        if self._listed is None:
            inputs = {item[0]: item for item in list_tree(self._media) if is_input(layout, item[0], item[2])}
            self._listed = Tails((clip_id, inputs[clip_id]) for clip_id in natural_order(inputs))
        for clip_id, path, kind in self._listed.find(tail):
            return (
                video_clip(clip_id, path)
                if kind == "video"
                else frames_clip(clip_id, path, read_frame_folder(path))
            )
        return None

    def _not_there(self, clip_id: str, annotation: Annotation | None) -> str:
        if annotation is not None:
            tails = " or ".join(repr(source.tail) for source in annotation.sources)
            return (
                f"{clip_id!r}: expected its frames or video below {printable(self._media)}, as {tails} at "
                f"any depth, found neither ({annotation.where}); give the folder that was unpacked"
            )
        text = (
            f"{clip_id!r}: expected its frames in {printable(_path(self._media, clip_id))}, or a video of "
            "that name, found neither; give the folder that was FRAMES when the data set was made"
        )
        if self._located and not self._located.layout.takes_all:
            text += f", or its annotations: {self.unspoken(clip_id)}"
        return f"{text}; and {self._why}" if self._why else text


def _path(root: str, clip_id: str) -> str:
    return os.path.join(root, *clip_id.split("/"))


def _in_tree(root: str, clip_id: str) -> Clip | None:
    """The clip of an id by the rules of :func:`discover_tree`; None where there is none, or outside of it."""
    if os.pardir in clip_id.split("/"):
        return None
    path = _path(root, clip_id)
    is_root = clip_id == os.path.basename(os.path.abspath(root))
    for folder_path in (path, root) if is_root else (path,):
        if os.path.isdir(folder_path):
            folder = read_frame_folder(folder_path)
            if name := lone_level(folder):
                folder_path = os.path.join(folder_path, name)
                folder = read_frame_folder(folder_path)
            if folder.names:
                return frames_clip(clip_id, folder_path, folder)
    folder_path, base = os.path.split(path)
    names = sorted(os.listdir(folder_path)) if os.path.isdir(folder_path) else []
    for name in names:
        stem, extension = os.path.splitext(name)
        if stem == base and extension[1:].lower() in VIDEO_EXTENSIONS:
            return video_clip(clip_id, os.path.join(folder_path, name))
    return None


__all__ = ["ClipFinder", "find_clip"]
