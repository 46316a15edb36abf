"""Where clips come from: trees of frames and videos, and manifests."""

from extraction.sources.discovery import Discovery, DiscoveryCounts
from extraction.sources.frame_folder import (
    IMAGE_EXTENSIONS,
    VIDEO_EXTENSIONS,
    FrameFolder,
    natural_order,
    read_frame_folder,
)
from extraction.sources.lookup import ClipFinder, find_clip
from extraction.sources.manifest import clips_from_rows, read_csv_manifest
from extraction.sources.selection import select
from extraction.sources.tree import SPLIT_FOLDERS, discover_tree
from extraction.sources.video_file import fingerprint_video

__all__ = [
    "IMAGE_EXTENSIONS",
    "SPLIT_FOLDERS",
    "VIDEO_EXTENSIONS",
    "ClipFinder",
    "Discovery",
    "DiscoveryCounts",
    "FrameFolder",
    "clips_from_rows",
    "discover_tree",
    "find_clip",
    "fingerprint_video",
    "natural_order",
    "read_csv_manifest",
    "read_frame_folder",
    "select",
]
