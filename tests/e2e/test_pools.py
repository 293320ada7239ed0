"""Pools and machines: made, joined and taken away with the SDK's own command line."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from beta9.clients.gateway import (
    CreateMachineRequest,
    CreatePoolRequest,
    DeleteMachineRequest,
    DeletePoolRequest,
    DeployStubRequest,
    GetPoolJoinCommandRequest,
    ListPoolMachinesRequest,
    PoolConfig,
    StopDeploymentRequest,
)

from harness import App, SplitFleet, eventually
from harness.code import HELLO, WAITING
from harness.daemon import binary

PROGRAM = """
import os
from beta9 import function

@function(pool="studio")
def where():
    return os.uname().sysname

if __name__ == "__main__":
    print('"' + where.remote() + '"')
"""


@pytest.fixture(scope="module")
def pools(fleet, tmp_path_factory):
    """A gateway of the module's own, which no worker has joined."""
    root = tmp_path_factory.mktemp("pools")
    with SplitFleet(root, workers=0, environments=fleet.environments) as split:
        yield split


@pytest.fixture
def user(pools, tmp_path):
    app = App(tmp_path, pools.config)
    yield app
    app.close()


def machine_environment(pools, state):
    """The environment of somebody on a machine that has metal9, whose worker keeps `state`."""
    state.mkdir()
    (state / "env").symlink_to(pools.environments)
    path = f"{binary().parent}{os.pathsep}{pools.env['PATH']}"
    return {**pools.env, "PATH": path, "METAL9_WORKER_STATE_DIR": str(state)}


def private(pools, name):
    """The pool as `beta9 pool list` shows it; nothing if it does not."""
    listed = json.loads(pools.beta9("pool", "list", "--format", "json").stdout)
    return next((pool for pool in listed["private_pools"] if pool["name"] == name), None)


def make(pools, name):
    assert pools.api.gateway.create_pool(CreatePoolRequest(pool=PoolConfig(name=name))).ok


def machines(pools, name):
    """The states of a pool's machines."""
    answer = pools.api.gateway.list_pool_machines(ListPoolMachinesRequest(pool_name=name))
    assert answer.ok, answer
    assert not any(machine.registration_token for machine in answer.machines)
    return {machine.id: machine.status for machine in answer.machines}


def not_deleted(pools, name):
    """Why a pool is not deleted."""
    answer = pools.api.gateway.delete_pool(DeletePoolRequest(name=name))
    assert not answer.ok
    return answer.err_msg


def not_removed(pools, machine, pool=""):
    """Why a machine is not deleted."""
    request = DeleteMachineRequest(machine_id=machine, pool_name=pool)
    answer = pools.api.gateway.delete_machine(request)
    assert not answer.ok
    return answer.err_msg


def refused(pools, *arguments):
    """What the SDK shows of a command that is refused."""
    done = pools.beta9(*arguments, code=1)
    return done.stdout + done.stderr


