"""What a workspace leaves behind has bounds, and is no trouble of another's."""

import itertools

import grpc
import pytest
from beta9.clients.gateway import CreateTokenRequest
from beta9.clients.secret import CreateSecretRequest, SecretServiceStub

from harness import SplitFleet, eventually, new_workspace
from harness.code import HELLO
from harness.disk import MEBIBYTE, fill, small_disk

LINES = 20
STUBS = 4


@pytest.fixture(scope="module")
def bounded(fleet, tmp_path_factory):
    """A gateway that keeps little."""
    with SplitFleet(
        tmp_path_factory.mktemp("bounded"),
        environments=fleet.environments,
        METAL9_GATEWAY_AUDIT_ROWS=str(LINES),
        METAL9_GATEWAY_MAX_STUBS_PER_WORKSPACE=str(STUBS),
    ) as split:
        yield split


def test_a_flood_of_one_workspace_leaves_the_audit_log_of_others(bounded):
    flooder = new_workspace(bounded.api)
    for _ in range(2 * LINES):
        assert flooder.gateway.create_token(CreateTokenRequest()).ok
    # Old lines go when the gateway starts.
    bounded.restart_gateway()

    def lines(api):
        return [line["action"] for line in api.get("/api/v1/audit").json()["audit"]]

    eventually(lambda: lines(flooder) == ["token.create"] * LINES, what="its own old lines go")
    assert {"token.create", "worker.join", "workspace.create"} <= set(lines(bounded.api))
    flooder.close()


def test_a_workspace_has_so_many_stubs_and_others_do_not_notice(bounded):
    api = new_workspace(bounded.api)
    code, image = api.upload(HELLO), bounded.api.image()

    def ask(number):
        env = [f"NUMBER={number}"]
        return api.try_stub(code, "app:hello", image_id=image, env=env, force_create=False)

    made = [ask(number) for number in range(STUBS)]
    assert all(answer.ok for answer in made), made
    refused = ask(STUBS)
    assert not refused.ok and "max_stubs_per_workspace" in refused.err_msg, refused
    assert f"may be {STUBS}" in refused.err_msg and "\nhint: " in refused.err_msg, refused
    assert ask(0).stub_id == made[0].stub_id, "one that is there is no new one"
    assert bounded.api.call(bounded.api.stub(HELLO, "app:hello")).value == 1
    api.close()


# A reserve holds the database's log, which may have several times its usual 16 MiB for a moment, and
# results on their way.
RESERVE = 64
DISK = 256
RESULT = 8
LARGE = {
    "app.py": """
    def large(number):
        return bytes([number]) * (8 << 20)
    """
}


@pytest.fixture(scope="module")
def tight(fleet, tmp_path_factory):
    """A gateway whose state has a small disk of its own."""
    root = tmp_path_factory.mktemp("tight")
    with small_disk(root / "gateway", DISK), SplitFleet(
        root,
        environments=fleet.environments,
        METAL9_GATEWAY_MIN_FREE_DISK_MIB=str(RESERVE),
        METAL9_GATEWAY_KEEP_ENDED_AT_LEAST_SECONDS="1",
    ) as split:
        yield split


@pytest.fixture(scope="module")
def known(tight):
    """Settings of a stub, and the one that there is."""
    code, image = tight.api.upload(HELLO), tight.api.image()
    settings = {"object_id": code, "handler": "app:hello", "image_id": image, "force_create": False}
    made = tight.api.try_stub(**settings)
    assert made.ok, made
    return settings, made.stub_id


def test_a_disk_full_of_ended_calls_makes_room_for_others(tight, known):
    stub = tight.api.stub(LARGE, "app:large")

    def call(number):
        try:
            return tight.api.call(stub, number).value
        except grpc.RpcError as refused:
            assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, refused
            said = refused.details()
            assert "keep_ended_at_least_seconds" in said or "no space left" in said, said
            return None

    for number in range(1, DISK // RESULT + 2):
        value = eventually(lambda: call(number), what=f"call {number} is taken")
        assert value == bytes([number]) * (RESULT * MEBIBYTE)
    assert len(tight.api.tasks()) <= DISK // RESULT, "the oldest have gone"


def test_nothing_new_is_stored_where_only_the_reserve_is_left(tight, known):
    api, (settings, stub) = tight.api, known
    secrets = SecretServiceStub(api.channel)
    number = itertools.count()
    news = {
        "stub": lambda: api.try_stub(**settings, env=[f"N={next(number)}"]),
        "secret": lambda: secrets.create_secret(
            CreateSecretRequest(name=f"NEW_{next(number)}", value="x")
        ),
        "token": lambda: api.gateway.create_token(CreateTokenRequest()),
    }

    def refusal(make):
        """Why nothing new is made, if it is not."""
        try:
            answer = make()
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
            return error.details()
        assert answer.ok, answer
        return None

    def refusals():
        """Why nothing is, on a disk that is full again whatever has gone meanwhile."""
        fill(tight.root / "gateway", leave=RESERVE * MEBIBYTE // 2)
        return {what: refusal(make) for what, make in news.items()}

    try:
        said = eventually(refusals, lambda said: all(said.values()), what="all are refused")
        for what, text in said.items():
            assert f"the {what} is not accepted" in text and "\nhint: " in text, text
        assert api.try_stub(**settings).stub_id == stub, "one that is there needs no room"
    finally:
        (tight.root / "gateway" / "ballast").unlink()
    eventually(lambda: not any(map(refusal, news.values())), what="there is room again")
