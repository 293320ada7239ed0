"""Who is who: TLS, join tokens, the credentials of workers, tokens, secrets and the audit log."""

import json
import ssl
import time
import urllib.error
import urllib.request

import grpc
import pytest
from beta9.clients.gateway import SecretVar, StopTasksRequest
from beta9.clients.secret import (
    CreateSecretRequest,
    GetSecretRequest,
    SecretServiceStub,
    UpdateSecretRequest,
)

from harness import Gate, SecureFleet, eventually
from harness.code import CALLS_BACK

WAITING = {
    "app.py": """
    import os

    def wait(gate):
        print(os.getpid(), "HERE", flush=True)
        open(gate).read()
        return "finished"

    def soon():
        return "at once"

    def secret():
        return os.environ["IDENTITY_SECRET"][::-1]
    """
}


@pytest.fixture(scope="module")
def secure_fleet(tmp_path_factory):
    fleet = SecureFleet(tmp_path_factory.mktemp("secure"))
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def secure(secure_fleet):
    """A gateway with TLS and its worker, running."""
    secure_fleet.restore()
    return secure_fleet


@pytest.fixture
def fifo(tmp_path):
    """A gate at which a function waits."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.try_open()


def test_the_sdk_calls_over_tls_and_its_job_calls_back(secure, tmp_path):
    done = secure.run(CALLS_BACK, tmp_path)
    assert done.returncode == 0, done
    assert "came back with 41" in done.stdout
    assert secure.facts["fingerprint"] == secure.identity["fingerprint"]


def test_http_is_tls_too_and_says_so_to_those_who_speak_plain_text(secure):
    http = secure.facts["http"]
    trust = ssl.create_default_context(cafile=secure.facts["ca"])
    with urllib.request.urlopen(f"https://{http}/health", context=trust) as answer:
        assert json.loads(answer.read())["status"] == "ok"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://{http}/health")
    assert refused.value.code == 400 and "https://" in json.loads(refused.value.read())["message"]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"https://{http}/health", context=ssl.create_default_context())


def test_a_worker_gives_its_join_token_to_no_other_gateway(secure, tmp_path):
    command = secure.join_command()
    wrong = [*command[:-1], f"sha256:{'0' * 64}"]
    said = secure.join(*wrong, state=tmp_path / "w", code=1)
    assert "not the expected gateway" in said and "fingerprint" in said and "hint:" in said
    plain = secure.join(*command[:-2], state=tmp_path / "w", code=1)
    assert "hint:" in plain and "--fingerprint" in plain
    # The gateway has not seen the token either time: it is still good for the one worker.
    assert "joined pool default" in secure.join(*command, state=tmp_path / "w")
    worker = json.loads((tmp_path / "w" / "worker.json").read_text())["worker_id"]
    assert (tmp_path / "w" / "worker.json").stat().st_mode & 0o777 == 0o600
    secure.metal9("worker", "remove", worker, "--state", str(secure.state))
    assert secure.state_of(worker) == "unknown"


def test_join_tokens_say_why_they_are_refused(secure, tmp_path):
    once = secure.join_command("--pool", "attic")
    assert "joined pool attic" in secure.join(*once, state=tmp_path / "w")
    assert "was used already" in secure.join(*once, state=tmp_path / "x", code=1)
    brief = secure.join_command("--expires", "1s", "--pool", "cellar")
    taken_back = secure.join_command("--reusable", "--pool", "garden")
    assert "joined pool garden" in secure.join(*taken_back, state=tmp_path / "w")
    tokens = {token["pool"]: token for token in secure.ask("token", "join", "list")}
    assert tokens["garden"]["state"] == "open" and tokens["garden"]["used"] == 1
    secure.ask("token", "join", "revoke", tokens["garden"]["id"])
    assert "was revoked" in secure.join(*taken_back, state=tmp_path / "x", code=1)

    def brief_state():
        return next(t["state"] for t in secure.ask("token", "join", "list") if t["pool"] == "cellar")

    eventually(brief_state, lambda state: state == "expired", what="the token runs out")
    assert "has expired" in secure.join(*brief, state=tmp_path / "x", code=1)
    unknown = [*once[:4], "x" * 88, *once[5:]]
    said = eventually(
        lambda: secure.join(*unknown, state=tmp_path / "x", code=1),
        lambda said: "too many joins" in said,
        what="guessing is slowed down",
        within=60,
    )
    assert "is not known" not in said
    assert not (tmp_path / "x" / "worker.json").exists()
    for worker in secure.ask("worker", "list"):
        if worker["pool"] != "default":
            secure.ask("worker", "remove", worker["id"])


def test_a_worker_gets_a_new_credential_while_its_job_runs(secure, fifo):
    stub = secure.api.stub(WAITING, "app:wait")
    call = secure.api.call(stub, str(fifo.path)).until("HERE")
    before = secure.identity
    secure.ask("worker", "rotate", before["worker_id"])
    after = eventually(
        lambda: secure.identity, lambda now: "previous" not in now, what="the old one is forgotten"
    )
    assert after["credential"] != before["credential"]
    fifo.open()
    assert call.value == "finished" and call.output.count("HERE") == 1
    # The old one opens nothing any more.
    secure.worker.stop()
    secure.write_identity(credential=before["credential"])
    with pytest.raises(grpc.RpcError) as refused:
        secure.rotate_by_hand()
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    secure.write_identity(credential=after["credential"])
    secure.start_worker()


def test_a_worker_whose_credential_is_old_asks_for_a_new_one(secure):
    secure.worker.stop()
    before = secure.identity
    month = 30 * 24 * 3600
    secure.write_identity(issued_at=before["issued_at"] - month)
    secure.start_worker()
    after = eventually(
        lambda: secure.identity,
        lambda now: now["credential"] != before["credential"] and "previous" not in now,
        what="the credential is replaced",
    )
    assert after["issued_at"] >= before["issued_at"]
    # One that is not old stays.
    secure.worker.stop()
    secure.start_worker()
    secure.worker.stop()
    assert secure.identity == after
    # And one that is never to be replaced, however old it is.
    secure.write_identity(issued_at=0)
    secure.worker.env = {**secure.env, "METAL9_WORKER_CREDENTIAL_HOURS": "0"}
    try:
        secure.start_worker()
        stub = secure.api.stub(WAITING, "app:soon")
        assert secure.api.call(stub).value == "at once"
        secure.worker.stop()
    finally:
        secure.worker.env = secure.env
    assert secure.identity["credential"] == after["credential"]
    secure.write_identity(issued_at=after["issued_at"])


def test_a_worker_killed_at_any_step_of_a_rotation_comes_back(secure):
    secure.worker.kill()
    old = secure.identity["credential"]
    # The gateway has issued a new one, and the worker never wrote it down.
    secure.rotate_by_hand()
    secure.start_worker()
    assert secure.identity["credential"] == old
    secure.worker.kill()

    # It has written it down, and never used it.
    new = secure.rotate_by_hand()
    secure.write_identity(credential=new, previous=old)
    secure.start_worker()
    eventually(lambda: "previous" not in secure.identity, what="the old one is forgotten")
    assert secure.identity["credential"] == new
    secure.worker.kill()

    # It has used it, and not forgotten the old one; and the gateway was killed meanwhile, too.
    secure.gateway.kill()
    secure.start_gateway()
    secure.write_identity(previous=old)
    secure.start_worker()
    eventually(lambda: "previous" not in secure.identity, what="the old one is forgotten")
    secure.worker.kill()

    # The gateway's state is older than the worker's credential.
    secure.write_identity(credential="x" * 88, previous=new)
    secure.start_worker()
    eventually(lambda: "previous" not in secure.identity, what="back to the old one")
    assert secure.identity["credential"] == new


def test_a_revoked_worker_is_cut_off_at_once_and_its_task_waits_for_another(secure, fifo):
    stub = secure.api.stub(WAITING, "app:wait", retries=1)
    call = secure.api.call(stub, str(fifo.path), headless=True).until("HERE")
    worker = secure.identity["worker_id"]
    begun = time.monotonic()
    secure.ask("worker", "revoke", worker)
    assert secure.api.wait(call.task_id, "PENDING", "RETRY", within=5) in ("PENDING", "RETRY")
    assert time.monotonic() - begun < 10, "sooner than a worker that is silent is given up"
    assert secure.state_of(worker) == "revoked"
    eventually(
        lambda: "does not accept this worker" in secure.worker.text(), what="the worker is told"
    )
    secure.restore()
    eventually(fifo.try_open, what="another worker runs it", within=60)
    assert secure.api.attach(stub, call.task_id).value == "finished"


def test_a_revoked_token_ends_what_was_begun_with_it(secure, fifo):
    made = secure.ask("token", "create", "--name", "for a visitor", "--expires", "1h")
    listed = {token["token_id"]: token for token in secure.ask("token", "list")}
    assert listed[made["token_id"]]["name"] == "for a visitor"
    assert listed[made["token_id"]]["expires_at"]
    visitor = secure.client(made["key"])
    stub = secure.api.stub(WAITING, "app:wait")
    call = visitor.call(stub, str(fifo.path), headless=True).until("HERE")
    secure.ask("token", "toggle", made["token_id"])
    with pytest.raises(grpc.RpcError) as ended:
        call.finish()
    assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.RpcError) as refused:
        visitor.tasks(limit=1)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    visitor.close()
    # Only the stream ended: the task is the workspace's.
    fifo.open()
    assert secure.api.attach(stub, call.task_id).value == "finished"


def test_a_token_that_runs_out_ends_what_was_begun_with_it(secure, fifo):
    made = secure.ask("token", "create", "--expires", "3s")
    visitor = secure.client(made["key"])
    call = visitor.call(secure.api.stub(WAITING, "app:wait"), str(fifo.path), headless=True)
    with pytest.raises(grpc.RpcError) as ended:
        call.finish()
    assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED
    visitor.close()
    fifo.open()


def test_a_secret_is_nowhere_in_the_clear_and_survives_a_new_key(secure):
    value = "correct-horse-battery-staple-7261"
    secrets = SecretServiceStub(secure.api.channel)
    secrets.create_secret(CreateSecretRequest(name="IDENTITY_SECRET", value="first"))
    secrets.update_secret(UpdateSecretRequest(name="IDENTITY_SECRET", value=value))
    refused = secrets.create_secret(CreateSecretRequest(name="IDENTITY_SECRET", value=value))
    assert not refused.ok and value not in refused.err_msg
    stub = secure.api.stub(WAITING, "app:secret", secrets=[SecretVar(name="IDENTITY_SECRET")])
    assert secure.api.call(stub).value == value[::-1]
    audit = json.dumps(secure.ask("audit"))
    assert "secret.update" in audit and "secret.use" in audit and value not in audit
    assert value.encode() not in secure.raw_files()

    rotate = ["gateway", "rotate-key", "--state", str(secure.state)]
    in_use = secure.metal9(*rotate, code=1).stderr
    assert "stop the gateway" in in_use
    key = (secure.state / "secret.key").read_text()
    secure.gateway.stop()
    assert "encrypted anew: 1" in secure.metal9(*rotate).stdout
    assert (secure.state / "secret.key").read_text() != key
    assert (secure.state / "secret.key").stat().st_mode & 0o777 == 0o600
    secure.start_gateway()
    secrets = SecretServiceStub(secure.api.channel)
    assert secrets.get_secret(GetSecretRequest(name="IDENTITY_SECRET")).secret.value == value
    assert value.encode() not in secure.raw_files()
    assert "key.rotate" in json.dumps(secure.ask("audit", "--actor", "gateway"))


def test_the_audit_log_says_who_did_what_from_where(secure, fifo):
    stub = secure.api.stub(WAITING, "app:wait")
    call = secure.api.call(stub, str(fifo.path), headless=True)
    assert secure.api.gateway.stop_tasks(StopTasksRequest(task_ids=[call.task_id])).ok
    stranger = secure.client("z" * 88)
    for _ in range(3):
        with pytest.raises(grpc.RpcError):
            stranger.tasks(limit=1)
    stranger.close()

    def lines(action):
        return [line for line in secure.ask("audit", "--since", "1h") if line["action"] == action]

    [cancelled] = [line for line in lines("task.cancel") if line["object"] == call.task_id]
    assert cancelled["actor_kind"] == "token" and cancelled["peer"].startswith("127.")
    own = secure.ask("audit", "--actor", cancelled["actor"])
    assert own and all(line["actor"] == cancelled["actor"] for line in own)
    failed = eventually(
        lambda: [line for line in lines("auth.fail") if line["object"] == "token"],
        lambda failed: sum(line["count"] for line in failed) >= 3,
        what="failures are noted",
    )
    assert all(line["outcome"] == "refused" and line["actor_kind"] == "nobody" for line in failed)
    assert lines("worker.join") and lines("token.create")
    restricted = secure.ask("token", "create", "--kind", "workspace_restricted")["key"]
    answer = secure.api.get("/api/v1/audit", token=restricted)
    assert answer.status_code == 403