def shell(pools, command, state, code=0):
    """Runs a join command up to the worker that would then run."""
    join = command.partition(" && metal9 worker run")[0]
    done = subprocess.run(
        join,
        shell=True,
        env=machine_environment(pools, state),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == code, done
    return done.stdout + done.stderr


def test_a_pool_is_made_shown_and_deleted(pools):
    pools.beta9("pool", "create", "attic", "--gpu", "H100", "--nodes", "2")
    made = private(pools, "attic")
    assert made["status"] == "empty" and made["config"]["gpu"] == ["H100"]
    assert "2 nodes (H100)" in pools.beta9("pool", "list").stdout
    make(pools, "attic")
    said = refused(pools, "pool", "create", "attic", "--nodes", "3")
    assert "exists already" in said
    pools.beta9("pool", "delete", "attic")
    assert private(pools, "attic") is None
    assert "does not exist" in not_deleted(pools, "attic")


def test_a_machine_joins_a_pool_and_runs_its_jobs(pools, user, tmp_path):
    gate = user.gate()
    env = machine_environment(pools, tmp_path / "machine")
    command = [sys.executable, "-m", "beta9", "pool", "join", "studio"]
    joining = user.launch(command, user.directory(), env=env)
    pools.wait_for_workers(1)
    shown = json.loads(pools.beta9("pool", "machines", "studio", "--format", "json").stdout)
    [worker] = shown["machines"]
    assert worker["status"] == "ready" and worker["pool_name"] == "studio"
    assert private(pools, "studio")["ready_machine_count"] == 1
    assert user(PROGRAM).json == "Linux"

    stub = pools.api.stub(WAITING, "app:wait", pool=PoolConfig(name="studio"))
    call = pools.api.call(stub, str(gate.path)).until("in")
    said = not_removed(pools, worker["id"])
    assert "runs a call" in said and "machine drain" in said
    assert worker["id"] in not_deleted(pools, "studio")
    gate.open()
    assert call.value == 5

    delete = DeleteMachineRequest(machine_id=worker["id"])
    eventually(
        lambda: pools.api.gateway.delete_machine(delete),
        lambda answer: answer.ok,
        what="the machine has no call and is deleted",
    )
    assert machines(pools, "studio") == {}
    eventually(
        lambda: joining.stderr,
        lambda text: "join it again" in text,
        what="the worker is told that it is none any more",
    )
    # What Ctrl-C does in a terminal.
    os.killpg(joining.process.pid, signal.SIGINT)
    joining.finish()


def test_the_join_command_is_good_for_many_machines_until_the_pool_is_deleted(pools, tmp_path):
    make(pools, "many")
    command = pools.beta9("pool", "join-command", "many", "--ttl", "1h").stdout.strip()
    assert re.fullmatch(
        rf"metal9 worker join {pools.grpc} --token \S+ --pool many && metal9 worker run", command
    )
    for number in range(2):
        assert "joined pool many" in shell(pools, command, tmp_path / str(number))
    joined = machines(pools, "many")
    assert list(joined.values()) == ["disconnected"] * 2
    said = not_deleted(pools, "many")
    assert all(machine in said for machine in joined)
    for machine in joined:
        delete = DeleteMachineRequest(machine_id=machine, pool_name="many")
        assert pools.api.gateway.delete_machine(delete).ok
    pools.beta9("pool", "delete", "many")
    assert "was revoked" in shell(pools, command, tmp_path / "late", code=1)


def test_a_machine_is_expected_until_it_joins_or_is_deleted(pools, tmp_path):
    make(pools, "rack")
    said = pools.beta9("machine", "create", "--pool", "rack").stdout
    [identity] = re.findall(r"ID: '([0-9a-f-]{36})'", said)
    [command] = re.findall(r"metal9 worker join .*", said)
    assert machines(pools, "rack") == {identity: "waiting"}
    assert identity in pools.beta9("machine", "list", "--no-offers").stdout
    pools.beta9("machine", "delete", identity)
    assert machines(pools, "rack") == {}
    assert "was revoked" in shell(pools, command, tmp_path / "late", code=1)
    assert "does not exist" in not_removed(pools, identity)

    made = pools.api.gateway.create_machine(CreateMachineRequest(pool_name="rack"))
    identity, command = made.machine.id, made.install_command
    elsewhere = command.replace("--pool rack", "--pool attic")
    assert "is for another pool" in shell(pools, elsewhere, tmp_path / "elsewhere", code=1)
    shell(pools, command, tmp_path / "machine")
    assert "was used already" in shell(pools, command, tmp_path / "second", code=1)
    assert list(machines(pools, "rack").values()) == ["disconnected"]
    assert identity not in machines(pools, "rack"), "it has become a worker"
    assert "does not exist" in not_removed(pools, identity, "other")
    assert pools.api.gateway.delete_machine(DeleteMachineRequest(machine_id=identity)).ok
    assert machines(pools, "rack") == {}


def test_a_pool_that_a_deployment_needs_is_not_deleted(pools):
    make(pools, "needed")
    stub = pools.api.stub(
        HELLO, "app:hello", stub_type="function/deployment", pool=PoolConfig(name="needed")
    )
    deployed = pools.api.gateway.deploy_stub(DeployStubRequest(stub_id=stub, name="needy"))
    assert "function/app:hello" in not_deleted(pools, "needed")
    stop = StopDeploymentRequest(id=deployed.deployment_id)
    assert pools.api.gateway.stop_deployment(stop).ok
    assert pools.api.gateway.delete_pool(DeletePoolRequest(name="needed")).ok


@pytest.mark.parametrize(
    "config, told",
    [
        ({"name": ""}, "pool name"),
        ({"name": "a b"}, "pool name"),
        ({"name": "$(reboot)"}, "pool name"),
        ({"name": "x" * 65}, "pool name"),
        ({"name": "x", "gpu": ["Voodoo2"]}, "no accelerator"),
        ({"name": "x", "providers": ["hetzner"]}, "rents no machines"),
        ({"name": "x", "ttl": "1h", "max_spend": 5}, "rents no machines"),
        ({"name": "x", "mode": "public"}, "cannot be `public`"),
        ({"name": "x", "container_runtime": "gvisor"}, "worker.runtime"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(pools, config, told):
    answer = pools.api.gateway.create_pool(CreatePoolRequest(pool=PoolConfig(**config)))
    assert not answer.ok and told in answer.err_msg, answer


def test_nobody_is_invited_to_a_pool_that_is_not_there_or_forever(pools):
    def ask(pool, ttl=""):
        request = GetPoolJoinCommandRequest(pool_name=pool, ttl=ttl)
        return pools.api.gateway.get_pool_join_command(request)

    assert "does not exist" in ask("nowhere").err_msg
    assert "does not exist" in refused(pools, "machine", "create", "--pool", "nowhere")
    nowhere = ListPoolMachinesRequest(pool_name="nowhere")
    assert "does not exist" in pools.api.gateway.list_pool_machines(nowhere).err_msg
    for ttl, told in (("soon", "as 45s, 30m"), ("0s", "as 45s, 30m"), ("31d", "to live")):
        answer = ask("default", ttl)
        assert not answer.ok and told in answer.err_msg and not answer.token, answer
    assert ask("default").ok
