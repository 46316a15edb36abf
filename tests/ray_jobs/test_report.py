"""`landmarks report`: what the page holds, that nothing in a data set can change it, and how it looks."""

import dataclasses
import itertools
import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium, find
from PIL import Image
from real_dataset import POINTS, make_dataset, real_landmarks, split_rows

from extraction.clips import Clip
from ray_jobs.cli import main
from ray_jobs.report_blocks import MAX_ROWS, command, shell, text
from storage.annotations import ANNOTATION_SCHEMA, About, summed_up, write_annotations
from storage.dataset import Dataset
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import Failure, write_shard

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://192.0.2.1/x onerror=alert(1)>',
    "'; rm -rf / #",
    "$(touch pwned)`id`",
    "--video",
    "a\nb\tc\u202egnp.exe",
    "</style></svg></title>",
    "&lt;b&gt; $title ${style} {0} %s",
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    program = find()
    if program is None:
        if os.environ.get("LANDMARKS_CHROMIUM"):
            pytest.fail(f"LANDMARKS_CHROMIUM promises {os.environ['LANDMARKS_CHROMIUM']}, which is not there")
        pytest.skip("no Chromium: apt-get install chromium, or name one in LANDMARKS_CHROMIUM")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, Path(profile))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, shared_clips: Path) -> Path:
    folder = tmp_path_factory.mktemp("report")
    dataset = make_dataset(folder / "real", shared_clips)
    annotate(dataset, "train/wave", "known to be bad")
    about = json.loads(dataset.store.read("dataset.json"))
    long = {"min_detection_confidence": 0.5, "min_tracking_confidence": 0.5}
    about["options"] |= {**long, "precision": "float16"}
    dataset.store.write("dataset.json", json.dumps(about).encode())
    assert main(["report", dataset.store.location, "--to", str(folder / "page.html")]) == 0
    return folder / "page.html"


def annotate(dataset: Dataset, clip_id: str, detail: str) -> None:
    """Annotations with holes of three kinds."""
    nothing = dict.fromkeys(ANNOTATION_SCHEMA.names)
    rows = [
        {**nothing, "clip_id": clip_id, "uri": "/in", "holes": ["known-bad"], "details": [detail]},
        *(
            {**nothing, "clip_id": f"test/gone{n}", "holes": ["missing"], "details": [""]}
            for n in range(5)
        ),
        {**nothing, "clip_id": "stray", "uri": "/s", "holes": ["unannotated"], "details": ["/s"]},
    ]  # fmt: skip
    about = About("phoenix-2014-t", f"as {detail}", absent=["PHOENIX-2014-T.dev.corpus.csv"], left_out=1)
    assert write_annotations(dataset.store, rows, summed_up(about, rows))


def hostile_dataset(folder: Path, shared_clips: Path) -> Dataset:
    """A data set in which every text is an attack."""
    landmarks = real_landmarks(np.load(shared_clips / "phoenix_like/expected/wave.npz")["tracking"])
    dataset = Dataset(str(folder / "out"))
    dataset.create({"engine": HOSTILE[0], "static": HOSTILE[1]}, HOSTILE[2], {"source": HOSTILE[6]})
    clips = [
        Clip(name, f"/in/{number}", "frames", "train", len(landmarks), signer=HOSTILE[number - 1])
        for number, name in enumerate(HOSTILE)
    ]
    failed = Clip(f"{HOSTILE[0]}-failed", "/in/f", "frames", "train", 3)
    dataset.write_plan(Plan((*clips, failed), (0,) * (len(clips) + 1)))
    made = Provenance(HOSTILE[0], HOSTILE[1], "x", HOSTILE[6], 2, 900.0, 100.0, 700.0, HOSTILE[0], "f")
    made = dataclasses.replace(made, retry_reasons=(HOSTILE[1],), worker=HOSTILE[5], write_ms=9.0)
    rows: list = [[encode(clip, landmarks, made)] for clip in clips]
    rows.append(
        Failure(failed.clip_id, failed.uri, "train", HOSTILE[0], HOSTILE[1], HOSTILE[6], 1, HOSTILE[0])
    )
    write_shard(dataset.store, 0, "train", POINTS, rows)
    annotate(dataset, HOSTILE[6], HOSTILE[0])
    return dataset


