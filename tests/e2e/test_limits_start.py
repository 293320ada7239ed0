"""Programs that cannot start say who is in the way and what to do."""

import socket
import sqlite3
import subprocess
from contextlib import closing

import pytest

from harness.daemon import binary
from harness.fleet import system_environment


def start(*arguments, **environment):
    """Starts what cannot start; its exit code and what it says."""
    done = subprocess.run(
        [str(binary()), *map(str, arguments)],
        env={**system_environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0, done
    return done.returncode, done.stderr


FREE = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]


def test_a_second_gateway_names_the_process_that_holds_the_state(fleet):
    code, text = start("gateway", "--state", fleet.state / "gateway", *FREE)
    assert code == 2
    assert f"in use by process {fleet.pid}" in text and "hint: " in text, text


def test_a_second_dev_names_the_process_that_holds_the_state(fleet):
    code, text = start("dev", "--state", fleet.state, *FREE)
    assert code == 2
    assert f"in use by process {fleet.pid}" in text and "hint: " in text, text


def test_a_second_worker_names_the_process_that_holds_the_state(fleet):
    _, text = start("worker", "run", "--state", fleet.state / "worker")
    assert f"pid {fleet.worker_pid}" in text and "hint: " in text, text


@pytest.mark.parametrize("port", ["--grpc", "--http"])
def test_a_port_that_is_taken_is_told_with_who_has_it(fleet, tmp_path, port):
    taken = fleet.facts[port[2:]].removeprefix("http://")
    others = [flag for pair in zip(FREE[::2], FREE[1::2]) if pair[0] != port for flag in pair]
    code, text = start("gateway", "--state", tmp_path / "state", *others, port, taken)
    assert code == 2
    assert taken in text and f"pid {fleet.pid}" in text and "hint: " in text, text
    assert not (tmp_path / "state").exists(), "the state was touched"


def test_an_address_that_this_machine_has_not_is_told(tmp_path):
    _, text = start("gateway", "--state", tmp_path / "s", "--grpc", "192.0.2.1:0", "--http", FREE[3])
    assert "192.0.2.1" in text and "hint: this machine has no address" in text, text


@pytest.mark.parametrize("bad", ["localhost", "127.0.0.1:99999", "nonsense:x"])
def test_a_bad_address_is_told_with_a_good_one(tmp_path, bad):
    code, text = start("gateway", "--state", tmp_path / "s", "--grpc", bad)
    assert code == 2
    assert bad in text and "127.0.0.1:1993" in text, text


def test_a_state_directory_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("precious")
    for command in (["gateway", *FREE], ["dev", *FREE]):
        _, text = start(*command, "--state", tmp_path / "file")
        assert str(tmp_path / "file") in text and "hint: " in text, text
    assert (tmp_path / "file").read_text() == "precious"


def test_a_state_of_a_newer_version_is_left_alone(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    with closing(sqlite3.connect(state / "state.db")) as database, database:
        database.execute(
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,"
            " installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,"
            " checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)"
        )
        database.execute("INSERT INTO _sqlx_migrations VALUES (9999, 'later', 0, 1, x'00', 0)")
    code, text = start("gateway", "--state", state, *FREE)
    assert code == 2
    assert "newer version of metal9" in text and "hint: " in text, text
    with closing(sqlite3.connect(state / "state.db")) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert names == [("_sqlx_migrations",)], "something was written"


def test_a_setting_that_is_none_is_told_with_the_nearest(tmp_path):
    config = tmp_path / "metal9.toml"
    config.write_text("[gateway]\nmax_connexions = 5\n")
    code, text = start("--config", config, "gateway", "--state", tmp_path / "s", *FREE)
    assert code == 2 and "did you mean `max_connections`?" in text, text
    config.write_text("[gateway]\nmax_connections = -5\n")
    code, text = start("--config", config, "gateway", "--state", tmp_path / "s", *FREE)
    assert code == 2 and "gateway.max_connections" in text and "-5" in text, text
    _, text = start("gateway", "--state", tmp_path / "s", METAL9_GATEWAY_HTPP="x")
    assert "did you mean `METAL9_GATEWAY_HTTP`?" in text, text


def test_a_port_held_by_anybody_else_is_told_too(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = "127.0.0.1:%d" % holder.getsockname()[1]
        _, text = start("gateway", "--state", tmp_path / "s", "--grpc", address, "--http", FREE[3])
    assert address in text and "listens there" in text, text
