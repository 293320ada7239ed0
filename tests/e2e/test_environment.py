"""Environment variables and secrets."""

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Iterator, Tuple

import pytest
from beta9.clients.gateway import SecretVar


@pytest.fixture(scope="module")
def secret(fleet):
    """A secret that exists while this module's tests run."""
    fleet.beta9("secret", "create", "E2E_TOKEN", "s3cret with spaces = and =")
    yield "E2E_TOKEN"
    fleet.beta9("secret", "delete", "E2E_TOKEN")


def test_variables_reach_the_function(app):
    done = app(
        """
        import json, os
        from beta9 import function

        @function(env={"PLAIN": "value", "EQUALS": "a=b=c", "EMPTY": "", "UMLAUT": "grün"})
        def read():
            return [os.environ[name] for name in ("PLAIN", "EQUALS", "EMPTY", "UMLAUT")]

        if __name__ == "__main__":
            print(json.dumps(read.remote()))
        """
    )
    assert done.json == ["value", "a=b=c", "", "grün"]


def test_secrets_reach_the_function_by_name_and_by_reference(app, secret):
    done = app(
        """
        import json, os
        from beta9 import function

        @function(secrets=["E2E_TOKEN"], env={"ALIAS": "${{secret.E2E_TOKEN}}"})
        def read():
            return [os.environ["E2E_TOKEN"], os.environ["ALIAS"]]

        if __name__ == "__main__":
            print(json.dumps(read.remote()))
        """
    )
    assert done.json == ["s3cret with spaces = and ="] * 2


def test_a_value_may_have_several_references_in_it(api, fleet):
    fleet.beta9("secret", "create", "E2E_USER", "ada")
    fleet.beta9("secret", "create", "E2E_PASSWORD", "l0velace")
    files = {"app.py": "import os\n\ndef read():\n    return os.environ['ADDRESS']\n"}
    address = "db://${{ secret.E2E_USER }}:${{secret.E2E_PASSWORD}}@host/$HOME"
    try:
        stub = api.stub(files, "app:read", env=[f"ADDRESS={address}"])
        assert api.call(stub).value == "db://ada:l0velace@host/$HOME"
    finally:
        for name in ("E2E_USER", "E2E_PASSWORD"):
            fleet.beta9("secret", "delete", name)


def test_a_reference_to_something_else_is_refused_in_words(api):
    object_id = api.upload({"app.py": "def read():\n    return 1\n"})
    refused = api.try_stub(object_id, "app:read", env=["X=${{ vault.KEY }}"])
    assert not refused.ok and "vault.KEY" in refused.err_msg, refused.err_msg


def contents(root: Path) -> Iterator[Tuple[Path, bytes]]:
    """What is in the files below a directory; containers that end take theirs along meanwhile."""
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    yield path, path.read_bytes()


def test_a_secret_is_in_no_log_and_no_file_of_the_system(api, fleet):
    value = "tell-nobody-9f2c1"
    fleet.beta9("secret", "create", "E2E_QUIET", value)
    files = {
        "app.py": """
        import os

        def length(fail=False):
            if fail:
                raise ValueError("it went wrong")
            return len(os.environ["E2E_QUIET"]), len(os.environ["ALIAS"])
        """
    }
    try:
        fields = {"secrets": [SecretVar(name="E2E_QUIET")], "env": ["ALIAS=${{secret.E2E_QUIET}}"]}
        stub = api.stub(files, "app:length", **fields)
        assert api.call(stub).value == (len(value), len(value))
        assert api.call(stub, fail=True).finish().exit_code != 0
        assert value not in fleet.daemon.text(0)
        assert not [path for path, kept in contents(fleet.state) if value.encode() in kept]
        told = api.get(f"/api/v1/stub/{api.workspace}/{stub}").text
        assert value not in told
    finally:
        fleet.beta9("secret", "delete", "E2E_QUIET")


def test_a_function_that_does_not_ask_for_a_secret_does_not_get_it(app, secret):
    done = app(
        """
        import json, os
        from beta9 import function

        @function()
        def read():
            return "E2E_TOKEN" in os.environ

        if __name__ == "__main__":
            print(json.dumps([read.remote()]))
        """
    )
    assert done.json == [False]


@pytest.mark.parametrize(
    "options", ['secrets=["E2E_ABSENT"]', 'env={"X": "${{secret.E2E_ABSENT}}"}']
)
def test_a_secret_that_does_not_exist_is_named_before_anything_runs(app, options):
    done = app(
        f"""
        from beta9 import function

        @function({options})
        def never():
            return 1

        if __name__ == "__main__":
            never.remote()
        """
    )
    assert done.code == 1
    assert "E2E_ABSENT" in done.stderr and "does not exist" in done.stderr, done


def test_a_python_that_no_worker_has_is_told_with_those_there_are(app):
    if sys.platform == "darwin":
        pytest.skip("a worker on a Mac has uv install what it lacks")
    done = app(
        """
        from beta9 import Image, function

        @function(image=Image(python_version="python3.99"))
        def never():
            return 1

        if __name__ == "__main__":
            never.remote()
        """
    )
    assert done.code == 1, done
    shown = done.stdout + done.stderr
    own = f"3.{sys.version_info.minor}"
    has = re.search(r"python 3\.99 is not on this machine; it has (.*)", shown)
    assert has and own in re.split(", | and ", has[1]), shown
    assert re.search(r'hint: ask for one of those, as `Image\(python_version="python3\.\d+"\)`', shown), shown


def test_a_changed_secret_is_seen_by_the_next_run(app, fleet):
    fleet.beta9("secret", "create", "E2E_CHANGING", "first")
    source = """
        import json, os
        from beta9 import function

        @function(secrets=["E2E_CHANGING"])
        def read():
            return os.environ["E2E_CHANGING"]

        if __name__ == "__main__":
            print(json.dumps(read.remote()))
        """
    try:
        assert app(source).json == "first"
        fleet.beta9("secret", "modify", "E2E_CHANGING", "second")
        assert app(source).json == "second"
    finally:
        fleet.beta9("secret", "delete", "E2E_CHANGING")


def test_the_workers_own_environment_stays_its_own(api):
    stub = api.stub(
        {
            "app.py": """
            import os

            def names():
                return dict(os.environ)
            """
        },
        "app:names",
    )
    seen = api.call(stub).value
    assert "PATH" in seen and "HOME" in seen
    # pytest sets this one in its own environment, which the system's processes inherit.
    assert "PYTEST_VERSION" not in seen
    assert api.token not in seen.values()
