"""What is done to the inputs: every kind of file, and every option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOCAL: Final = "--in-process"
API: Final = """
import json
import cv2, faceblur
from faceblur import FaceblurError
image = cv2.imread('plain.png')
with faceblur.connect(mask=faceblur.MaskStyle(mode='solid')) as blur:
    safe = blur(image)
    try:
        blur(image[..., :2])
    except FaceblurError as error:
        wrong = str(error)
cv2.imwrite('safe.png', safe.image)
facts = {'wrong': wrong, 'boxes': safe.detections.boxes.round(2).tolist(),
         'names': sorted(faceblur.__all__)}
json.dump(facts, open('api.json', 'w'))
"""


@dataclass(frozen=True)
class Case:
    """Commands one after the other, in a folder of their own.

    Attributes:
        name: Of the case.
        inputs: Files that lie there; "a/b" makes a folder; "*.x" takes all of a kind.
        steps: The commands. The first word is a command of faceblur, or "python".
    """

    name: str
    inputs: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]


def cases() -> list[Case]:
    """All of them, the longest first."""
    return [*_folders(), *_videos(), *_images(), *_lists(), *_proofs(), *_cameras(), *_refused()]


def _case(name: str, inputs: str, *steps: str) -> Case:
    return Case(name, tuple(inputs.split()), tuple(tuple(step.split()) for step in steps))


def _blur(name: str, file: str, options: str = "") -> Case:
    return _case(name, file, f"blur {file} {LOCAL} {options}")


def _folders() -> list[Case]:
    return [
        _case("folder of videos", "d/*.mp4 d/*.mkv d/*.webm d/*.mov d/*.avi d/*.ts",
              f"blur d {LOCAL} --workers 1"),
        _case("folder of images",
              "d/*.jpg d/*.png d/*.bmp d/*.ppm d/*.jp2 d/*.avif d/*.heic d/*.docx",
              f"blur d {LOCAL} --workers 1"),
        _case("folder of pages", "d/*.tiff d/*.gif d/*.webp",
              f"blur d -o safe {LOCAL} --json found.json --keep-metadata"),
        _case("folder again", "d/plain.jpg d/plain.png d/deeper/turned.jpg",
              f"blur d -o safe {LOCAL} --workers 1", f"blur d -o safe {LOCAL} --workers 1",
              f"blur d -o safe {LOCAL} --workers 1 --mask solid",
              f"blur d -o safe {LOCAL} --workers 1 --mask solid --again"),
        _case("folder with an audit", "d/plain.jpg d/moving.gif d/text.jpg",
              f"blur d -o safe {LOCAL} --workers 1 --audit record",
              f"blur d -o safe {LOCAL} --workers 1 --audit record"),
        _case("pattern", "plain.jpg grey.jpg", f"blur *.jpg -o safe {LOCAL} --workers 2"),
        Case("library", ("plain.png",), (("python", "-c", API),)),
        _case("server", "plain.jpg plain.mp4", "blur plain.jpg plain.mp4 -o safe",
              "blur plain.jpg -o sent.jpg --transport jpeg"),
    ]  # fmt: skip


def _videos() -> list[Case]:
    zone = "0%,0%/30%,0%/30%,40%"
    return [
        _blur("video, each frame alone", "plain.mp4", "--no-cover"),
        _blur("video, every third frame", "plain.mp4", "--detect-every 3 --cover-gap 0.5"),
        _blur("video, cover times", "plain.mp4", "--cover-before 0 --cover-after 0"),
        _blur("video, hidden and spared", "plain.mp4", "--hide 0-0.25 --spare 0.5-0.75"),
        _blur("video, a zone for a time", "plain.mp4", f"--always {zone}/@/0.3-0.6"),
        _blur("video, what moves", "plain.mp4", "--moving --moving-hold 1"),
        _case(
            "video, one track visible, and none but one",
            "plain.mp4",
            f"blur plain.mp4 {LOCAL} --json list.json",
            f"blur plain.mp4 {LOCAL} --boxes list.json --keep-visible 1 -o kept.mp4",
            f"blur plain.mp4 {LOCAL} --boxes list.json --only 1 -o only.mp4",
        ),
        _blur("video, without sound", "tracks.mkv", "--audio drop -o silent.mkv"),
        _blur("video, subtitles kept", "tracks.mkv", "--keep-subtitles -o kept.mkv"),
        _blur("video, encoder", "plain.mp4", "--encoder mpeg4 --quality 40 -o other.avi"),
        _blur("video to webm", "tracks.mkv", "-o out.webm"),
        _blur("video to mp4", "tracks.mkv", "-o out.mp4 --keep-metadata"),
        _blur("video to gif", "plain.mp4", "-o out.gif"),
        _blur("animation to video", "moving.gif", "-o out.mp4"),
        _blur("video, blurred boxes", "turned.mp4", "--mask blur --shape box --keep-metadata"),
        _blur("video, pixelated", "alpha.webm", "--mask pixelate --feather 0.2"),
    ]


def _images() -> list[Case]:
    masks = [
        ("veil", "--feather 0.3"), ("blur", "--shape box"), ("pixelate", "--expand 0"),
        ("solid", "--colour ff8000"), ("image", "--mask-image plain.bmp --shape box"),
    ]  # fmt: skip
    made = [
        Case(f"mask {mode}", ("plain.png", "alpha.png", "plain.bmp"),
             tuple(tuple(f"blur {file} {LOCAL} --mask {mode} {options}".split())
                   for file in ("plain.png", "alpha.png")))
        for mode, options in masks
    ]  # fmt: skip
    return [
        *made,
        _blur("zones", "plain.jpg", "--always 0,0/90,0/90,50 --never 100,0/300,0/300,250/100,250"),
        _blur("smallest face", "plain.jpg", "--min-face 200"),
        _blur("threshold and size", "plain.jpg", "--threshold 0.5 --size 320 --quality 60"),
        _blur("large, in fine tiles", "large.jpg", "--tiles fine --json found.json"),
        _blur("large, without tiles", "large.jpg", "--tiles off --json found.json"),
        _blur("titles kept", "turned.jpg", "--keep-metadata -o kept.jpg"),
        _blur("other format", "alpha.png", "-o out.webp"),
        _blur("other format, no alpha", "alpha.png", "-o out.jpg"),
        _blur("one frame of several", "pages.tiff", "-o out.png"),
        _blur("quiet", "plain.jpg", "--quiet"),
    ]


def _lists() -> list[Case]:
    return [
        _case("found and rendered", "plain.jpg moving.gif",
              f"blur plain.jpg moving.gif -o first {LOCAL} --json found.json",
              "blur plain.jpg moving.gif -o second --boxes found.json --mask solid"),
        _case("video found and rendered", "plain.mp4",
              f"blur plain.mp4 -o first.mp4 {LOCAL} --json found.json",
              "blur plain.mp4 -o second.mp4 --boxes found.json"),
        _case("boxes by hand", "plain.jpg boxes.json", "blur plain.jpg --boxes boxes.json"),
        _case("boxes of another size", "plain.jpg boxes_wrong_size.json",
              "blur plain.jpg --boxes boxes_wrong_size.json"),
        _case("boxes without frames", "plain.jpg boxes_no_frames.json",
              "blur plain.jpg --boxes boxes_no_frames.json"),
        _case("boxes of another file", "plain.png boxes.json", "blur plain.png --boxes boxes.json"),
    ]  # fmt: skip


def _proofs() -> list[Case]:
    beside = f"--audit record --json report.json {LOCAL}"
    return [
        _case("verified image", "plain.jpg", f"blur plain.jpg {LOCAL} --audit record",
              f"verify plain_blurred.jpg --source plain.jpg {beside}",
              f"verify plain_blurred.jpg --json alone.json {LOCAL}"),
        _case("verified video", "plain.mp4", f"blur plain.mp4 {LOCAL} --audit record",
              f"verify plain_blurred.mp4 --source plain.mp4 {beside}"),
        _case("a leak", "plain.jpg plain.png",
              f"verify plain.png --source plain.jpg --json report.json --sheet leaks.png {LOCAL}",
              f"verify plain.png {LOCAL}"),
        _case("another source", "plain.jpg large.jpg",
              f"verify plain.jpg --source large.jpg {LOCAL}"),
        _case("no audit", "plain.jpg", f"verify plain.jpg --audit nowhere {LOCAL}"),
    ]  # fmt: skip


def _cameras() -> list[Case]:
    return [
        _case("cameras", "good.yaml", "check good.yaml --no-probe"),
        _case("cameras with mistakes", "wrong.yaml", "check wrong.yaml --no-probe"),
        _case("cameras that are not there", "", "check none.yaml", "run none.yaml"),
        _case("programs", "", "--version", "--help", "blur --help", "verify --help", "run --help",
              "camera --help", "serve --help", "attack --help"),
    ]  # fmt: skip


def _refused() -> list[Case]:
    files = ("text.jpg", "nothing.jpg", "cut_off.jpg", "no_end.jpg", "cut_off.mp4", "letter.docx")
    plain = [
        ("itself", "-o plain.jpg"), ("no such suffix", "-o out.xyz"), ("no suffix", "-o out"),
        ("no such folder", "-o nowhere/out.jpg"), ("a zone of two corners", "--always 0,0/1,1"),
        ("no time span", "--hide soon"), ("a time span on a still", "--hide 0:01-0:02"),
        ("no mask image", "--mask image"), ("no colour", "--mask solid --colour mauve"),
        ("no such model", "--model yolov9-face"),
        ("no server", "--server 127.0.0.1:9 --deadline 1"),
        ("a threshold of two", "--threshold 2"), ("no such option", "--blur-everything"),
        ("no boxes", "--boxes nowhere.json"),
    ]  # fmt: skip
    return [
        *(_blur(f"refused: {file}", file) for file in files),
        *(
            _case(
                f"refused: {name}",
                "plain.jpg",
                f"blur plain.jpg {options}" + (f" {LOCAL}" if "server" not in name else ""),
            )
            for name, options in plain
        ),
        _case(
            "refused: nothing there",
            "",
            f"blur none.jpg {LOCAL}",
            f"blur none/*.jpg {LOCAL}",
            "blur",
        ),
        _case("refused: no images", "d/good.yaml", f"blur d {LOCAL}"),
    ]
