"""Images that are the root filesystem of containers: pulled, built, refused, cached, kept apart."""

import json
import os
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from beta9.clients.gateway import PoolConfig
from beta9.clients.image import BuildImageRequest, BuildImageResponse, BuildStep, VerifyImageBuildRequest
from beta9.clients.secret import CreateSecretRequest, SecretServiceStub

from harness.daemon import REPOSITORY

from harness import IMAGE_ENV, Api, App, Layer, Registry, SplitFleet, eventually, new_workspace, processes, serve

KINDS = ["runc", "runsc"]

WHERE = """
import json, os, sys
from beta9 import Image, function

image = Image(python_version="python3.11", base_image="{base}", env_vars={{"FROM_THE_CLIENT": "yes"}})

@function(image=image, pool="{kind}")
def where():
    from beta9 import function
    def write(path):
        try:
            open(path, "w").close()
            return True
        except OSError:
            return False
    return {{
        "marker": open("/etc/made-for").read(),
        "usr": sorted(os.listdir("/usr")),
        "gone": os.path.exists("/etc/gone"),
        "python": sys.executable,
        "env": {{name: os.environ.get(name) for name in ["FROM_THE_IMAGE", "FROM_THE_CLIENT"]}},
        "writes": {{path: write(path) for path in ["/etc/x", "/x", os.environ["HOME"] + "/x", "/tmp/x"]}},
        "names": "nameserver" in open("/etc/resolv.conf").read(),
    }}

if __name__ == "__main__":
    print("RESULT", json.dumps(where.remote()))
"""


@pytest.fixture(scope="module")
def mixed(fleet, registry, tmp_path_factory):
    """A gateway with a native worker, and one of each runtime."""
    if os.geteuid() != 0:
        pytest.skip("only root can make containers")
    root = tmp_path_factory.mktemp("images")
    with SplitFleet(root, workers=0, environments=fleet.environments) as mixed:
        # Jobs in user namespaces could not enter the directories of the tests.
        mixed.env.pop("METAL9_WORKER_WRITABLE", None)
        mixed.env["METAL9_IMAGES_INSECURE_REGISTRIES"] = registry.host
        mixed.layouts = root / "layouts"
        mixed.env["METAL9_IMAGES_LAYOUTS_DIR"] = str(mixed.layouts)
        mixed.env["METAL9_IMAGES_BASE"] = f"{registry.host}/python:{{version}}"
        mixed.of = {kind: mixed.add_worker(pool=kind, METAL9_WORKER_RUNTIME=kind) for kind in ["native", *KINDS]}
        yield mixed


@pytest.fixture
def app(mixed, tmp_path):
    app = App(tmp_path, mixed.config)
    yield app
    app.close()


def result(done):
    """What a program printed last."""
    assert done.code == 0, done
    return json.loads(done.stdout.split("RESULT ")[1])


def go(mixed, *kinds):
    """Stops workers; returns when the gateway knows."""
    for kind in kinds:
        mixed.of[kind].stop()
        eventually(lambda: not mixed.is_connected(mixed.of[kind]), what=f"{kind} has gone")


def come_back(mixed):
    """Starts the workers that do not run; returns when the gateway knows them."""
    for worker in [mixed.of[kind] for kind in KINDS if not mixed.of[kind].running]:
        worker.start()
        eventually(lambda: mixed.is_connected(worker), what="the worker is back", within=60)


@contextmanager
def alone(mixed, pool, registry):
    """One worker that makes containers, which knows this registry, instead of those that there are."""
    worker = mixed.add_worker(
        pool=pool, METAL9_WORKER_RUNTIME="runc", METAL9_IMAGES_INSECURE_REGISTRIES=registry.host
    )
    go(mixed, *KINDS)
    try:
        yield worker
    finally:
        worker.stop()
        come_back(mixed)


@dataclass
class Built:
    """How a build went, as an unmodified client sees it."""

    ok: bool
    image: str
    said: str


def build(api: Api, **spec) -> Built:
    said, spec = [], {"python_version": "python3.11", **spec}
    for message in api.images.build_image(BuildImageRequest(**spec)):
        said.append(message.msg)
        if message.done:
            return Built(message.success, message.image_id, "".join(said))
    raise AssertionError("the build has no end")


def shell(*commands: str):
    return [BuildStep(type="shell", command=command) for command in commands]


READ = {
    "app.py": """
    import os

    def read(path):
        return open(path).read()

    def variables():
        return dict(os.environ)
    """
}