class Reader(HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[str]:
        return [data for own, data in self.texts if own == tag]


def read(page: Path) -> Reader:
    return Reader(page.read_text(encoding="utf-8"))


class TestPage:
    def test_it_says_what_a_data_set_holds(self, page):
        found = read(page)
        words = " ".join(data.strip() for _, data in found.texts)
        for part in (
            "4",
            "of 5",
            "310",
            "train/wave",
            "dev/french_a1",
            "Signer01",
            "decode: no-readable-frame",
            "rounded to float16",
            "host-100",
            "host-102",
            "annotated, but no frames or video of it are on the disk",
            "test/gone2",
            "PHOENIX-2014-T.dev.corpus.csv",
        ):
            assert part in words, part
        assert "54.6%" in words  # left hand, of all readable frames
        assert "test/gone3" not in words  # examples, and the command that lists all
        assert "do not name their worker" not in words
        assert found.of("h2") == [
            "What was extracted, and with what",
            "Clips and failures",
            "Annotations and their holes",
            "Detection rates",
            "Missing hands",
            "Distributions",
            "Clips worth a look",
            "Time and trouble",
        ]

    def test_it_is_one_file_that_asks_for_nothing(self, page):
        found = read(page)
        assert not {"script", "link", "iframe", "object", "img", "image", "form", "base"} & set(found.tags)
        links = [value for name, value in found.attributes if name in ("href", "src", "xlink:href", "action")]
        assert links
        assert all(link.startswith("#") for link in links)
        style = " ".join(
            [*found.of("style"), *(value for name, value in found.attributes if name == "style")]
        )
        assert len(found.of("style")) == 1  # the page's own: a chart's would hold for all of it
        assert "url(http" not in style
        assert "@import" not in style

    def test_ids_are_unique_and_links_lead_to_them(self, page):
        found = read(page)
        ids = [value for name, value in found.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        pointed = [value[1:] for name, value in found.attributes if name in ("href", "xlink:href")]
        pointed += re.findall(r"url\(#([^)]+)\)", page.read_text())
        pointed += [value for name, value in found.attributes if name == "aria-labelledby"]
        assert set(pointed) <= set(ids)

    def test_its_commands_are_commands(self, page, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        commands = [shlex.split(line) for line in read(page).of("code")]
        assert {words[1] for words in commands} == {"failures", "holes", "view", "draw"}
        for words in commands:
            more = ["--on", "black", "--every", "9"] if words[1] == "draw" else []
            assert main([*words[1:], *more]) == 0
        assert list(tmp_path.glob("*.mp4"))
        printed = capsys.readouterr().out
        assert "no-readable-frame" in printed
        assert "test/gone4" in printed

    def test_the_report_of_the_same_data_is_the_same(self, page, tmp_path):
        again = tmp_path / "again.html"
        assert main(["report", str(page.with_name("real")), "--to", str(again)]) == 0

        def undated(path: Path) -> str:
            return re.sub(r"as of [^<]*", "", path.read_text())

        assert undated(again) == undated(page)


class TestNamesFromStrangers:
    def test_they_are_shown_and_change_nothing(self, tmp_path, shared_clips, page, capsys):
        dataset = hostile_dataset(tmp_path, shared_clips)
        assert main(["report", dataset.store.location, "--to", str(tmp_path / "page.html")]) == 0
        found = read(tmp_path / "page.html")
        assert set(found.tags) <= set(read(page).tags)
        assert "onerror" not in {name for name, _ in found.attributes}
        words = [data for _, data in found.texts]
        for name in HOSTILE:
            shown = name if name.isprintable() else repr(name)
            assert any(shown in data for data in words), name
        assert "\u202e" not in (tmp_path / "page.html").read_text()
        assert capsys.readouterr().out.startswith(str(tmp_path))

    @pytest.mark.parametrize("name", [name for name in HOSTILE if name.isprintable()])
    def test_a_command_gets_the_name_as_one_word(self, name):
        shown = Reader(command("draw", "/out", name, options=["--video", "mp4"])).of("code")
        words = shlex.split("".join(shown))
        assert words[:2] == ["landmarks", "draw"]
        assert sorted(words[2:]) == sorted(
            [*(["--"] if name.startswith("-") else []), "/out", name, "--video", "mp4"]
        )
        if name.startswith("-"):
            assert words[-3:] == ["--", "/out", name]

    def test_control_characters_are_spelt_out(self):
        assert shell("a\nb") == "$'\\x61\\x0a\\x62'"
        assert text("a\u202eb") == "&#x27;a\\u202eb&#x27;"

    def test_chromium_finds_nothing_to_run(self, tmp_path, shared_clips, chromium):
        dataset = hostile_dataset(tmp_path, shared_clips)
        assert main(["report", dataset.store.location, "--to", str(tmp_path / "page.html")]) == 0
        chromium.open(tmp_path / "page.html", 1280, 900, "light")
        assert chromium.requests() == [(tmp_path / "page.html").as_uri()]
        assert chromium.complaints() == []
        assert chromium.evaluate("document.querySelectorAll('script,img,b b,iframe').length") == 0


LUMINANCE = """
(() => {
  const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
  const parse = s => s.match(/[\\d.]+/g).map(Number);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
    return [255, 255, 255]; };
  let worst = [99, ''];
  for (const e of document.querySelectorAll('body *')) {
    if (e.tagName === 'STYLE') continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const svg = e instanceof SVGElement;
    const a = light(parse(getComputedStyle(e)[svg ? 'fill' : 'color']));
    const b = light(ground(svg ? e.closest('svg').parentElement : e));
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < worst[0]) worst = [contrast, e.tagName + ': ' + e.textContent.slice(0, 40)];
  }
  return worst;
})()
"""


class TestInChromium:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 390])
    def test_it_fits_and_can_be_read(self, width, scheme, page, chromium, tmp_path):
        chromium.open(page, width, 900, scheme)
        assert chromium.requests() == [page.as_uri()]
        assert chromium.complaints() == []
        assert chromium.evaluate("document.documentElement.scrollWidth") == width
        facts = "[...document.querySelectorAll('.facts div')]"
        right = "getBoundingClientRect().right"
        assert chromium.evaluate(f"{facts}.every(f => f.{right} < f.closest('.card').{right})")
        contrast, where = chromium.evaluate(LUMINANCE)
        assert contrast >= 4.5, where
        # No text of a chart is smaller than a caption on a page, whatever it was scaled to.
        smallest = chromium.evaluate(
            "Math.min(...[...document.querySelectorAll('.chart text')].map(t => parseFloat("
            "getComputedStyle(t).fontSize) * t.ownerSVGElement.getBoundingClientRect().width / 336))"
        )
        assert smallest >= 10
        chromium.screenshot(tmp_path / "shot.png")
        with Image.open(tmp_path / "shot.png") as shot:
            pixels = np.asarray(shot.convert("L")).astype(int)
        assert pixels.shape[1] == width
        assert (np.median(pixels) > 200) == (scheme == "light")
        assert pixels.std() > 10

    def test_headings_and_names_for_who_does_not_see(self, page, chromium):
        chromium.open(page, 1280, 900, "light")
        levels = chromium.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert max(b - a for a, b in itertools.pairwise(levels)) <= 1
        unnamed = "[...document.querySelectorAll('svg')].filter(s => s.ariaHidden !== 'true' && !s.ariaLabel)"
        assert chromium.evaluate(f"{unnamed}.length") == 0
        assert chromium.evaluate("[...document.querySelectorAll('table')].every(t => t.caption && t.tHead)")
        assert chromium.evaluate("document.documentElement.lang") == "en"
        # What scrolls by itself can be reached with the keyboard.
        scrolls = "[...document.querySelectorAll('.scroll')].every(s => s.tabIndex === 0)"
        assert chromium.evaluate(scrolls)


def test_json_says_the_same_and_writes_no_page(real_dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", real_dataset.store.location, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert os.listdir(tmp_path) == []
    assert found["page"] is None
    assert found["splits"]["train"]["clips"] == 2
    assert found["splits"]["dev"]["detection_rates"]["left_hand"] == 0
    assert found["failures"][0]["reason"] == "no-readable-frame"
    assert found["histograms"]["hand_size_px"]["total"] == found["sampled"] == 4
    assert found["worst_hands"][0]["found"]["clip_id"] == "train/wave"
    assert [(one["worker"], one["clips"], one["write_ms"]) for one in found["workers"]] == [
        ("host-100", 2, 30.0), ("host-101", 1, 15.0), ("host-102", 1, 15.0)
    ]  # fmt: skip
    assert [(one["host"], one["workers"]) for one in found["hosts"]] == [("host", 3)]
    assert found["hosts"][0]["frames_per_second"] == pytest.approx(310 / (4 * 915.0) * 1000)


def test_the_page_has_the_data_sets_name_by_default(real_dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", real_dataset.store.location]) == 0
    assert capsys.readouterr().out.startswith("out-report.html: 4 clips, 310 frames, ")
    assert os.listdir(tmp_path) == ["out-report.html"]


def test_a_data_set_without_hands_has_no_section_of_them(tmp_path):
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({"engine": "any", "static": False}, "0f", {})
    dataset.write_plan(Plan((Clip("a", "/a", "frames", "dev", 3),), (0,)))
    write_shard(dataset.store, 0, "dev", {}, [Failure("a", "/a", "dev", "open", "missing", "gone", 1)])
    page = tmp_path / "page.html"
    assert main(["report", dataset.store.location, "--to", str(page)]) == 0
    assert read(page).of("h2") == ["What was extracted, and with what", "Clips and failures"]


def test_many_signers_and_hosts_end_in_one_row(tmp_path, shared_clips):
    wave = real_landmarks(np.load(shared_clips / "phoenix_like/expected/wave.npz")["tracking"])
    landmarks = split_rows(wave, 1)[0]
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({"engine": "any", "static": False}, "0f", {})
    clips = [Clip(f"c{n:02}", "/in", "frames", "train", 1, signer=f"S{n:02}") for n in range(MAX_ROWS + 5)]
    dataset.write_plan(Plan(tuple(clips), (0,) * len(clips)))
    made = Provenance("any", "1", "x", "cpu", 1, 9.0, 1.0, 7.0, "node", "f", ("context-lost",))
    rows = [
        [encode(clip, landmarks, dataclasses.replace(made, host=f"node{n}", worker=f"node{n}-7"))]
        for n, clip in enumerate(clips)
    ]
    write_shard(dataset.store, 0, "train", POINTS, rows)
    assert main(["report", dataset.store.location, "--to", str(tmp_path / "page.html")]) == 0
    heads = read(tmp_path / "page.html").of("bdi")
    assert "S00" in heads
    assert {"5 other signers", "5 other hosts", "5 other workers"} <= set(heads)
    assert f"S{MAX_ROWS:02}" not in heads


@pytest.mark.parametrize(
    ("reasons", "cells"),
    [
        (("start:context-lost", "context-lost: 0x300e", "signal: SIGSEGV"), ["0", "3", "2"]),
        (("timeout",), ["0", "1", "0"]),
        ((), ["0", "0", "0"]),
    ],
)
def test_lost_detectors_and_gl_contexts_of_a_host(reasons, cells, tmp_path, shared_clips):
    made = Provenance("any", "1", "x", "cpu", 1, 900.0, 90.0, 700.0, "node", "f", reasons)
    found = report_of(made, tmp_path, shared_clips)
    assert {"64.4", "10%", "78%", "12%"} <= set(found.of("td"))  # 58 frames in 900 ms
    captions = found.of("caption")
    assert "By host" in captions
    assert "By worker" not in captions
    assert ("Why detectors were lost" in captions) == bool(reasons)
    assert any("made before rows did or imported: 1." in data for _, data in found.texts)
    page = (tmp_path / "page.html").read_text()
    (line,) = re.findall(r"<tr><th scope=.row.><bdi>node</bdi>.*?</tr>", page)
    assert re.sub(r"<[^>]+>", " ", line).split()[-3:] == cells


def test_rows_that_say_nothing_of_time(tmp_path, shared_clips):
    made = Provenance("import", "unknown", "x", "unknown", 0, 0.0, 0.0, 0.0, "node", "")
    found = report_of(made, tmp_path, shared_clips)
    assert not {"By host", "By worker"} & set(found.of("caption"))
    assert any("Rows say nothing of time" in data for _, data in found.texts)


def report_of(made: Provenance, folder: Path, shared_clips: Path) -> Reader:
    """The page of a data set of one clip."""
    landmarks = real_landmarks(np.load(shared_clips / "phoenix_like/expected/wave.npz")["tracking"])
    dataset = Dataset(str(folder / "out"))
    dataset.create({"engine": "any", "static": False}, "0f", {})
    clip = Clip("c", "/in", "frames", "train", len(landmarks))
    dataset.write_plan(Plan((clip,), (0,)))
    write_shard(dataset.store, 0, "train", POINTS, [[encode(clip, landmarks, made)]])
    assert main(["report", dataset.store.location, "--to", str(folder / "page.html")]) == 0
    return read(folder / "page.html")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sample", "-1"], "--sample must be 0 or more"),
        (["--to", "{tmp}"], "expected a file for the page, found a folder"),
        (["--to", "{tmp}/file/page.html"], "cannot be written"),
    ],
)
def test_wrong_use(options, said, real_dataset, tmp_path, capsys):
    (tmp_path / "file").touch()
    filled = [option.format(tmp=tmp_path) for option in options]
    assert main(["report", real_dataset.store.location, *filled]) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert output.out == ""


def test_no_data_set(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no dataset.json" in capsys.readouterr().err
