"""`install.sh`, against a release that is served on this machine."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.daemon import REPOSITORY, binary

SCRIPT = REPOSITORY / "install.sh"
LINUX = {"METAL9_UNAME_S": "Linux", "METAL9_UNAME_M": "x86_64"}
MAC = {"METAL9_UNAME_S": "Darwin", "METAL9_UNAME_M": "arm64", "METAL9_TRANSLATED": "0"}


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_):
        pass


class Release:
    """A directory of archives behind an address."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.server = ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Quiet, directory=str(directory))
        )
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def publish(self, kind: str, program: bytes, digest: str = "", uv: bytes = b"") -> None:
        """Puts a program there for a kind of machine, with its own SHA-256 or a wrong one."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as bundle:
            for name, content in (("metal9", program), ("metal9-uv", uv)):
                if content:
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(content), 0o755
                    bundle.addfile(entry, io.BytesIO(content))
        content, name = archive.getvalue(), f"metal9-{kind}.tar.gz"
        (self.directory / name).write_bytes(content)
        digest = digest or hashlib.sha256(content).hexdigest()
        (self.directory / f"{name}.sha256").write_text(f"{digest}  {name}\n")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A release with the program under test for this kind of machine."""
    release = Release(tmp_path_factory.mktemp("release"))
    release.publish("x86_64-unknown-linux-gnu", binary().read_bytes())
    yield release
    release.server.shutdown()


def install(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs the script as somebody with an empty home."""
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": str(home), **variables}
    return subprocess.run(
        ["sh", str(SCRIPT), *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_program_is_installed_and_runs(release, tmp_path):
    target = tmp_path / "bin"
    done = install(tmp_path, "--to", str(target), METAL9_RELEASES=release.address + "/", **LINUX)
    assert done.returncode == 0, done.stderr
    version = subprocess.run([target / "metal9", "--version"], capture_output=True, text=True)
    assert version.stdout.startswith("metal9 ") and version.stdout.strip() in done.stderr
    assert f"{target}/metal9 worker install" in done.stderr, "the next step, by the whole path"
    again = install(tmp_path, "--to", str(target), "--from", release.address, **LINUX)
    assert again.returncode == 0, again.stderr
    assert [path.name for path in target.iterdir()] == ["metal9"]
    assert [path.name for path in tmp_path.iterdir()] == ["bin"], "nothing else is left"


def test_what_is_not_what_was_released_is_not_installed(release, tmp_path):
    release.publish("aarch64-unknown-linux-gnu", b"#!/bin/sh\n", digest="0" * 64)
    machine = {"METAL9_UNAME_S": "Linux", "METAL9_UNAME_M": "aarch64"}
    done = install(tmp_path, "--to", str(tmp_path / "bin"), "--from", release.address, **machine)
    assert done.returncode == 1
    assert "is not what was released" in done.stderr
    assert not (tmp_path / "bin").exists()


# What `cargo xtask dist` has built, if it has.
ARCHIVES = REPOSITORY / "target" / "dist-archives"


@pytest.mark.parametrize("kind", ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin"])
def test_what_is_released_is_what_the_script_expects(tmp_path, kind):
    name = f"metal9-{kind}.tar.gz"
    if not (ARCHIVES / name).exists():
        pytest.skip(f"there is no target/dist-archives/{name}; `cargo xtask dist --mac` builds it")
    release = Release(ARCHIVES)
    machine = MAC if "darwin" in kind else LINUX
    done = install(tmp_path, "--to", str(tmp_path / "bin"), "--from", release.address, **machine)
    release.server.shutdown()
    with tarfile.open(ARCHIVES / name) as bundle:
        assert bundle.getnames() == ["metal9", "metal9-uv", "LICENSE"]
    # The sum is right; that of a Mac then fails to say its version here.
    assert "is not what was released" not in done.stderr, done.stderr
    assert done.returncode == (1 if "darwin" in kind else 0), done.stderr


def test_a_mac_gets_the_one_for_apple_silicon(release, tmp_path):
    release.publish("aarch64-apple-darwin", b"#!/bin/sh\necho metal9 for a Mac\n")
    done = install(tmp_path, "--to", str(tmp_path / "bin"), "--from", release.address, **MAC)
    assert done.returncode == 0, done.stderr
    assert "installed metal9 for a Mac" in done.stderr


def test_the_uv_of_a_release_serves_a_machine_that_has_no_python(release, tmp_path):
    # The one of the tests' own environment, under the name that releases give it.
    uv = (Path(sys.executable).parent / "uv").read_bytes()
    release.publish("aarch64-unknown-linux-gnu", binary().read_bytes(), uv=uv)
    machine = {"METAL9_UNAME_S": "Linux", "METAL9_UNAME_M": "aarch64"}
    target = tmp_path / "bin"
    done = install(tmp_path, "--to", str(target), "--from", release.address, **machine)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in target.iterdir()) == ["metal9", "metal9-uv"]
    bare = {"HOME": str(tmp_path), "PATH": str(tmp_path / "nowhere")}
    found = subprocess.run(
        [target / "metal9", "doctor", "--json"], env=bare, capture_output=True, text=True, timeout=60
    )
    checks = {check["name"]: check for check in json.loads(found.stdout)["checks"]}
    assert checks["uv"]["found"] == str(target / "metal9-uv"), found.stdout


@pytest.mark.parametrize(
    "machine, sentence",
    [
        ({**MAC, "METAL9_TRANSLATED": "1"}, "under Rosetta"),
        ({**MAC, "METAL9_UNAME_M": "x86_64"}, "needs a Mac with Apple Silicon"),
        ({**LINUX, "METAL9_UNAME_M": "riscv64"}, "no metal9 for Linux on riscv64"),
        ({"METAL9_UNAME_S": "FreeBSD", "METAL9_UNAME_M": "amd64"}, "no metal9 for FreeBSD"),
    ],
)
def test_a_machine_that_is_not_fit_is_refused_with_a_sentence(release, tmp_path, machine, sentence):
    done = install(tmp_path, "--to", str(tmp_path / "bin"), "--from", release.address, **machine)
    assert done.returncode == 1 and sentence in done.stderr, done.stderr
    assert not (tmp_path / "bin").exists()


def test_a_release_that_is_not_there_and_an_address_that_was_not_given_are_told(release, tmp_path):
    done = install(tmp_path, "--from", release.address + "/nowhere", **LINUX)
    assert done.returncode == 1 and "cannot fetch" in done.stderr, done.stderr
    done = install(tmp_path, **LINUX)
    assert done.returncode == 1 and "METAL9_RELEASES" in done.stderr, done.stderr
    done = install(tmp_path, "--form", "x", **LINUX)
    assert done.returncode == 1 and "`--form` is no option" in done.stderr, done.stderr
    assert install(tmp_path, "--help").stdout.startswith("Installs a metal9 release")


def test_the_script_is_clean():
    beside = Path(sys.executable).parent / "shellcheck"
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    assert program, "shellcheck is missing: it is in python/dev.txt"
    done = subprocess.run([program, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
