"""What is wrong, too slow, too much or somebody else's over HTTP and in deployments is refused in words."""

import json
import socket
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing

import pytest
import requests
from beta9.clients.gateway import (
    DeleteDeploymentRequest,
    DeployStubRequest,
    StopDeploymentRequest,
)
from beta9.clients.gateway import Volume as VolumeOfStub
from beta9.clients.secret import (
    CreateSecretRequest,
    DeleteSecretRequest,
    SecretServiceStub,
)
from beta9.clients.volume import DeleteVolumeRequest, PresignedUrlMethod

from harness import Volume, eventually
from harness.code import HELLO, WAITING


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=50)


def rest(peer):
    """What still comes until the other side ends the connection."""
    text = b""
    try:
        while piece := peer.recv(4096):
            text += piece
    except ConnectionError:
        pass
    return text


# ---- slow peers ----


def cut_off_while_headers_trickle_in(gateway):
    """One field at a time, each in time: the request has to be whole in time."""
    with closing(connect(gateway.http)) as peer:
        peer.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n")
        peer.settimeout(1)
        for number in range(60):
            try:
                if peer.recv(1) == b"":
                    return True
            except TimeoutError:
                pass
            except ConnectionError:
                return True
            try:
                peer.sendall(b"x-%d: y\r\n" % number)
            except ConnectionError:
                return True
        return False


def answered_while_a_body_does_not_come(gateway, path):
    """What many such peers are told in the end."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.facts['token']}\r\n"
        "content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
    )
    with ExitStack() as stack:
        peers = [stack.enter_context(closing(connect(gateway.http))) for _ in range(50)]
        for peer in peers:
            peer.sendall(head.encode())
        return rest(peers[0])


def test_who_stands_still_is_cut_off_and_holds_up_nobody(alone):
    """All at the same time, since each takes as long as is had patience with it."""
    paths = ["/api/v1/token", "/function/nobody"]
    with ThreadPoolExecutor() as pool:
        trickling = pool.submit(cut_off_while_headers_trickle_in, alone)
        answers = [pool.submit(answered_while_a_body_does_not_come, alone, path) for path in paths]
        while not all(answer.done() for answer in [trickling, *answers]):
            assert alone.api.get("/api/v1/workspace/current").status_code == 200
            wait([trickling, *answers], timeout=1)
        assert trickling.result(), "headers came for a minute, and nobody minded"
        assert requests.get(f"http://{alone.http}/health", timeout=5).status_code == 200
        for answer in answers:
            told = answer.result()
            assert told.startswith(b"HTTP/1.1 400 ") and b"stood still" in told, told


# ---- requests that make no sense ----


def test_a_wrong_method_is_told_which_there_are(api):
    headers = {"Authorization": f"Bearer {api.token}"}
    for method, path, there in (
        ("DELETE", "/api/v1/token", "GET,HEAD,POST"),
        ("GET", "/function/nobody", "POST"),
        ("PATCH", "/api/v1/workspace/x/limits", "PUT"),
        ("PUT", "/api/v1/openapi.json", "GET,HEAD"),
        ("POST", "/output/id/x", "GET,HEAD"),
    ):
        answer = requests.request(method, api.http + path, headers=headers, timeout=10)
        assert answer.status_code == 405 and answer.json()["message"], answer.text
        assert sorted(answer.headers["Allow"].split(",")) == there.split(","), path


@pytest.mark.parametrize(
    "options, status",
    [
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"data": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"json": {"name": 5}}, 422),
        ({"json": {"nonsense": 5}}, 422),
        ({"json": {"ttl_seconds": -1}}, 422),
        ({"json": {"kind": "root"}}, 400),
        ({"data": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 422),
        ({"data": b'{"a":' * 100_000, "headers": {"Content-Type": "application/json"}}, 400),
        ({"data": b" " * (3 << 20), "headers": {"Content-Type": "application/json"}}, 413),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_in_words(api, options, status):
    headers = {"Authorization": f"Bearer {api.token}", **options.pop("headers", {})}
    answer = requests.post(f"{api.http}/api/v1/token", headers=headers, timeout=10, **options)
    assert answer.status_code == status and answer.json()["message"], answer.text
    assert len(answer.text) < 2000, "the refusal repeats what was sent"


@pytest.mark.parametrize("path", ["/endpoint/id/x", "/function/nobody", "/api/v1/token"])
def test_a_refusal_before_the_body_says_that_the_connection_ends(api, path):
    """Or a client would send its next request on it, to nobody."""
    host, _, port = api.http.removeprefix("http://").partition(":")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        peer.sendall(f"{head}Content-Length: 2\r\n\r\n".encode())
        answer = rest(peer).lower()
        assert answer.startswith(b"http/1.1 401") and b"\r\nconnection: close\r\n" in answer
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        for _ in range(2):
            peer.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
            answer = peer.recv(4096).lower()
            assert answer.startswith(b"http/1.1 401") and b"connection: close" not in answer


def test_a_body_that_is_too_large_for_a_call_is_refused(api):
    stub = api.stub(HELLO, "app:hello")
    headers = {"Authorization": f"Bearer {api.token}"}
    body = json.dumps({"x": "y" * (17 << 20)}).encode()
    answer = requests.post(
        f"{api.http}/function/id/{stub}", data=body, headers=headers, timeout=30
    )
    assert answer.status_code == 413 and answer.json()["message"], answer.text
    assert not api.tasks(stub_id=[stub])


def test_a_request_line_that_is_too_long_or_no_http_is_refused(alone):
    for text in (b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01 tls\r\n"):
        with closing(connect(alone.http)) as peer:
            try:
                peer.sendall(text)
            except ConnectionError:
                pass
            answer = rest(peer)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert requests.get(f"http://{alone.http}/health", timeout=5).status_code == 200


# ---- addresses of others ----


def test_an_address_of_another_gateway_is_refused(api, alone):
    """Both have a volume and a file of the same name; the keys differ."""
    ours, other = Volume(api, "foreign"), Volume(alone.api, "foreign")
    ours.write("file", b"ours")
    other.write("file", b"theirs")
    for method, verb in (
        (PresignedUrlMethod.GetObject, "GET"),
        (PresignedUrlMethod.PutObject, "PUT"),
    ):
        signed = other.address("file", method).url
        here = signed.replace(alone.http, api.http.removeprefix("http://"))
        here = here.replace(other.id, ours.id).replace(alone.api.workspace, api.workspace)
        for place in (here, signed.replace(alone.http, api.http.removeprefix("http://"))):
            answer = requests.request(verb, place, data=b"x", timeout=10)
            assert answer.status_code == 403 and "not signed" in answer.json()["message"], place
    assert ours.read("file") == b"ours"


# ---- deploying ----


def deploy(app, source, handler="f"):
    directory = app.directory()
    (directory / "app.py").write_text(source)
    name = f"bad-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, "-m", "beta9", "deploy", f"app.py:{handler}", "--name", name]
    return name, app.launch(command, directory).finish()


def test_what_the_sdk_cannot_import_is_not_deployed(app, api):
    for source, words in (
        ("import no_such_module\n", "no_such_module"),
        ("def f(:\n", "SyntaxError"),
    ):
        name, done = deploy(app, source)
        assert done.code != 0 and words in done.stdout + done.stderr, done
        headers = {"Authorization": f"Bearer {api.token}"}
        answer = requests.post(f"{api.http}/function/{name}", headers=headers, timeout=10)
        assert answer.status_code == 404, answer.text


ONLY_HERE = """
import os
from beta9 import function

