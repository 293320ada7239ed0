"""The gateway's own description of its routes, and whether it keeps to it."""

import os
import re
import subprocess
import sys

import pytest
from beta9.clients.gateway import DeployStubRequest

from harness import SplitFleet
from harness.code import HELLO

# Seconds that a slow machine may take; others take a third.
LONGEST = 150


@pytest.fixture(scope="module")
def described(fleet, tmp_path_factory):
    """A gateway that has had work; its worker has gone, so that none can be taken out of service."""
    split = SplitFleet(tmp_path_factory.mktemp("described"), environments=fleet.environments)
    try:
        split.start()
        api = split.api
        stub = api.stub(HELLO, "app:hello", stub_type="function/deployment")
        deployed = api.gateway.deploy_stub(DeployStubRequest(stub_id=stub, name="described"))
        call = api.call(stub).finish()
        api.wait(call.task_id)
        split.known = {
            "workspace": api.workspace,
            "task": call.task_id,
            "stub": stub,
            "name": "described",
            "deployment": deployed.deployment_id,
        }
        split.remove_worker(split.workers[0])
        yield split
    finally:
        split.stop()


def test_the_document_needs_no_token_and_describes_the_routes(api):
    document = api.get("/api/v1/openapi.json", token="").json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    assert "/api/v1/task/{workspace}/{task}" in paths and "/function/{name}" in paths
    task = document["components"]["schemas"]["Task"]
    assert {"status", "result", "outputs"} <= task["properties"].keys()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def schemathesis(described, tmp_path, known, phases):
    """Makes up requests and looks at the answers; all it has to complain about."""
    lines = [f'"path.{name}" = "{value}"' for name, value in known.items()]
    config = tmp_path / "schemathesis.toml"
    config.write_text("\n".join(["[parameters]", *lines, ""]))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", f"http://{described.http}/api/v1/openapi.json"]
    command += ["--header", f"Authorization: Bearer {described.facts['token']}"]
    # It does not end by itself.
    command += ["--exclude-path", "/api/v1/logs/{workspace}/stream"]
    command += ["--checks", "all", "--phases", phases, "--max-examples", "8"]
    command += ["--request-timeout", "20"]
    command += ["--generation-database", "none", "--no-color", "--seed", "20261129"]
    command += ["--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("what", ["known", "unknown"])
def test_the_gateway_keeps_to_its_document(described, tmp_path, what):
    """Requests about what is there, and about anything at all."""
    known, phases = {}, "coverage"
    if what == "known":
        known, phases = described.known, "fuzzing,stateful"
    code, told = schemathesis(described, tmp_path, known, phases)
    assert code == 0, told[-20_000:]
    made = re.search(r"(\d+) generated", told)
    assert made and int(made[1]) > 100, told
