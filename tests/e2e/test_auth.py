"""Who may talk to the gateway."""

import re

import grpc
import pytest
from beta9.clients.gateway import AuthorizeRequest, ListTokensRequest

from harness import Api

PROGRAM = """
from beta9 import function

@function()
def hello():
    return "hello"

if __name__ == "__main__":
    print("came back with", hello.remote())
"""


def config_with(fleet, tmp_path, token):
    """An SDK configuration that differs from the fleet's in the token."""
    text = re.sub(r"(?m)^token\s*=.*$", f"token = {token}", fleet.config.read_text())
    path = tmp_path / "other.ini"
    path.write_text(text)
    return path


@pytest.mark.parametrize("token", ["x" * 88, "short", ""], ids=["unknown", "short", "none"])
def test_a_program_without_a_valid_token_is_told_so(app, fleet, tmp_path, token):
    done = app(PROGRAM, config=config_with(fleet, tmp_path, token))
    assert done.code == 1
    assert "Unauthorized: Invalid auth token provided." in done.stderr
    assert "came back with" not in done.stdout


@pytest.mark.parametrize(
    "path", ["/api/v1/workspace/current", "/api/v1/status", "/api/v1/task/x/y"]
)
def test_http_wants_a_token(api, path):
    for token in ("", "wrong"):
        answer = api.get(path, token=token)
        assert answer.status_code == 401, answer.text
        assert answer.json()["message"]


def test_the_command_line_reports_a_wrong_token(fleet, tmp_path):
    config = config_with(fleet, tmp_path, "y" * 88)
    keep, fleet.facts["config"] = fleet.facts["config"], str(config)
    try:
        done = fleet.beta9("task", "list", code=1)
        own = fleet.metal9("status", code=None)
    finally:
        fleet.facts["config"] = keep
    assert "Unauthorized" in done.stderr
    assert own.returncode != 0 and "token" in own.stderr


def create_token(fleet):
    """Makes a token with the SDK's command line; returns its id and its text."""
    text = fleet.beta9("token", "create").stdout
    assert "Token created successfully." in text
    fields = dict(re.findall(r"'(\w+)':\s*'([^']*)'", text))
    return fields["token_id"], fields["key"]


def status_of(fleet, key):
    api = Api(fleet.facts["grpc"], fleet.facts["http"], key)
    try:
        api.tasks(limit=1)
    except grpc.RpcError as error:
        return error.code()
    finally:
        api.close()
    return grpc.StatusCode.OK


def test_a_new_token_works_until_it_is_deleted(fleet):
    name, key = create_token(fleet)
    assert len(key) >= 64, "the SDK's configuration takes no token under 64 characters"
    assert status_of(fleet, key) == grpc.StatusCode.OK
    assert name in fleet.beta9("token", "list").stdout
    assert "Deleted token." in fleet.beta9("token", "delete", name).stdout
    assert status_of(fleet, key) == grpc.StatusCode.UNAUTHENTICATED
    assert name not in fleet.beta9("token", "list").stdout


def test_a_token_can_be_switched_off_and_on(fleet):
    name, key = create_token(fleet)
    assert "disabled" in fleet.beta9("token", "toggle", name).stdout
    assert status_of(fleet, key) == grpc.StatusCode.UNAUTHENTICATED
    assert "enabled" in fleet.beta9("token", "toggle", name).stdout
    assert status_of(fleet, key) == grpc.StatusCode.OK
    fleet.beta9("token", "delete", name)


def test_listing_tokens_shows_no_key(fleet, api):
    response = api.gateway.list_tokens(ListTokensRequest())
    assert response.ok and response.tokens
    for token in response.tokens:
        assert token.key in ("", None), token
    assert api.token not in fleet.beta9("token", "list", "--format", "json").stdout


def test_a_valid_token_is_authorized_as_its_workspace(api):
    response = api.gateway.authorize(AuthorizeRequest())
    assert response.ok, response.error_msg
    assert response.workspace_id == api.workspace


def test_an_unknown_token_is_not_authorized(fleet):
    stranger = Api(fleet.facts["grpc"], fleet.facts["http"], "z" * 88)
    response = stranger.gateway.authorize(AuthorizeRequest())
    stranger.close()
    assert not response.ok and response.error_msg
    assert response.new_token == ""


def test_a_jobs_own_token_reaches_only_what_a_job_may_do(api):
    stub = api.stub(
        {
            "app.py": """
            import os

            def token():
                return os.environ["BETA9_TOKEN"]
            """
        },
        "app:token",
    )
    key = api.call(stub).value
    assert key != api.token
    answer = api.get("/api/v1/status", token=key)
    assert answer.status_code in (401, 403), answer.text


def test_the_configuration_file_is_private(fleet):
    assert fleet.config.stat().st_mode & 0o077 == 0
