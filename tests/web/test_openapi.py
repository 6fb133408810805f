"""The description of the addresses: complete, and true for whatever anybody sends."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from media import moving_face_video
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.routing import Mount, Route
from waiting import until
from web_programs import TOKEN, Programs, programs

from faceblur.detection.session import DetectionSession, SessionOptions
from faceblur.web.description import description
from faceblur.web.options import WebOptions

PHOTO = (Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg").read_bytes()
ENDLESS = {"follow", "followOne"}
"""Operations whose answers end when the program does, or a file that waits."""

PAGE_ALONE = "/api/cameras"
"""What programs are not told and cannot do, so that nothing is to be described."""

UNSUITED = [positive_data_acceptance, negative_data_rejection]
"""No schema says which files are photos, and what nobody knows is passed over."""


@pytest.fixture(scope="module")
def served(
    session: DetectionSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Programs]:
    """A server with a photo and a video that are covered, and a file that is none."""
    assert session.server is not None
    folder = tmp_path_factory.mktemp("described")
    moving_face_video(folder / "clip.mp4", frames=5, width=320, height=180)
    options = WebOptions(token=TOKEN, session=SessionOptions(server=session.server.address))
    with programs(folder, options, works=True) as running:
        running.send(PHOTO, edits='{"look": {"mode": "solid"}, "sound": {"audio": "drop"}}')
        running.send((folder / "clip.mp4").read_bytes(), name="clip.mp4")
        running.send(PHOTO[:3000], name="broken.jpg")
        jobs = running.store.of(running.owner)
        until(lambda: {job.state for job in jobs} <= {"done", "failed"}, "all files are done")
        yield running


def test_every_address_is_described_and_none_that_there_is_not(served: Programs) -> None:
    routes = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in served.api.app.routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        if not route.path.startswith(PAGE_ALONE)
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {
        (path, method)
        for path, operations in description()["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert routes == described, "describe it in client/faceblur/web/openapi.yaml"
    text = str(description())
    schemas = description()["components"]["schemas"]
    assert [name for name in schemas if f"/schemas/{name}'" not in text] == []
    (rest,) = (route for route in served.api.app.routes if isinstance(route, Mount))
    assert rest.path == "/static"
    assert served.ask("GET", PAGE_ALONE).json() == {"file": None}
    assert served.ask("POST", f"{PAGE_ALONE}/orders").status_code == 404
    assert served.ask("GET", "/api/openapi.json").json() == description()


def test_all_that_is_said_of_a_file_is_described(served: Programs) -> None:
    schemas = description()["components"]["schemas"]

    def check(said: dict[str, Any], name: str) -> None:
        assert said.keys() == schemas[name]["properties"].keys(), "see openapi.yaml"

    state = served.ask("GET", "/api/jobs").json()
    check(state, "State")
    (photo, clip, broken) = state["jobs"]
    for job in (photo, clip, broken):
        check(job, "Job")
    assert [job["state"] for job in (photo, clip, broken)] == ["done", "done", "failed"]
    check(photo["result"], "Result")
    check(photo["result"]["verdict"], "Verdict")
    # What was wanted from the start has been done, as far as the file has it.
    edits = photo["result"]["edits"]
    assert (edits["look"]["mode"], "sound" in edits) == ("solid", False)
    check({"sound": None, **edits}, "Edits")
    check(edits["look"], "Look")
    check(served.ask("GET", "/api/session").json(), "Session")


def test_a_number_that_nobody_means_is_no_accident(served: Programs) -> None:
    (photo, clip, _) = (job.id for job in served.store.of(served.owner))
    many = "9" * 5000
    assert served.ask("GET", f"/api/jobs/{clip}/people/{many}").status_code == 404
    for number in (photo, clip):
        for at in (many, f"0.{many}", f"{many}:{many}", "1e999", "nan", "-1", "٣", ""):
            asked = served.ask("GET", f"/api/jobs/{number}/found", params={"at": at})
            assert asked.status_code == 422, at
    edits = f'{{"kept": [{many}]}}', '{"kept": [1e999]}', "[" * 10_000, '{"kept": [NaN]}', "\xff"
    for body in edits:
        asked = served.ask("POST", f"/api/jobs/{clip}/edits", data=body.encode("latin-1"))
        assert asked.status_code == 422, body[:20]
    huge = {"Content-Length": many}
    assert served.ask("POST", "/api/jobs", headers=huge).status_code in (400, 411)


def _known(served: Programs) -> dict[str, Any]:
    """The description, with the ids of files that there are."""
    document = copy.deepcopy(description())
    jobs = [job.id for job in served.store.of(served.owner)]
    document["components"]["parameters"]["Id"]["schema"] = {"enum": [*jobs, "unknown"]}
    return document


def _ask_anything(
    served: Programs,
    document: dict[str, Any],
    mode: GenerationMode,
    *,
    examples: int = 4,
    deletes: bool = False,
) -> set[int]:
    """Ask what fits a description, or does not, and compare the answers with it.

    Returns:
        The statuses of the answers.
    """
    schema = schemathesis.openapi.from_dict(document)
    operations = [each.ok() for each in schema.get_all_operations()]
    operations = [each for each in operations if (each.method == "delete") is deletes]
    shown = {"Authorization": f"Bearer {TOKEN}"}
    seen: set[int] = set()
    for operation in operations:
        if operation.definition.raw["operationId"] in ENDLESS:
            continue

        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        @hypothesis.settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        def ask(case: schemathesis.Case) -> None:
            answer = case.call_and_validate(
                base_url=served.base, headers=shown, excluded_checks=UNSUITED, timeout=60
            )
            seen.add(answer.status_code)

        ask()
    return seen


@pytest.mark.filterwarnings("ignore:Do not use the .random. module")
def test_whatever_is_asked_is_answered_as_described(served: Programs) -> None:
    document = _known(served)
    wrong = _known(served)
    only = "/api/jobs/{id}"
    wrong["paths"] = {only: wrong["paths"][only]}
    del wrong["paths"][only]["get"]["responses"]["404"]
    with pytest.raises(FailureGroup, match="Received: 404"):
        _ask_anything(served, wrong, GenerationMode.POSITIVE, examples=8)
    seen = _ask_anything(served, document, GenerationMode.NEGATIVE)
    assert {200, 404, 422} < seen
    seen = _ask_anything(served, document, GenerationMode.POSITIVE, examples=6)
    assert {200, 201, 202, 404, 422} < seen
    for mode in GenerationMode:
        assert 204 in _ask_anything(served, document, mode, deletes=True)
