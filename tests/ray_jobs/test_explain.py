import io
import json
import os
from pathlib import Path

import pytest

from extraction.errors import JobError
from extraction.native_log import NativeLog
from ray_jobs.explain import explain

FAMOUS = (
    "E0000 00:00:1795253361.103555   17040 gl_context.cc:408] INTERNAL: ; RET_CHECK failure "
    "(mediapipe/gpu/gl_context_egl.cc:303) successeglMakeCurrent() returned error 0x3008;  "
    "(entering GL context)"
)
WORDS = FAMOUS.partition("INTERNAL: ")[2]
TRACE = (
    "Traceback (most recent call last):\n"
    '  File "a.py", line 3, in detect\n'
    "    raise RuntimeError()\n"
    "    ^^^^^^\n"
    "RuntimeError: CalculatorGraph::Run() failed: \n"
    'Calculator::Process() for node "x" failed: [GL_OUT_OF_MEMORY]: There is not enough memory left\n'
)
NOISE = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
CREATION = (  # what 1.2.2 writes for one failed creation
    "E0000 00:00:1795253055.589782    9980 gl_context_egl.cc:105] INTERNAL: RET_CHECK failure "
    "(third_party/mediapipe/gpu/gl_context_egl.cc:105) display != EGL_NO_DISPLAY eglGetDisplay() returned "
    "error 0x300c\n"
    "Stack trace:\n"
    "    @     0x7f728e25b8c0  absl::StatusBuilder::CreateStatusAndConditionallyLog()\n"
    "    @     0x7f728d20db1e  mediapipe::GlContext::CreateContext()\n"
    "=== Source Location Trace: ===\n"
    "third_party/mediapipe/gpu/gl_context_egl.cc:105\n"
)


def readings(capsys: pytest.CaptureFixture[str], text: str, **how: bool) -> list[dict[str, object]]:
    assert explain(text, as_json=True, **how) == 0
    return json.loads(capsys.readouterr().out)["readings"]


