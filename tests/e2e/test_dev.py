"""`metal9 dev` itself."""

import subprocess

import pytest

from harness import DevFleet
from harness.daemon import binary
from harness.fleet import system_environment


def dev(*arguments):
    """Runs `metal9 dev` to its end."""
    return subprocess.run(
        [str(binary()), "dev", *map(str, arguments)],
        env=system_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_second_system_on_the_same_state_is_refused(fleet):
    done = dev("--state", fleet.state, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert done.returncode != 0
    assert str(fleet.state) in done.stderr


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_a_port_that_is_taken_is_named(fleet, tmp_path, door):
    ports = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0", door: fleet.facts[door]}
    done = dev("--state", tmp_path / "s", "--grpc", ports["grpc"], "--http", ports["http"])
    assert done.returncode != 0
    assert fleet.facts[door] in done.stderr


def test_a_wrong_address_is_a_usage_error(tmp_path):
    done = dev("--state", tmp_path / "s", "--grpc", "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_a_system_that_is_started_again_is_the_same_one(tmp_path):
    again = DevFleet(tmp_path / "state")
    again.start()
    before, workspace = again.facts, again.api.workspace
    again.beta9("secret", "create", "KEPT", "kept")
    again.stop()
    assert not (again.state / "dev.json").exists(), "nobody takes it for a running one"
    again.start()
    try:
        assert again.facts["token"] == before["token"]
        assert again.api.workspace == workspace
        assert "KEPT" in again.beta9("secret", "list").stdout
        assert len(again.api.get("/api/v1/status").json()["workers"]) == 1
    finally:
        again.stop()