def stub(api, image, handler, kind="runc", **fields):
    return api.stub(READ, f"app:{handler}", image_id=image, pool=PoolConfig(name=kind), **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_runs_in_the_image_that_it_names(app, registry, kind):
    seen = result(app(WHERE.format(base=registry.base, kind=kind), within=180))
    home = [path for path in seen["writes"] if path.endswith("/home/x")]
    assert seen == {
        "marker": "the tests\n",
        # Nothing of the machine's.
        "usr": ["local"],
        "gone": False,
        "python": "/usr/local/bin/python3.11",
        "env": {"FROM_THE_IMAGE": "yes", "FROM_THE_CLIENT": "yes"},
        "writes": {"/etc/x": False, "/x": False, home[0]: True, "/tmp/x": True},
        "names": True,
    }


BUILT = """
import json
from beta9 import Image, function

image = (
    Image(python_version="python3.11", python_packages=["six==1.16.0"])
    .add_commands(["mkdir -p /opt/made", "echo by a command > /opt/made/note"])
    .add_python_packages(["colorama==0.4.6"])
)

@function(image=image)
def look():
    import colorama, six
    return [open("/opt/made/note").read(), six.__version__, colorama.__version__, six.__file__]

if __name__ == "__main__":
    print("RESULT", json.dumps(look.remote()))
"""


def test_packages_and_commands_are_built_in_and_go_where_there_are_containers(app):
    """It names no pool, and the native worker cannot have it."""
    done = app(BUILT, within=240)
    place = "/usr/local/lib/python3.11/site-packages/six.py"
    assert result(done) == ["by a command\n", "1.16.0", "0.4.6", place]
    assert "Successfully installed six-1.16.0" in done.stdout, "the build is not shown"


FILE = """
import json
from beta9 import Image, function

image = Image.from_dockerfile("./Dockerfile")

@function(image=image, pool="runc")
def look():
    return [open("/srv/" + name).read() for name in ("copied", "made")]

if __name__ == "__main__":
    print("RESULT", json.dumps(look.remote()))
"""


def test_a_dockerfile_copies_from_its_context(app, registry):
    text = f"FROM {registry.base}\nCOPY data.txt /srv/copied\nRUN cat /srv/copied > /srv/made\n"
    done = app(FILE, files={"Dockerfile": text, "data.txt": "of the context\n"}, within=180)
    assert result(done) == ["of the context\n"] * 2


def test_a_build_has_secrets_and_the_image_has_not(mixed):
    secret = SecretServiceStub(mixed.api.channel)
    assert secret.create_secret(CreateSecretRequest(name="BUILD_TOKEN", value="sesame")).ok
    command = "echo ${#BUILD_TOKEN} > /opt-length && env | cat > /dev/null"
    built = build(mixed.api, build_steps=shell(command), secrets=["BUILD_TOKEN"])
    assert built.ok and "sesame" not in built.said, built
    assert mixed.api.call(stub(mixed.api, built.image, "read"), "/opt-length").value == "6\n"
    assert "BUILD_TOKEN" not in mixed.api.call(stub(mixed.api, built.image, "variables")).value
    missing = build(mixed.api, build_steps=shell("true"), secrets=["NOBODYS"])
    assert not missing.ok and "NOBODYS" in missing.said


def test_a_private_image_wants_the_accounts_secrets(mixed, python_image):
    """And is nobody else's."""
    with Registry(account=["ann", "sesame"]) as registry:
        name = registry.put("private", [*python_image, Layer().write("etc/private", "yes").packed()], IMAGE_ENV)
        with alone(mixed, "private", registry):
            assert "base_image_creds" in build(mixed.api, existing_image_uri=name).said
            secrets = SecretServiceStub(mixed.api.channel)
            for ending, value in {"USERNAME": "ann", "PASSWORD": "sesame", "TOKEN": "wrong"}.items():
                assert secrets.create_secret(CreateSecretRequest(name=f"HERE_{ending}", value=value)).ok
            wrong = {"HERE_USERNAME": "", "HERE_TOKEN": ""}
            refused = build(mixed.api, existing_image_uri=name, existing_image_creds=wrong)
            assert not refused.ok and "refused the credentials" in refused.said, refused
            right = {"HERE_USERNAME": "", "HERE_PASSWORD": ""}
            built = build(mixed.api, existing_image_uri=name, existing_image_creds=right)
            assert built.ok, built
            api = mixed.api
            assert api.call(stub(api, built.image, "read", "private"), "/etc/private").value == "yes"

            other = new_workspace(mixed.api)
            spec = {"python_version": "python3.11", "existing_image_uri": name}
            known = other.images.verify_image_build(VerifyImageBuildRequest(**spec))
            assert known.image_id != built.image and not known.exists
            named = other.images.verify_image_build(VerifyImageBuildRequest(image_id=built.image))
            assert not named.exists
            assert not build(other, existing_image_uri=name).ok
            theirs = other.try_stub(other.upload(READ), "app:read", image_id=built.image)
            assert not theirs.ok and built.image in theirs.err_msg


@pytest.mark.parametrize(
    "spec, said",
    [
        ({"existing_image_uri": "{host}/nothing:here"}, "has no image `{host}/nothing:here`"),
        ({"existing_image_uri": "no name"}, "`no name` is no name of an image"),
        ({"python_version": "python3.9"}, "has no image `{host}/python:3.9`"),
        (
            {"python_version": "python3.9", "existing_image_uri": "{host}/python:3.11"},
            "the image's `python3.9` does not run",
        ),
        (
            {
                "python_version": "python3.9",
                "existing_image_uri": "{host}/python:3.11",
                "build_steps": shell("echo a"),
            },
            "the image has no `python3.9`",
        ),
        ({"build_steps": shell("echo about to fail; exit 3")}, "about to fail"),
        ({"build_steps": shell("true"), "gpu": "A100"}, "images are built without accelerators"),
        ({"dockerfile": "FROM {host}/python:3.11", "build_ctx_object": "no id"}, "no id"),
        ({"dockerfile": "FROM {host}/python:3.11\nRUN a \\"}, "goes on"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_is_wrong(mixed, registry, spec, said):
    spec = {key: value.format(host=registry.host) if isinstance(value, str) else value for key, value in spec.items()}
    if spec.keys() == {"python_version"}:
        spec["build_steps"] = shell("true")
    refused = build(mixed.api, **spec)
    assert not refused.ok and said.format(host=registry.host) in refused.said, refused


def test_an_image_that_is_here_needs_neither_registry_nor_builder(mixed, python_image):
    """The worker is started anew, so nothing is remembered but what is on its disk."""
    with Registry() as registry:
        base = registry.put("python", python_image, IMAGE_ENV, tag="3.11")
        with alone(mixed, "kept", registry) as worker:
            spec = {"existing_image_uri": base, "build_steps": shell("echo kept > /note")}
            built = build(mixed.api, **spec)
            assert built.ok, built
            asked = len(registry.asked)
            read = stub(mixed.api, built.image, "read", "kept")
            assert mixed.api.call(read, "/note").value == "kept\n"
            worker.stop()
            worker.start()
            eventually(lambda: mixed.is_connected(worker), what="the worker is back", within=60)
            assert mixed.api.call(read, "/note").value == "kept\n"
            assert len(registry.asked) == asked


@pytest.fixture(scope="module")
def layouts(mixed, registry):
    """Images in no registry: one as a directory, and one as an archive."""
    registry.save("python:3.11", mixed.layouts / "own")
    with tarfile.open(mixed.layouts / "packed.tar", "w") as archive:
        archive.add(mixed.layouts / "own", ".")
    return mixed.layouts


@pytest.mark.parametrize("name", ["own", "packed"])
def test_an_image_from_no_registry_is_run_and_built_upon(mixed, registry, layouts, name):
    asked = len(registry.asked)
    uri = f"oci:{name}"
    plain = build(mixed.api, existing_image_uri=uri)
    assert plain.ok, plain
    assert mixed.api.call(stub(mixed.api, plain.image, "read"), "/etc/made-for").value == "the tests\n"
    more = build(mixed.api, existing_image_uri=uri, build_steps=shell(f"echo {name} > /more"))
    assert more.ok, more
    assert mixed.api.call(stub(mixed.api, more.image, "read", "runsc"), "/more").value == f"{name}\n"
    assert len(registry.asked) == asked


@pytest.mark.parametrize(
    "spec, said",
    [
        ({"existing_image_uri": "oci:nobodys"}, "has neither `nobodys` nor `nobodys.tar`"),
        ({"existing_image_uri": "oci:../layouts/own"}, "names of layouts have letters"),
        # Whoever may name any file of the machine as an image reads it.
        ({"dockerfile": "FROM oci:{layouts}/own\nRUN true"}, "no such file or directory"),
    ],
)
def test_layouts_are_had_by_name_only(mixed, layouts, spec, said):
    spec = {key: value.format(layouts=layouts) for key, value in spec.items()}
    refused = build(mixed.api, **spec)
    assert not refused.ok and said in refused.said, refused


@pytest.mark.parametrize(
    "link, mount, says",
    [
        ("/", "type=bind,from=base,source=/out,destination=/exploit,rw", "is not of this build"),
        # What another mount namespace has, the kernel gives to nobody.
        ("/proc/1/root", "type=bind,from=base,source=/out,destination=/exploit,rw", "invalid argument"),
        ("/", "type=cache,id=../../../../..,target=/exploit", ""),
    ],
)
def test_no_step_of_a_dockerfile_reaches_the_machine(mixed, registry, tmp_path, link, mount, says):
    """Links in an image, and names with `..`, lead nowhere, whatever buildah makes of them."""
    (tmp_path / "marker").write_text("of the machine")
    there = f"/exploit{tmp_path}"
    step = f"ls /exploit; cat {there}/marker /exploit/etc/shadow; echo > {there}/written"
    base = f"FROM {registry.base}"
    text = f"{base} AS base\nRUN busybox ln -s {link} /out\n{base}\nRUN --mount={mount} {step}\n"
    built = build(mixed.api, dockerfile=text)
    assert not built.ok and says in built.said, built
    assert "of the machine" not in built.said and "root:" not in built.said
    assert [path.name for path in tmp_path.iterdir()] == ["marker"]


def endless_build(api, directory):
    """A build whose last step takes long: its stream, and the processes of that step."""
    step = shell(f"echo beginning; : {directory}; sleep 600; true")
    # Below the SDK's own client, whose stream cannot be ended by whoever reads it.
    build_image = api.channel.unary_stream(
        "/image.ImageService/BuildImage", BuildImageRequest.SerializeToString, BuildImageResponse.FromString
    )
    stream = build_image(BuildImageRequest(python_version="python3.11", build_steps=step))
    said = ""
    while "\nbeginning\n" not in said:
        said += next(stream).msg
    running = [seen for seen in processes.mentioning(directory) if "sleep 600" in str(seen)]
    assert running
    return stream, running


def are_gone(running):
    alive = lambda: [seen for seen in running if processes.alive(seen.pid)]  # noqa: E731
    eventually(alive, lambda left: not left, what="the step is gone", within=30)


def test_a_build_that_nobody_waits_for_ends(mixed, tmp_path):
    """And makes room for the next on the same worker."""
    go(mixed, "runsc")
    try:
        stream, running = endless_build(mixed.api, tmp_path)
        stream.cancel()
        are_gone(running)
        built = build(mixed.api, build_steps=shell("echo next > /next"))
        assert built.ok, built
    finally:
        come_back(mixed)


def test_a_killed_workers_build_dies_with_it(mixed, tmp_path):
    """Neither buildah nor what a step has started is left; the client hears that nobody else can do it."""
    go(mixed, "runsc")
    try:
        stream, running = endless_build(mixed.api, tmp_path)
        mixed.of["runc"].kill()
        said = "".join(message.msg for message in stream)
        assert "the worker was lost" in said and "cannot run on native workers" in said, said
        are_gone(running)
    finally:
        come_back(mixed)
    built = build(mixed.api, build_steps=shell("echo again > /again"))
    assert built.ok, built


ENDPOINT = """
from beta9 import Image, endpoint

image = Image(python_version="python3.11", base_image="{base}")

@endpoint(image=image, pool="runc", workers=2)
def hello(name="nobody"):
    return {{"to": name, "in": open("/etc/made-for").read()}}
"""


def test_an_endpoint_serves_from_an_image(app, mixed, registry):
    served = serve(app, mixed.facts, ENDPOINT.format(base=registry.base), "hello")
    answers = [served.request("POST", json={"name": "ann"}).json() for _ in range(4)]
    assert answers == [{"to": "ann", "in": "the tests\n"}] * 4


def test_the_example_with_an_image_and_a_volume(app, registry):
    source = (REPOSITORY / "examples/base_image.py").read_text()
    done = app(source, env={"BASE_IMAGE": registry.base}, within=180)
    assert done.code == 0, done
    assert "3 words, counted with six 1.16.0" in done.stdout and "kept in the volume: 3" in done.stdout


def test_a_native_fleet_says_what_to_use_instead(api):
    refused = build(api, existing_image_uri="debian:12", build_steps=shell("apt-get install -y jq"))
    assert not refused.ok
    for text in ["cannot run on native workers", "base image `debian:12`", "leave `base_image` out", 'runtime = "runc"']:
        assert text in refused.said, refused
