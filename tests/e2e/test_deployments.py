"""`beta9 deploy` and what can be done with a deployment."""

import json
import sys
import uuid

import pytest
import requests
from beta9.client.client import Client

SOURCE = """
from beta9 import function

@function(name="unused")
def greet(name="nobody", times=1):
    print(f"greeting {name}")
    return {"greeting": "hello " * int(times) + name, "version": VERSION}
"""


def source(version=1, decorator="@function("):
    return SOURCE.replace("VERSION", str(version)).replace("@function(", decorator)


class Deployer:
    """Deploys as a user does, in a directory with a program."""

    def __init__(self, app, api):
        self.app = app
        self.api = api
        self.directory = app.directory()

    def cli(self, *arguments, code=0):
        command = [sys.executable, "-m", "beta9", *arguments]
        done = self.app.launch(command, self.directory).finish()
        assert done.code == code, done
        return done

    def deploy(self, name, text=None, handler="greet", *options):
        (self.directory / "app.py").write_text(text or source())
        done = self.cli("deploy", f"app.py:{handler}", "--name", name, "--json", *options)
        return json.loads(done.stdout[done.stdout.index("{") :])

    def list(self, *filters):
        options = [option for each in filters for option in ("--filter", each)]
        done = self.cli("deployment", "list", "--format", "json", *options)
        return json.loads(done.stdout)

    def post(self, url, data=None, token=True, **options):
        url = url if url.startswith("http") else self.api.http + url
        headers = {"Authorization": f"Bearer {self.api.token}"} if token else {}
        return requests.post(url, json=data, headers=headers, timeout=30, **options)


@pytest.fixture
def deployer(app, api):
    return Deployer(app, api)


@pytest.fixture
def name():
    return f"greeter-{uuid.uuid4().hex[:8]}"


def value(api, answer):
    """What the task of an answer returned."""
    assert answer.status_code == 200, answer.text
    task_id = answer.json()["task_id"]
    assert api.wait(task_id) == "COMPLETE"
    client = Client(token=api.token, api_url=api.http)
    return client.get_task_by_id(task_id).result()


def test_a_deployed_function_is_called_over_http(deployer, api, name):
    made = deployer.deploy(name)
    assert (made["version"], made["status"], made["deployment_name"]) == (1, "accepted", name)
    answer = deployer.post(made["invoke_url"], {"name": "Ada"})
    assert value(api, answer) == {"greeting": "hello Ada", "version": 1}
    for path in (f"/function/{name}", f"/function/{name}/latest", f"/function/{name}/v1"):
        answer = deployer.post(path, {"args": ["Bob"], "kwargs": {"times": 2}})
        assert value(api, answer)["greeting"] == "hello hello Bob"
    answer = deployer.post(f"/function/id/{made['stub_id']}?name=Eve&times=2")
    assert value(api, answer)["greeting"] == "hello hello Eve"
    assert value(api, deployer.post(f"/function/{name}"))["greeting"] == "hello nobody"


def test_the_sdks_client_submits_to_a_deployment(deployer, api, name):
    made = deployer.deploy(name)
    client = Client(token=api.token, api_url=api.http)
    for deployment in (
        client.get_deployment_by_id(made["deployment_id"]),
        client.get_deployment_by_stub_id(made["stub_id"]),
    ):
        task = deployment.submit(input={"name": "Ada"})
        assert task.result(wait=True)["greeting"] == "hello Ada"


def test_versions_count_up_and_stay_callable(deployer, api, name):
    deployer.deploy(name, source(1))
    second = deployer.deploy(name, source(2))
    assert second["version"] == 2
    calls = {"": 2, "/latest": 2, "/v1": 1, "/v2": 2}
    for end, version in calls.items():
        assert value(api, deployer.post(f"/function/{name}{end}"))["version"] == version
    assert deployer.post(f"/function/{name}/v3").status_code == 404
    deployer.cli("deployment", "delete", "--yes", second["deployment_id"])
    assert value(api, deployer.post(f"/function/{name}"))["version"] == 1
    assert deployer.deploy(name, source(3))["version"] == 3, "a version is never given twice"


