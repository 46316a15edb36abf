"""Each data set's layout in small, with its traps, from the real sample clips."""

import csv
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

FEATURES = "phoenix_like/PHOENIX-2014-T/features/fullFrame-210x260px"
CLIPS = ("train/bsl_demo", "train/wave", "dev/french_a1", "test/squats")
VIDEOS = ("wave_pose_testvideo.mp4", "gabguerin_a1.mp4", "pose_squats.mp4")
BAD_2014 = "13April_2011_Wednesday_tagesschau_default-14"


def link_frames(clips: Path, clip: str, folder: Path, name: Callable[[int], str], count: int = 0) -> Path:
    """A folder of links to a sample clip's frames under other names; ``count`` of them, all where 0."""
    folder.mkdir(parents=True)
    frames = sorted((clips / FEATURES / clip).glob("*.png"))
    for position, frame in enumerate(frames[:count] if count else frames):
        os.symlink(frame, folder / name(position))
    return folder


def link_video(clips: Path, video: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(clips / "videos" / video, path)
    return path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def one_based(position: int) -> str:
    return f"images{position + 1:04d}.png"


def phoenix_2014_t(root: Path, clips: Path) -> Path:
    """Stray files, a ``1/`` level, BOM and CRLF, quotes, German null, spaces at the end, holes on both sides.

    On the disk: train/bsl_demo (with 1/), train/wave, dev/french_a1, test/squats, and train/stray, which
    nobody annotated. Annotated beside the first four: test/gone, and train/wave a second time in other words.
    """
    features = root / "PHOENIX-2014-T/features/fullFrame-210x260px"
    for clip in CLIPS:
        below = "1" if clip == "train/bsl_demo" else ""
        link_frames(clips, clip, features / clip / below, one_based, 8)
    link_frames(clips, "train/wave", features / "train/stray", one_based, 2)
    write(features / "train/wave/createDnnTrainingLabels-profile.py.lprof", "x")
    manual = root / "PHOENIX-2014-T/annotations/manual"
    header = "name|video|start|end|speaker|orth|translation"
    rows = {
        "train": [
            'bsl_demo|bsl_demo/1/*.png|-1|-1|Signer01|BIRD FLY|ein "vogel" fliegt ',
            "wave|wave/1/*.png|-1|-1|Signer02|__ON__ null|null",
            "wave|wave/1/*.png|-1|-1|Signer02|HALLO|anders",
        ],
        "dev": ['french_a1|french_a1/1/*.png|-1|-1|Signer03|SAMSTAG "WIND|grün ß \u2028 und\x0bso .'],
        "test": [
            "squats|squats/1/*.png|-1|-1|Signer04|SPORT|NA",
            "gone|gone/1/*.png|-1|-1|Signer04|WEG|nan",
        ],
    }
    for split, lines in rows.items():
        end = "\r\n" if split == "train" else "\n"
        text = end.join([header, *lines]) + end
        data = text.encode("utf-8-sig" if split == "train" else "utf-8")
        write(manual / f"PHOENIX-2014-T.{split}.corpus.csv", data)
    write(manual / "PHOENIX-2014-T.train-complex-annotation.corpus.csv", "name|other\n")
    return root


def phoenix_2014(root: Path, clips: Path) -> Path:
    """0-based names of PHOENIX's own form, always a ``1/`` level, and the clip that is known to be bad."""
    base = root / "phoenix2014-release/phoenix-2014-multisigner"
    features = base / "features/fullFrame-210x260px"
    names = {
        "train/01April_2010": "train/wave",
        f"train/{BAD_2014}": "train/wave",
        "dev/02May": "dev/french_a1",
    }
    for name, clip in names.items():
        show = name.split("/")[1]
        # The number runs without zeros before it, so that only natural order is the order of time.
        link_frames(clips, clip, features / name / "1", lambda n, s=show: f"{s}.avi_pid0_fn{n}-0.png", 12)
    header = "id|folder|signer|annotation\n"
    write(
        base / "annotations/manual/train.corpus.csv",
        f"{header}01April_2010|01April_2010/1/*.png|Signer04|LOC MORGEN null\n"
        f"{BAD_2014}|{BAD_2014}/1/*.png|Signer05|REGEN\n",
    )
    write(base / "annotations/manual/dev.corpus.csv", f"{header}02May|02May/1/*.png|Signer01|TAG\n")
    write(base / "annotations/manual/test.corpus.csv", header)
    other = root / "phoenix2014-release/phoenix-2014-signerindependent-SI5"
    write(other / "annotations/manual/train.SI5.corpus.csv", header)
    (other / "features/fullFrame-210x260px/train").mkdir(parents=True)
    return root


def csl_daily(root: Path, clips: Path, with_pickle: bool = True) -> Path:
    """0-based JPEG names, a clip in the split list only, one in the labels only, one shorter than it says."""
    frames = root / "sentence/frames_512x512"
    for name, clip in {
        "S000000_P0000_T00": "train/wave",
        "S000005_P0004_T00": "dev/french_a1",
        "S000007_P0003_T00": "test/squats",
    }.items():
        link_frames(clips, clip, frames / name, lambda n: f"{n:06d}.jpg", 6)
    write(frames / "S000000_P0000_T00/000006.jpg", b"not a JPEG")
    info = [
        _csl_label("S000000_P0000_T00", 7, ["他", "谁"], ["他", "是", "谁", "\uff1f"], 0),
        _csl_label("S000007_P0003_T00", 9, ["好"], ["好"], 3),
    ]
    labels = root / "sentence_label"
    labels.mkdir()
    if with_pickle:
        with open(labels / "csl2020ct_v2.pkl", "wb") as file:
            pickle.dump({"info": info, "gloss_map": ["他", "谁"]}, file)
    write(
        labels / "video_map.txt",
        "index|name|length|gloss|char|word|postag\n"
        "0|S000000_P0000_T00|7|他 谁|他 是 谁 \uff1f|他 是 谁 \uff1f|r v r w\n"
        "1|S000007_P0003_T00|9|好|好|好|a\n",
    )
    write(labels / "split_1.txt", "name|split\nS000000_P0000_T00|train\nS000005_P0004_T00|train\n")
    return root


def _csl_label(name: str, length: int, gloss: list[str], char: list[str], signer: int) -> dict[str, object]:
    return {
        "name": name, "length": length, "label_gloss": gloss, "label_char": char, "label_word": char,
        "label_postag": ["r"] * len(char), "signer": signer, "time": 0,
    }  # fmt: skip


_H2S = (
    "VIDEO_ID",
    "VIDEO_NAME",
    "SENTENCE_ID",
    "SENTENCE_NAME",
    "START_REALIGNED",
    "END_REALIGNED",
    "SENTENCE",
)


def how2sign(root: Path, clips: Path, uncut: bool = False) -> Path:
    """As the download script lays it: six folders deep; split ``val``; quotes; a sentence that is gone.

    ``uncut``: the whole videos in place of those of sentences.
    """
    name = "--7E2sU6zP4"
    level = "video_level" if uncut else "sentence_level"
    videos = root / f"How2Sign/{level}/train/rgb_front/raw_videos"
    if uncut:
        link_video(clips, "gabguerin_a1.mp4", videos / f"{name}-5-rgb_front.mp4")
    else:
        link_video(clips, "gabguerin_a1.mp4", videos / f"{name}_10-5-rgb_front.mp4")
        link_video(clips, "wave_pose_testvideo.mp4", videos / f"{name}_11-5-rgb_front.mp4")
        side = root / "How2Sign/sentence_level/train/rgb_side/raw_videos"
        link_video(clips, "pose_squats.mp4", side / f"{name}_10-2-rgb_side.mp4")
    rows = {
        "train": [
            (
                name,
                f"{name}-5-rgb_front",
                f"{name}_10",
                f"{name}_10-5-rgb_front",
                "0.2",
                "0.8",
                'He said "hi',
            ),
            (name, f"{name}-5-rgb_front", f"{name}_11", f"{name}_11-5-rgb_front", "0.8", "1.2", "null "),
            (name, f"{name}-5-rgb_front", f"{name}_12", f"{name}_12-5-rgb_front", "1.2", "1.2", "Empty."),
        ],
        "val": [("x", "x-5-rgb_front", "x_0", "x_0-5-rgb_front", "0.0", "1.5", "Gone.")],
    }
    for split, sentences in rows.items():
        text = "\n".join("\t".join(cells) for cells in (_H2S, *sentences)) + "\n"
        folder = root / f"How2Sign/sentence_level/{split}/text/en/raw_text/re_aligned"
        write(folder / f"how2sign_realigned_{split}.csv", text)
    return root


def wlasl(root: Path, clips: Path, folder: str = "videos") -> Path:
    """A JSON with ends of -1, videos that are gone, one cut and one uncut, one that nobody names.

    ``folder="raw_videos_mp4"``: as they were downloaded, those of YouTube under its own ids.
    """
    of_youtube = "00003" if folder == "videos" else "abcdefghijk"
    link_video(clips, "wave_pose_testvideo.mp4", root / folder / "69241.mp4")
    link_video(clips, "gabguerin_a1.mp4", root / folder / f"{of_youtube}.mp4")
    link_video(clips, "pose_squats.mp4", root / folder / "00004.mp4")
    link_video(clips, "pose_squats.mp4", root / folder / "99999.mp4")
    youtube = "https://www.youtube.com/watch?v=abcdefghijk"

    def instance(video_id: str, start: int, end: int, url: str, split: str) -> dict[str, object]:
        return {
            "bbox": [0, 0, 9, 9], "fps": 25, "frame_start": start, "frame_end": end, "instance_id": 0,
            "signer_id": 118, "source": "x", "split": split, "url": url, "variation_id": 0,
            "video_id": video_id,
        }  # fmt: skip

    other = "http://aslbricks.org/New/ASL-Videos/book.mp4"
    content = [
        {
            "gloss": "book",
            "instances": [instance("69241", 1, -1, other, "train"), instance("00002", 1, -1, other, "val")],
        },
        # 62 frames are there: 00003 is uncut. 65 frames are there where 101 to 165 are wanted: 00004 was cut.
        {
            "gloss": "null",
            "instances": [
                instance("00003", 11, 30, youtube, "train"),
                instance("00004", 101, 165, other, "test"),
            ],
        },
    ]
    write(root / "WLASL_v0.3.json", json.dumps(content))
    return root


def autsl(root: Path, clips: Path) -> Path:
    """No header, ``validation`` for the folder ``val``, depth beside colour, no labels of test."""
    for split, signer, video in (("train", 0, VIDEOS[0]), ("val", 6, VIDEOS[1]), ("test", 9, VIDEOS[2])):
        for kind in ("color", "depth"):
            link_video(clips, video, root / f"{split}/signer{signer}_sample1_{kind}.mp4")
    write(root / "train_labels.csv", "signer0_sample1,41\r\nsigner0_sample2,0\r\n")
    write(root / "validation_labels.csv", "signer6_sample1,0")
    write(root / "SignList_ClassId_TR_EN.csv", '\ufeffClassId,TR,EN\n0,abla,sister\n41,"gel, git",come\n')
    return root


def include(root: Path, clips: Path) -> Path:
    """Folder names with spaces and dots, extensions in capitals, one name in two words, a level between."""
    link_video(clips, VIDEOS[0], root / "Adjectives_1of8/Adjectives/4. sad/MVI_9568.MOV")
    link_video(clips, VIDEOS[1], root / "Adjectives_1of8/Adjectives/5. Beautiful/MVI_9568.MOV")
    header = ["Category", "Word", "Video", "FilePath"]
    _write_csv(
        root / "train_include.csv",
        [header, ["Adjectives", "sad", "MVI_9568.MOV", "Adjectives/4. sad/MVI_9568.MOV"]],
    )
    _write_csv(
        root / "test_include.csv",
        [
            header,
            ["Adjectives", "Beautiful", "MVI_9568.MOV", "Adjectives/5. Beautiful/MVI_9568.MOV"],
            ["Adjectives", 'loud, "very"', "MVI_1.MOV", "Adjectives/1. loud/MVI_1.MOV"],
        ],
    )
    return root


def _write_csv(path: Path, rows: Iterable[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


MAKERS: dict[str, Callable[[Path, Path], Path]] = {
    "phoenix-2014-t": phoenix_2014_t,
    "phoenix-2014": phoenix_2014,
    "csl-daily": csl_daily,
    "how2sign": how2sign,
    "wlasl": wlasl,
    "autsl": autsl,
    "include": include,
}


def copied_sample(root: Path, clips: Path) -> Path:
    """The sample PHOENIX-2014-T itself, in a folder that can be written to."""
    return Path(shutil.copytree(clips / "phoenix_like/PHOENIX-2014-T", root / "PHOENIX-2014-T"))
