"""Endpoints and web applications that are deployed under a name."""

import json
import sys
import uuid

import requests

from harness import eventually

SOURCE = """
from beta9 import asgi, endpoint

@endpoint(cpu=0.1, keep_warm_seconds=10)
def greet(name="nobody"):
    return {"hello": name}

@asgi(cpu=0.1, keep_warm_seconds=10)
def web(context):
    async def app(scope, receive, send):
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    return app
"""


def deploy(app, handler):
    directory = app.directory()
    (directory / "app.py").write_text(SOURCE)
    name = f"{handler}-{uuid.uuid4().hex[:8]}"

    def beta9(*arguments):
        done = app.launch([sys.executable, "-m", "beta9", *arguments], directory).finish(120)
        assert done.code == 0, done
        return done.stdout

    told = beta9("deploy", f"app.py:{handler}", "--name", name, "--json")
    return name, json.loads(told[told.index("{") :]), beta9


def test_an_endpoint_is_deployed_waited_for_called_and_stopped(app, api):
    name, made, beta9 = deploy(app, "greet")
    assert json.loads(beta9("deployment", "wait", made["deployment_id"]))["status"] == "ready"
    headers = {"Authorization": f"Bearer {api.token}"}
    for url in (made["invoke_url"], f"{api.http}/endpoint/{name}", f"{api.http}/endpoint/{name}/v1"):
        answer = requests.post(url, json={"name": "Ada"}, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()) == (200, {"hello": "Ada"}), answer.text
    assert requests.post(made["invoke_url"], json={}, timeout=10).status_code == 401
    beta9("deployment", "stop", made["deployment_id"])
    for url in (made["invoke_url"], f"{api.http}/endpoint/id/{made['stub_id']}"):
        refused = requests.post(url, json={}, headers=headers, timeout=10)
        assert refused.status_code == 400 and "is stopped" in refused.text
    beta9("deployment", "start", made["deployment_id"])
    answer = requests.post(made["invoke_url"], json={}, headers=headers, timeout=60)
    assert answer.json() == {"hello": "nobody"}


def test_a_web_application_gets_the_path_behind_its_name(app, api):
    name, _, _ = deploy(app, "web")
    headers = {"Authorization": f"Bearer {api.token}"}
    for path, seen in (("", "/"), ("/a/b", "/a/b"), ("/v1/c", "/c"), ("/latest", "/")):
        url = f"{api.http}/asgi/{name}{path}"
        answer = eventually(
            lambda: requests.get(url, headers=headers, timeout=60),
            lambda answer: answer.status_code == 200,
            what="the application answers",
        )
        assert answer.text == seen