def meanings(capsys: pytest.CaptureFixture[str], text: str) -> dict[str, int]:
    assert explain(text, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    return {group["meaning"]: group["count"] for group in told["meanings"]}


class TestOne:
    def test_the_famous_line_with_its_head_is_harmless(self, capsys):
        assert explain(FAMOUS, as_json=False) == 0
        printed = capsys.readouterr().out
        assert "log-noise" in printed
        assert "harmless" in printed
        assert "0x3008 EGL_BAD_DISPLAY" in printed
        assert "context-lost" not in printed

    @pytest.mark.parametrize(
        "text",
        [
            f"RuntimeError: {WORDS}",
            f"Traceback (most recent call last):\n  File 'x'\nRuntimeError: {WORDS}",
            f"ERROR: clip failed: RuntimeError: {WORDS}",
            f"(MapWorker(MapBatches(Detect)) pid=77, ip=10.0.0.1) RuntimeError: {WORDS}",
            f"\x1b[31mRuntimeError: {WORDS}\x1b[0m",
        ],
    )
    def test_inside_an_exception_it_is_not(self, text, capsys):
        (reading,) = readings(capsys, text)
        assert (reading["meaning"], reading["place"]) == ("context-lost", "exception")
        assert "harmless" not in reading["means"]

    @pytest.mark.parametrize(
        "line",
        [
            FAMOUS.partition("17040 ")[2],
            f"2025-11-21 10:10:10 4711 {FAMOUS}",
            f"\x1b[36m(worker pid=4711)\x1b[0m {FAMOUS}",
            "gl_context.cc:408 … gl_context_egl.cc:303 … eglMakeCurrent() returned error 0x3008; "
            "(entering GL context)",
        ],
    )
    def test_other_forms_of_the_line(self, line, capsys):
        (reading,) = readings(capsys, line)
        assert (reading["name"], reading["place"]) == ("destructor-without-context", "log")

    def test_a_fragment_is_read_both_ways(self, capsys):
        text = "gl_context_egl.cc … eglMakeCurrent() returned error 0x3008; (entering GL context)"
        found = readings(capsys, text)
        assert [(r["place"], r["meaning"]) for r in found] == [
            ("log", "log-noise"),
            ("exception", "context-lost"),
        ]
        assert explain(text, as_json=False) == 0
        printed = capsys.readouterr().out
        assert printed.index("as a line in a log") < printed.index("inside an exception")
        assert "does not tell" in printed
        (as_log,) = readings(capsys, text, as_log=True)
        assert as_log["place"] == "log"

    def test_a_fragment_that_means_the_same_everywhere_is_told_once(self, capsys):
        assert len(readings(capsys, "Problem initializing the activation program")) == 1

    def test_a_traceback_is_one_error(self, capsys):
        (reading,) = readings(capsys, TRACE)
        assert (reading["name"], reading["place"]) == ("gl-call", "exception")

    def test_a_text_that_the_terminal_wrapped_is_one_error(self, capsys):
        (reading,) = readings(
            capsys, 'RuntimeError: Service "kGpuService", required by\nnode x: \n  ' + WORDS
        )
        assert reading["name"] == "context-not-entered"

    def test_an_unknown_text_stays_unknown(self, capsys):
        assert explain("ZeroDivisionError: integer modulo by [bold]zero[/bold]", as_json=False) == 0
        printed = capsys.readouterr().out
        assert "not in the catalogue" in printed
        assert "report it" in printed

    def test_every_part_is_told(self, capsys):
        assert explain("FileNotFoundError: Unable to open file at /m.task", as_json=False) == 0
        printed = capsys.readouterr().out
        for title in ("meaning", "that is", "results affected", "the software", "you can", "source"):
            assert f"  {title}  " in printed


class TestLog:
    def test_counts_by_meaning_worst_first(self, tmp_path, capsys):
        log = tmp_path / "job.log"
        log.write_text(
            f"starting\n{NOISE}\n{TRACE}{FAMOUS}\nValueError: nobody knows this\n{FAMOUS}\nall done\n"
        )
        assert meanings(capsys, str(log)) == {"context-lost": 1, "unknown": 1, "log-noise": 3}
        assert explain(str(log), as_json=False) == 0
        printed = capsys.readouterr().out
        assert printed.index("context-lost") < printed.index("unknown") < printed.index("log-noise")
        assert "line 10: ValueError: nobody knows this" in printed
        assert "harmless" not in printed  # noise is counted, not explained

    def test_line_numbers_and_examples(self, tmp_path, capsys):
        log = tmp_path / "job.log"
        log.write_text(f"\n\n{NOISE}\n\n{TRACE}\nfine\n{TRACE}")
        assert explain(str(log), as_json=True) == 0
        told = json.loads(capsys.readouterr().out)
        (text,) = told["meanings"][0]["texts"]
        assert (text["name"], text["count"], text["first_line"]) == ("gl-call", 2, 5)
        assert text["example"].startswith("RuntimeError: CalculatorGraph::Run() failed:")
        assert (told["lines"], told["ordinary_lines"]) == (14, 1)

    def test_an_exception_and_the_line_before_it_are_told_apart(self, tmp_path, capsys):
        log = tmp_path / "w.log"
        log.write_text(f"{CREATION * 2}RuntimeError: kGpuService: Failed to get and init EGL display.\n")
        assert explain(str(log), as_json=True) == 0
        (group,) = json.loads(capsys.readouterr().out)["meanings"]
        assert group["count"] == 3
        assert [(t["place"], t["count"], t["name"]) for t in group["texts"]] == [
            ("log", 2, "no-egl-display"),
            ("exception", 1, "no-egl-display"),
        ]
        assert explain(str(log), as_json=False) == 0
        printed = capsys.readouterr().out
        assert "a line of the log, 2 times, first in line 1" in printed
        assert "an exception, once, in line 13" in printed

    def test_a_native_call_stack_belongs_to_its_line(self, tmp_path, capsys):
        log = tmp_path / "w.log"
        log.write_text(CREATION * 3)
        assert meanings(capsys, str(log)) == {"no-usable-egl": 3}

    def test_the_message_of_a_head_goes_on_in_the_next_line(self, tmp_path, capsys):
        log = tmp_path / "w.log"
        log.write_text(
            "E0000 00:00:1795253707.966094   20259 calculator_graph.cc:928] INVALID_ARGUMENT: "
            "CalculatorGraph::Run() failed: \n"
            '; Packet timestamp mismatch on a calculator receiving from stream "a".\n'
            f"{NOISE}\n"
        )
        assert meanings(capsys, str(log)) == {"caller-bug": 1, "log-noise": 1}

    def test_a_message_that_ends_open_goes_on_in_the_next_line(self, tmp_path, capsys):
        log = tmp_path / "w.log"
        log.write_text("RuntimeError: ValidatedGraphConfig Initialization failed.\nno GPU here\nfine\n")
        assert meanings(capsys, str(log)) == {"no-gpu-in-build": 1}

    def test_two_tracebacks_in_a_chain_are_one(self, tmp_path, capsys):
        log = tmp_path / "w.log"
        log.write_text(
            f"{TRACE}\nDuring handling of the above exception, another exception occurred:\n\n"
            "Traceback (most recent call last):\n  File 'b'\nKeyError: 'x'\n\nfine\n"
        )
        assert meanings(capsys, str(log)) == {"context-lost": 1}

    def test_a_traceback_that_was_cut_hides_nothing(self, tmp_path, capsys):
        log = tmp_path / "w.log"
        log.write_text(f"{TRACE.partition('RuntimeError:')[0]}{FAMOUS}\n{NOISE}\n")
        assert meanings(capsys, str(log)) == {"unknown": 1, "log-noise": 2}

    @pytest.mark.parametrize(
        "line",
        [
            "clips 512, done 512, failed 0",
            "512 clips done, 0 failed, no errors",
            "I0000 00:00:1795253399.821353   17234 new_thing.cc:1] warmed up",
            "exit code 0, errors=0",
            "2025-11-21 10:10:10,123 INFO ray.init: started",
            "  10%|#         | 5/50 [00:01<00:10]\r 20%|##        | 10/50",
            "failures: 3",
        ],
    )
    def test_lines_that_are_no_errors_are_not_counted_as_such(self, line, tmp_path, capsys):
        log = tmp_path / "job.log"
        log.write_bytes(f"{line}\n".encode())
        assert meanings(capsys, str(log)) == {}

    @pytest.mark.parametrize(
        "line",
        [
            "W0000 00:00:1795253399.821353   17234 new_thing.cc:1] never seen",
            "[mov,mp4] Error while decoding stream 0x300c",
            "Killed",
            "2025-11-21 10:10:10,123 ERROR x: lost",
            "Segmentation fault (core dumped)",
        ],
    )
    def test_lines_that_look_like_errors_are_unknown(self, line, tmp_path, capsys):
        log = tmp_path / "job.log"
        log.write_text(f"{line}\n")
        assert meanings(capsys, str(log)) == {"unknown": 1}

    def test_the_log_of_a_worker(self, tmp_path, capsys):
        """As NativeLog writes it: time and process before each line, repetitions told once."""
        path = tmp_path / "w.log"
        native = NativeLog(str(path))
        hang = (
            "I0000 00:00:17952533.{:06d}   17234 gl_context.cc:1083] Found unchecked GL error: UNKNOWN ERROR"
        )
        lines = [NOISE, *TRACE.splitlines(), *(hang.format(n) for n in range(3000)), "F0000 is no head"]
        native.read(io.BytesIO("\n".join(lines).encode()), 4711)
        native.close()
        assert path.stat().st_size < 5_000
        assert meanings(capsys, str(path)) == {"context-lost": 3001, "log-noise": 1}
        assert explain(str(path), as_json=False) == 0
        assert "3,000 times, first in line" in capsys.readouterr().out

    def test_many_lines_take_little_memory_and_time(self, tmp_path, capsys):
        log = tmp_path / "big.log"
        with log.open("w") as file:
            for n in range(60_000):
                file.write(
                    f"E0000 00:00:17952533{n:05d}.1   {n} gl_context.cc:408] {WORDS}\nValueError: {n}\n"
                )
        assert meanings(capsys, str(log)) == {"unknown": 60_000, "log-noise": 60_000}

    @pytest.mark.parametrize(
        "data",
        [
            b"\xff\xfe\x00\x01" * 1000,
            b"x" * 3_000_000,
            b"\x1b[31m" * 1000 + b"\x00 RuntimeError: [/bold] [red]\n",
            "RuntimeError: \u202e\u0000".encode("utf-16"),
            b"Traceback (most recent call last)\n" * 200,
            b"Traceback (most recent call last):\n" + b"words and words\n" * 200,
            b"(the line above, 3 times more)\n(the line above, 99999999999999999999 times more)\n",
            b"a: failed:\r\rb\r\n\r\n",
        ],
    )
    @pytest.mark.parametrize("as_json", [True, False])
    def test_any_bytes_are_taken(self, data, as_json, tmp_path, capsys):
        log = tmp_path / "odd.log"
        log.write_bytes(data)
        assert explain(str(log), as_json=as_json) == 0
        assert "\x00" not in capsys.readouterr().out

    def test_a_pipe_is_read_as_a_log(self, monkeypatch, capsys):
        class Standard:
            buffer = io.BytesIO(f"{NOISE}\n{TRACE}".encode())

        monkeypatch.setattr("sys.stdin", Standard)
        assert meanings(capsys, "-") == {"context-lost": 1, "log-noise": 1}


class TestNothing:
    @pytest.mark.parametrize("text", ["", "  \n\t\n"])
    def test_no_text(self, text):
        with pytest.raises(
            JobError, match=r"found nothing in the text: landmarks explain 'RuntimeError: \.\.\.'"
        ):
            explain(text, as_json=False)

    def test_an_empty_file(self, tmp_path):
        (tmp_path / "empty.log").write_text("\n\n")
        with pytest.raises(JobError, match=r"found nothing in .*empty\.log"):
            explain(str(tmp_path / "empty.log"), as_json=False)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(JobError, match=r"found no file of that name: .*none\.log"):
            explain(str(tmp_path / "none.log"), as_json=False)

    def test_a_folder(self, tmp_path):
        with pytest.raises(JobError, match="found a folder"):
            explain(str(tmp_path), as_json=False)

    def test_a_file_that_may_not_be_read(self, tmp_path):
        path = tmp_path / "closed.log"
        path.write_text("x")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(JobError, match="cannot be read"):
            explain(str(path), as_json=False)

    @pytest.mark.parametrize(
        "text", ["\0", "a" * 100_000, "\udcff\udc00 RuntimeError: x", "[/red]", "%s {} \\"]
    )
    def test_any_text_is_taken(self, text, capsys):
        assert explain(text, as_json=False) == 0
        assert "unknown" in capsys.readouterr().out


def test_pasted_words_that_are_also_a_file(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("odd name").write_text(FAMOUS)
    assert meanings(capsys, "odd name") == {"log-noise": 1}
