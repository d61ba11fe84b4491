"""The API against its description: each address answers whatever is sent as described, and never with a 500."""

import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from starlette.testclient import TestClient

from support.openapi import describe_api
from support.web_page import Process, edit, first_item, folder_with, ok, server_process, track
from tapetum.desk.web.server import routes

ENDLESS = ("get", "/api/events")
OPERATIONS = [(method, path) for path, each in describe_api()["paths"].items() for method in each]
SECONDS = 15.0


def test_the_description_has_each_address(page: TestClient) -> None:
    served = {
        (method.lower(), route.path.replace(":int", ""))
        for route in routes(page.app.state.page)
        for method in (route.methods or ()) - {"HEAD"}
    }
    assert {each for each in served if each[1].startswith("/api/")} == set(OPERATIONS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Process]:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    folder = folder_with(clip, tmp_path_factory.mktemp("api") / "videos")
    with server_process(folder, "--model", "static", "--jobs", "1") as server:
        edit(server.client, first_item(server.client), "add_grid", frame=0, rows=2, columns=2)
        track(server.client, first_item(server.client))
        yield server
        for job in (folder / ".tapetum-web" / "jobs").iterdir():
            ok(server.client.delete(f"/api/jobs/{job.name}"))


@pytest.fixture(scope="module")
def description(server: Process) -> dict[str, Any]:
    """The description, with ids that are there beside one that is not."""
    whole = deepcopy(describe_api())
    item = first_item(server.client).rsplit("/", 1)[1]
    job = ok(server.client.get(f"/api/items/{item}/project"))["job"]["id"]
    for each in (operation for path in whole["paths"].values() for operation in path.values()):
        for parameter in each["parameters"]:
            if parameter["name"] in ("item", "job"):
                there = item if parameter["name"] == "item" else job
                parameter["schema"] = {"type": "string", "enum": [there, "0" * 16]}
    return whole


@pytest.mark.slow
def test_whatever_is_sent_the_answer_is_as_described(server: Process, description: dict[str, Any]) -> None:
    """Requests to all addresses in any order, each on what those before have left, for `SECONDS`."""
    import schemathesis
    from schemathesis.specs.openapi import checks as api

    checks = [schemathesis.checks.not_a_server_error, api.status_code_conformance, api.content_type_conformance,
              api.response_schema_conformance]  # fmt: skip
    schema, modes = schemathesis.openapi.from_dict(description), schemathesis.GenerationMode
    requests = [
        schema[path][method.upper()].as_strategy(generation_mode=mode)
        for method, path in OPERATIONS
        if (method, path) != ENDLESS
        for mode in modes
    ]
    headers, end = {"X-Tapetum-Token": server.token}, time.monotonic() + SECONDS

    @settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(one_of(requests))
    def check(case: Any) -> None:
        if time.monotonic() < end:
            case.call_and_validate(base_url=server.address, headers=headers, checks=checks, timeout=600)

    check()