if "CONTAINER_ID" in os.environ:
    import no_such_module

@function(cpu=0.1)
def f():
    return 1
"""


def test_what_workers_cannot_import_is_told_to_who_calls_it(app, api):
    name, done = deploy(app, ONLY_HERE)
    assert done.code == 0, done
    headers = {"Authorization": f"Bearer {api.token}"}
    answer = requests.post(f"{api.http}/function/{name}", json={}, headers=headers, timeout=10)
    task = answer.json()["task_id"]
    assert api.wait(task) == "ERROR"
    assert "no_such_module" in api.get(f"/api/v1/task/{api.workspace}/{task}/logs").text


@pytest.mark.parametrize(
    "when, words", [("61 * * * *", "out of range"), ("* * * * * * *", "is no schedule")]
)
def test_a_schedule_that_is_none_fails_the_command_line_in_words(app, when, words):
    """The SDK refuses the first by itself, and the gateway the second."""
    source = f"from beta9 import schedule\n\n@schedule(when={when!r})\ndef f():\n    return 1\n"
    _, done = deploy(app, source)
    assert done.code != 0 and words in done.stdout + done.stderr, done


# ---- deleting what is in use ----


def test_a_deployment_that_is_deleted_ends_what_it_accepted(api, app):
    """Nothing that was accepted is lost, and nothing more is accepted."""
    stub = api.stub(WAITING, "app:wait", stub_type="function/deployment")
    name = f"used-{uuid.uuid4().hex[:8]}"
    made = api.gateway.deploy_stub(DeployStubRequest(stub_id=stub, name=name))
    gate = app.gate()
    call = api.call(stub, str(gate)).until("in")
    assert api.gateway.delete_deployment(DeleteDeploymentRequest(id=made.deployment_id)).ok
    headers = {"Authorization": f"Bearer {api.token}"}
    answer = requests.post(f"{api.http}/function/{name}", headers=headers, timeout=10)
    assert answer.status_code == 404, answer.text
    again = api.gateway.stop_deployment(StopDeploymentRequest(id=made.deployment_id))
    assert not again.ok and "does not exist" in again.err_msg
    gate.open()
    assert call.value == 5


def test_a_volume_that_is_deleted_while_a_job_has_it_harms_nobody(api, app):
    volume = Volume(api, f"used-{uuid.uuid4().hex[:8]}")
    volume.write("file", b"content")
    mounts = [VolumeOfStub(id=volume.id, mount_path="data")]
    gate = app.gate()
    call = api.call(api.stub(WAITING, "app:wait", volumes=mounts), str(gate)).until("in")
    assert volume.stub.delete_volume(DeleteVolumeRequest(name=volume.name)).ok
    assert not volume.stub.delete_volume(DeleteVolumeRequest(name=volume.name)).ok
    gate.open()
    assert call.finish().exit_code == 0
    again = Volume(api, volume.name)
    assert again.id != volume.id and again.names() == [], "one of the same name is a new one"


def test_a_secret_that_is_deleted_fails_the_calls_that_need_it_in_words(api):
    secrets, name = SecretServiceStub(api.channel), f"GONE_{uuid.uuid4().hex[:8].upper()}"
    assert secrets.create_secret(CreateSecretRequest(name=name, value="x")).ok
    stub = api.stub(HELLO, "app:hello", env=["X=${{secret." + name + "}}"])
    assert secrets.delete_secret(DeleteSecretRequest(name=name)).ok
    call = api.call(stub).finish()
    assert call.exit_code != 0
    told = eventually(
        lambda: api.task(call.task_id)["failure_reason"], bool, what="the reason is told"
    )
    assert name in told