def test_a_new_version_can_replace_the_old_ones(deployer, name):
    deployer.deploy(name)
    second = deployer.deploy(name, source(2), "greet", "--rollout", "replace")
    assert second["rollout_action"] == "replace"
    assert deployer.post(f"/function/{name}/v1").status_code == 400
    active = {each["version"]: each.get("active", False) for each in deployer.list(f"name={name}")}
    assert active == {1: False, 2: True}


def test_a_deployment_is_listed_stopped_and_started(deployer, api, name):
    made = deployer.deploy(name)
    identity = made["deployment_id"]
    [listed] = deployer.list(f"id={identity}")
    assert (listed["name"], listed["stub_type"]) == (name, "function/deployment")
    assert listed["active"] and listed["stub_id"] == made["stub_id"]
    assert deployer.list(f"name={name}", "active=no") == []
    deployer.cli("deployment", "stop", identity)
    refused = deployer.post(f"/function/{name}")
    assert refused.status_code == 400
    assert "is stopped" in refused.json()["message"] and identity in refused.json()["message"]
    by_id = deployer.post(f"/function/id/{made['stub_id']}")
    assert by_id.status_code == 400, "its stub takes no calls either"
    assert deployer.list(f"name={name}", "active=yes") == []
    deployer.cli("deployment", "start", identity)
    assert value(api, deployer.post(f"/function/{name}"))["version"] == 1


def test_waiting_for_a_deployment_ends_at_once_where_it_is_active(deployer, name):
    made = deployer.deploy(name)
    done = deployer.cli("deployment", "wait", made["deployment_id"])
    assert json.loads(done.stdout)["status"] == "active"


def test_scaling_limits_the_containers(deployer, api, app, name):
    gate = app.gate()
    text = """
from beta9 import function

@function(cpu=0.1)
def hold(gate):
    open(gate).read()
"""
    made = deployer.deploy(name, text, "hold")
    deployer.cli("deployment", "scale", made["deployment_id"], "--containers", "1")
    tasks = [deployer.post(f"/function/{name}", {"gate": str(gate)}).json()["task_id"] for _ in "ab"]
    api.wait(tasks[0], "RUNNING")
    explained = api.get(f"/api/v1/task/{api.workspace}/{tasks[1]}/explain").json()
    assert "the 1 container that it may have" in explained["sentence"], explained
    for task in tasks:
        gate.open()
        assert api.wait(task) == "COMPLETE"


def test_a_public_deployment_needs_no_token(deployer, api, name):
    text = """
from beta9 import task_queue

@task_queue(authorized=False)
def greet(name):
    return "hello " + name
"""
    made = deployer.deploy(name, text)
    assert "/taskqueue/public/" in made["invoke_url"]
    answer = deployer.post(made["invoke_url"], {"name": "all"}, token=False)
    assert value(api, answer) == "hello all"


def test_who_has_no_right_gets_nothing(deployer, name):
    made = deployer.deploy(name)
    assert deployer.post(f"/function/{name}", token=False).status_code == 401
    assert deployer.post(f"/function/{name}?auth_token=wrong", token=False).status_code == 401
    private = deployer.post(f"/function/public/{made['stub_id']}", token=False)
    assert private.status_code == 404
    good = deployer.post(f"/function/{name}?auth_token={deployer.api.token}", token=False)
    assert good.status_code == 200


def test_bad_requests_say_what_is_wrong(deployer, name):
    made = deployer.deploy(name)
    headers = {"Authorization": f"Bearer {deployer.api.token}"}
    for body in (b"{", b"[1]", b'"text"'):
        answer = requests.post(made["invoke_url"], data=body, headers=headers, timeout=10)
        assert answer.status_code == 400 and "no JSON object" in answer.json()["message"]
    missing = deployer.post("/function/no-such-thing")
    assert missing.status_code == 404 and "no-such-thing" in missing.json()["message"]
    (deployer.directory / "app.py").write_text(source())
    for bad in ("a/b", "id", "ü"):
        done = deployer.cli("deploy", "app.py:greet", "--name", bad, code=1)
        assert "deployment's name" in done.stdout + done.stderr, done


def test_deployments_outlive_the_gateway(split, split_app):
    deployer = Deployer(split_app, split.api)
    made = deployer.deploy("survivor")
    split.restart_gateway()
    deployer.api = split.api
    assert value(split.api, deployer.post("/function/survivor"))["version"] == 1
    assert [each["id"] for each in deployer.list("name=survivor")] == [made["deployment_id"]]
