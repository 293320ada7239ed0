"""A registry of container images on loopback, and an image with the Python that runs the tests."""

import base64
import gzip
import hashlib
import io
import json
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Dict, List, Optional

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """Serves what was put into it. `account` is a name and a password that everybody needs."""

    def __init__(self, account: Optional[List[str]] = None):
        self.blobs: Dict[str, bytes] = {}
        self.names: Dict[str, str] = {}
        self.asked: List[str] = []
        self.authorization = account and "Basic " + base64.b64encode(":".join(account).encode()).decode()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self) -> None:
                registry.asked.append(self.path)
                if registry.authorization and self.headers.get("Authorization") != registry.authorization:
                    return self.answer(401, Www_Authenticate='Basic realm="here"')
                if self.path == "/v2/":
                    return self.answer(200)
                found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", self.path)
                name, kind, wanted = found.groups() if found else ("", "", "")
                if kind == "manifests":
                    wanted = registry.names.get(f"{name}:{wanted}", wanted)
                body = registry.blobs.get(wanted)
                if body is None:
                    return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
                content = MANIFEST if kind == "manifests" else "application/octet-stream"
                self.answer(200, body, Content_Type=content, Docker_Content_Digest=wanted)

            do_HEAD = do_GET

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def put(self, name: str, layers: List[bytes], env: Dict[str, str], tag: str = "latest") -> str:
        """Adds an image of packed layers; its name here."""
        config = {
            "os": "linux",
            "architecture": ARCHITECTURES[platform.machine()],
            "config": {"Env": [f"{key}={value}" for key, value in env.items()]},
            "rootfs": {"type": "layers", "diff_ids": [digest(gzip.decompress(layer)) for layer in layers]},
            "history": [{"created_by": "the tests"} for _ in layers],
        }
        described = [self._describe(LAYER, layer) for layer in layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._describe(CONFIG, json.dumps(config).encode()),
            "layers": described,
        }
        manifest = json.dumps(manifest).encode()
        self.blobs[digest(manifest)] = manifest
        self.names[f"{name}:{tag}"] = digest(manifest)
        return f"{self.host}/{name}:{tag}"

    def save(self, name: str, directory: Path) -> None:
        """Writes an image as an OCI image layout; `name` has a tag."""
        wanted = self.names[name]
        manifest = json.loads(self.blobs[wanted])
        blobs = directory / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for of in [wanted, *(part["digest"] for part in [manifest["config"], *manifest["layers"]])]:
            (blobs / of.removeprefix("sha256:")).write_bytes(self.blobs[of])
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        entry = {"mediaType": MANIFEST, "digest": wanted, "size": len(self.blobs[wanted])}
        index = {"schemaVersion": 2, "manifests": [entry]}
        (directory / "index.json").write_text(json.dumps(index))

    def _describe(self, kind: str, data: bytes) -> dict:
        self.blobs[digest(data)] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()


class Layer:
    """A layer that is being made."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w:gz", compresslevel=1)

    def write(self, name: str, content: str, mode: int = 0o644) -> "Layer":
        data = content.encode()
        entry = tarfile.TarInfo(name.lstrip("/"))
        entry.size, entry.mode = len(data), mode
        self._tar.addfile(entry, io.BytesIO(data))
        return self

    def link(self, name: str, target: str) -> "Layer":
        entry = tarfile.TarInfo(name.lstrip("/"))
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)
        return self

    def copy(self, source: Path, name: str, leave_out=()) -> "Layer":
        def plain(entry: tarfile.TarInfo) -> Optional[tarfile.TarInfo]:
            if any(part in leave_out for part in Path(entry.name).parts):
                return None
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            return entry

        self._tar.add(str(source), name.lstrip("/"), filter=plain)
        return self

    def packed(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()


def python_layer() -> bytes:
    """The Python that runs this, with pip, the libraries that they need, and a shell. Nothing else is in it."""
    layer, prefix = Layer(), Path(sys.base_prefix)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python, library = prefix / "bin" / version, prefix / "lib" / version
    layer.copy(python.resolve(), f"usr/local/bin/{version}")
    layer.link("usr/local/bin/python3", version)
    big = {"test", "tests", "idlelib", "tkinter", "turtledemo", "__pycache__", "site-packages"}
    config = {path.name for path in library.glob("config-*")}
    layer.copy(library, f"usr/local/lib/{version}", leave_out=big | config)
    pip = Path(sysconfig.get_paths(vars={"base": str(prefix), "platbase": str(prefix)})["purelib"]) / "pip"
    layer.copy(pip, f"usr/local/lib/{version}/site-packages/pip", leave_out={"__pycache__"})
    needed = [python.resolve(), *library.glob("lib-dynload/*.so")]
    libraries = subprocess.run(["ldd", *map(str, needed)], capture_output=True, text=True).stdout
    found = set(re.findall(r"(/\S+) \(0x", libraries))
    # What packages from PyPI take for granted.
    system = next(Path(path).parent for path in found if "/libc.so" in path)
    promised = ["librt.so.1", "libpthread.so.0", "libdl.so.2", "libutil.so.1", "libstdc++.so.6", "libgcc_s.so.1"]
    found |= {str(system / name) for name in promised if (system / name).exists()}
    for path in sorted(found):
        inside = "usr/local/lib/" + Path(path).name if path.startswith(str(prefix)) else path
        layer.copy(Path(path).resolve(), inside)
    layer.copy(Path("/bin/busybox").resolve(), "bin/busybox")
    for name in ["sh", "cat", "ls", "mkdir", "echo", "rm", "cp", "true", "env", "id", "sleep"]:
        layer.link(f"bin/{name}", "busybox")
    layer.copy(Path("/etc/ssl/certs/ca-certificates.crt").resolve(), "etc/ssl/certs/ca-certificates.crt")
    layer.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    layer.write("etc/group", "root:x:0:\n")
    return layer.packed()


IMAGE_ENV = {
    "PATH": "/usr/local/bin:/bin",
    "LD_LIBRARY_PATH": "/usr/local/lib",
    "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
    "FROM_THE_IMAGE": "yes",
}
