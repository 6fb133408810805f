"""A folder is mirrored, whatever is in it, and whoever interrupts."""

from __future__ import annotations

import re
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from media import moving_face_video
from trees import Run, outcomes, outputs, partials, start
from waiting import until

from faceblur.batch.jobs import plan
from faceblur.batch.outcome import RunOptions
from faceblur.batch.runner import run
from faceblur.detection.session import DetectionSession


class TestBatch:
    def test_a_tree_is_mirrored_and_a_bad_file_in_the_middle_stops_nothing(
        self, blur: Run, tree: Path
    ) -> None:
        (tree / "bad.jpg").write_text("no picture")
        result = blur(tree, "--workers", "3")
        assert result.exit_code == 1
        mirrored = tree.with_name("in_blurred")
        assert sorted(outputs(mirrored)) == ["a.jpg", "b.png", "sub/c.jpg", "sub/d.webp"]
        titles, *rows = result.stdout.splitlines()
        assert titles.split() == ["file", "faces", "frames", "seconds", "outcome"]
        assert [Path(row.split()[0]).name for row in rows[:5]] == [
            "a.jpg", "b.png", "bad.jpg", "c.jpg", "d.webp"
        ]  # fmt: skip
        assert re.search(r"a\.jpg +1 +1 +\d+\.\d +masked$", rows[0])
        assert re.search(r"bad\.jpg +- +- +\d+\.\d +failed$", rows[2])
        assert re.match(r"4 files: \d+ faces masked in 4 frames", rows[5])
        assert rows[5].endswith("1 file failed")
        (error,) = result.stderr.splitlines()
        assert re.fullmatch(r"cannot read .*bad\.jpg: [^:]*not an image[^:]*", error)

    def test_workers_change_nothing_but_the_time(
        self, session: DetectionSession, tree: Path, tmp_path: Path
    ) -> None:
        moving_face_video(tree / "clip.mp4", frames=12, width=320, height=180)
        shutil.copy(tree / "clip.mp4", tree / "sub" / "twin.mp4")
        found = []
        for workers in (1, 4):
            out = tmp_path / f"out{workers}"
            jobs = plan([str(tree)], out)
            done = list(run(jobs, session, RunOptions(workers=workers)))
            assert [outcome.error for outcome in done] == [None] * 6
            found.append({outcome.job.source: outcome.faces for outcome in done})
        assert found[0] == found[1]
        one, four = outputs(tmp_path / "out1"), outputs(tmp_path / "out4")
        images = [name for name in one if not name.endswith("mp4")]
        assert {name: one[name] for name in images} == {name: four[name] for name in images}

    def test_one_file_is_as_it_always_was(self, blur: Run, tree: Path) -> None:
        for _ in range(2):
            result = blur(tree / "a.jpg")
            assert re.fullmatch(r".*a_blurred\.jpg: 1 face masked in 1 frame, .*\n", result.stdout)
        assert not list(tree.rglob(".faceblur"))

    def test_results_inside_the_searched_folder_are_not_blurred_again(
        self, blur: Run, tree: Path
    ) -> None:
        assert blur(tree, "-o", tree / "out").exit_code == 0
        first = outputs(tree / "out")
        result = blur(tree, "-o", tree / "out")
        assert set(outcomes(result).values()) == {"outcome", "skipped, was finished"}
        assert outputs(tree / "out") == first

    def test_an_interrupt_stops_all_workers_and_leaves_no_half_file(
        self, far_server: str, tmp_path: Path
    ) -> None:
        folder, out = tmp_path / "in", tmp_path / "out"
        folder.mkdir()
        moving_face_video(folder / "a.mkv", frames=100)
        shutil.copy(folder / "a.mkv", folder / "b.mkv")
        job = start(far_server, folder, "-o", out, "--workers", "2", "--encoder", "ffv1")
        until(lambda: len(partials(out)) == 2, "both results are being written")
        job.send_signal(signal.SIGINT)
        _, errors = job.communicate(timeout=60)
        assert job.returncode == 130, errors
        assert "Traceback" not in errors
        assert outputs(out) == {}

    def test_an_interrupt_that_another_thread_receives_stops_them_too(
        self, session: DetectionSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder, out = tmp_path / "in", tmp_path / "out"
        folder.mkdir()
        moving_face_video(folder / "a.mp4", frames=60, width=320, height=180)
        shutil.copy(folder / "a.mp4", folder / "b.mp4")
        interrupted, stopping = threading.Event(), threading.Event()

        def interrupt(*_: object) -> None:
            if not interrupted.is_set():
                interrupted.set()
                signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            # No file is finished by the time at which the main thread takes notice.
            assert stopping.wait(60)

        class Pool(ThreadPoolExecutor):
            def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
                stopping.set()
                super().shutdown(wait, cancel_futures=cancel_futures)

        monkeypatch.setattr("faceblur.batch.runner.ThreadPoolExecutor", Pool)

        outcomes = run(
            plan([str(folder)], out), session, RunOptions(workers=2), on_progress=interrupt
        )
        with pytest.raises(KeyboardInterrupt):
            list(outcomes)
        assert stopping.is_set()
        assert outputs(out) == {}
