"""State below a directory of programs, all of which jobs read: it is kept from them."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import DevFleet
from harness.daemon import binary

CODE = {
    "app.py": """
    import os

    def look(places):
        found = []
        for place in places:
            try:
                found.append((place, os.listdir(place) if os.path.isdir(place) else open(place, "rb").read(1)))
            except OSError:
                pass
        return found
    """
}


@pytest.fixture
def programs():
    """A directory below `/opt`."""
    if os.getuid() != 0:
        pytest.skip("only root makes directories in /opt")
    place = Path(tempfile.mkdtemp(prefix="metal9-e2e-", dir="/opt"))
    yield place
    shutil.rmtree(place)


def test_a_job_reads_neither_the_gateways_state_nor_a_home_there(fleet, programs):
    home = programs / "home"
    key = home / ".ssh/id_ed25519"
    key.parent.mkdir(parents=True)
    key.write_text("private")
    (programs / "tool").write_text("for everybody")
    dev = DevFleet(programs / "state", HOME=str(home))
    # An environment that is there already is not made again.
    shutil.copytree(fleet.environments, dev.environments, symlinks=True)
    dev.start()
    try:
        places = [programs, programs / "tool", dev.state, dev.state / "dev.json", dev.config]
        places += [dev.state / "gateway", dev.state / "gateway/secret.key", home, key]
        assert all(place.exists() for place in places)
        look = dev.api.stub(CODE, "app:look")
        found = dict(dev.api.call(look, [str(place) for place in places]).value)
        assert found.pop(str(programs / "tool")) == b"f"
        assert {"tool", "state", "home"} <= set(found.pop(str(programs)))
        # What is left of the state is the way to what is the job's own.
        assert found.pop(str(dev.state), ["worker"]) == ["worker"]
        assert found.pop(str(home), []) == []
        assert not found
    finally:
        dev.stop()


def test_a_gateway_refuses_to_keep_its_state_there(programs):
    state = programs / "not-yet" / "gateway"
    done = subprocess.run(
        [str(binary()), "gateway", "--state", str(state)], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2 and not state.parent.exists()
    assert f"the gateway's state cannot be in `{state}`" in done.stderr
    assert "jobs on this machine read all of /opt" in done.stderr
    assert "hint: choose a directory elsewhere" in done.stderr
