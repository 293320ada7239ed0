"""A gateway with a certificate from files: who trusts it, and what happens when they change."""

import json
import os
import shutil
import signal
import ssl

import pytest

from harness import Authority, Gate, SecureFleet, eventually
from harness.code import CALLS_BACK

CODE = {
    "app.py": """
    def double(number):
        return number * 2

    def wait(gate):
        print("HERE", flush=True)
        open(gate).read()
        return "finished"
    """
}


@pytest.fixture(scope="module")
def certified_fleet(tmp_path_factory):
    root = tmp_path_factory.mktemp("certified")
    fleet = SecureFleet(root, Authority(root))
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def certified(certified_fleet):
    """A gateway whose certificate an authority has signed, and its worker, running."""
    certified_fleet.restore()
    return certified_fleet


def shown(fleet):
    """The certificate that a new connection is shown."""
    host, _, port = fleet.grpc.partition(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))


def kept(fleet):
    """The certificate in the file."""
    return ssl.PEM_cert_to_DER_cert(fleet.certificate.read_text())


def told(fleet):
    """The fingerprint that commands on the gateway's machine expect."""
    return json.loads((fleet.state / "gateway.json").read_text())["fingerprint"]


def write_unseen(fleet, change):
    """Changes the files such that their times do not tell."""
    times = {path: path.stat() for path in (fleet.certificate, fleet.key)}
    change()
    for path, stat in times.items():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_worker_joins_by_https_and_runs_calls_of_the_sdk(certified, tmp_path):
    command = certified.join_command()
    assert f"https://{certified.grpc}" in command and "--fingerprint" not in command
    assert "fingerprint" not in certified.identity
    done = certified.run(CALLS_BACK, tmp_path)
    assert done.returncode == 0, done
    assert "came back with 41" in done.stdout


def test_a_worker_that_does_not_trust_who_signed_keeps_its_token(certified, tmp_path):
    command = certified.join_command()
    trusting = certified.env
    certified.env = {**trusting, "SSL_CERT_FILE": str(Authority(tmp_path).ca)}
    try:
        said = certified.join(*command, state=tmp_path / "w", code=1)
    finally:
        certified.env = trusting
    assert "certificate" in said and not (tmp_path / "w" / "worker.json").exists()
    # The gateway has not seen the token: it is still good for the one worker.
    certified.join(*command, state=tmp_path / "w")
    worker = json.loads((tmp_path / "w" / "worker.json").read_text())["worker_id"]
    certified.ask("worker", "remove", worker)


def test_new_files_are_shown_after_sighup_and_nothing_is_cut(certified, tmp_path):
    gate = Gate(tmp_path / "gate")
    stub = certified.api.stub(CODE, "app:wait", retries=0)
    call = certified.api.call(stub, str(gate.path)).until("HERE")
    sessions = certified.gateway.text().count("worker connected")
    before, told_before = shown(certified), told(certified)
    assert before == kept(certified)
    issue = certified.authority.issue
    write_unseen(
        certified, lambda: issue(certified.host, certified.certificate, certified.key)
    )
    certified.gateway.process.send_signal(signal.SIGHUP)
    eventually(
        lambda: shown(certified), lambda now: now == kept(certified), what="the new one is shown"
    )
    assert kept(certified) != before
    eventually(
        lambda: told(certified), lambda now: now != told_before, what="local commands are told"
    )
    gate.open()
    assert call.value == "finished"
    assert certified.gateway.text().count("worker connected") == sessions
    # And whoever comes now is let in by the new one.
    certified.worker.stop()
    certified.start_worker()
    certified.connect()
    assert certified.api.call(certified.api.stub(CODE, "app:double"), 21).value == 42


def test_new_files_are_found_without_a_signal_too(certified):
    before = shown(certified)
    certified.authority.issue(certified.host, certified.certificate, certified.key)
    now = eventually(lambda: shown(certified), lambda now: now != before, what="a new one is shown")
    assert now == kept(certified)


def test_a_pair_that_does_not_fit_is_not_taken_and_the_log_says_why(certified, tmp_path):
    before = shown(certified)
    good = tmp_path / "good.key"
    shutil.copy(certified.key, good)
    certified.authority.issue(certified.host, tmp_path / "other.pem", tmp_path / "other.key")

    def refusal(change):
        start = certified.gateway.size()
        change()
        certified.gateway.process.send_signal(signal.SIGHUP)
        return eventually(
            lambda: [
                line
                for line in certified.gateway.text(start).splitlines()
                if "the old one stays" in line
            ],
            what="the log says why",
        )[0]

    line = refusal(lambda: os.replace(tmp_path / "other.key", certified.key))
    assert str(certified.certificate) in line and str(certified.key) in line, line
    line = refusal(lambda: certified.key.write_text("no key at all"))
    assert f"{certified.key}" in line and "private key" in line, line
    line = refusal(certified.key.unlink)
    assert f"{certified.key}" in line and "No such file" in line, line
    assert shown(certified) == before
    stub = certified.api.stub(CODE, "app:double")
    assert certified.api.call(stub, 4).value == 8

    start = certified.gateway.size()
    shutil.copy(good, certified.key)
    eventually(
        lambda: "was loaded again" in certified.gateway.text(start), what="the right one is taken"
    )
    assert shown(certified) == before
