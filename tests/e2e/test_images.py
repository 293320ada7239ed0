"""Environments: what an image asks for is what its functions run in."""

import json

import pytest


def test_two_functions_can_have_different_versions_of_one_package(app):
    done = app(
        """
        import json
        from beta9 import Image, function

        @function(image=Image(python_packages=["iniconfig==2.0.0"]))
        def old():
            from importlib.metadata import version
            return version("iniconfig")

        @function(image=Image().add_python_packages(["iniconfig==2.1.0"]))
        def new():
            from importlib.metadata import version
            return version("iniconfig")

        if __name__ == "__main__":
            print(json.dumps([old.remote(), new.remote(), old.remote()]))
        """,
        within=120,
    )
    assert done.json == ["2.0.0", "2.1.0", "2.0.0"]


def test_packages_can_come_from_a_requirements_file(app):
    done = app(
        """
        import json
        from beta9 import Image, function

        @function(image=Image(python_packages="requirements.txt"))
        def version():
            from importlib.metadata import version
            return version("iniconfig")

        if __name__ == "__main__":
            print(json.dumps(version.remote()))
        """,
        files={"requirements.txt": "# pinned\niniconfig==2.0.0\n"},
        within=120,
    )
    assert done.json == "2.0.0"


def test_the_environment_of_the_image_is_seen_by_the_function(app):
    done = app(
        """
        import json, os
        from beta9 import Image, function

        image = Image(env_vars={"FROM_IMAGE": "yes", "BOTH": "image"})

        @function(image=image, env={"BOTH": "stub"})
        def read():
            return [os.environ["FROM_IMAGE"], os.environ["BOTH"]]

        if __name__ == "__main__":
            print(json.dumps(read.remote()))
        """
    )
    assert done.json == ["yes", "stub"]


def test_another_python_version_can_be_had(app, fleet):
    status = json.loads(fleet.metal9("status", "--json").stdout)
    pythons = status["workers"][0]["pythons"]
    # The SDK names no version after 3.12, and its own packages want at least 3.10.
    other = next(v for v in reversed(pythons) if v in ("3.10", "3.12") or len(pythons) == 1)
    done = app(
        f"""
        import json
        from beta9 import Image, function

        @function(image=Image(python_version="python{other}"))
        def version():
            import sys
            return "%d.%d" % sys.version_info[:2]

        if __name__ == "__main__":
            print(json.dumps(version.remote()))
        """,
        within=120,
    )
    assert done.json == other


REFUSED = """
import json
from beta9 import Image, ImageBuildError, function

IMAGES = {
    "commands": Image(commands=["apt-get install -y ffmpeg"]),
    "pip_command": Image().add_commands(["pip install torch"]),
    "base_image": Image(base_image="docker.io/library/debian:12"),
    "micromamba": Image(python_version="python3.11").micromamba(),
    "dockerfile": Image.from_dockerfile("Dockerfile"),
    "secrets": Image().with_secrets(["TOKEN"]),
    "no_such_package": Image(python_packages=["metal9-no-such-package-x1"]),
    "impossible_pin": Image(python_packages=["iniconfig==0.0.77"]),
    "no_such_python": Image(python_version="python3.99"),
    "no_python_at_all": Image(python_version="ruby"),
}

def attempt(image):
    @function(image=image)
    def never():
        return "ran"

    try:
        return ["ran", never.remote()]
    except ImageBuildError as error:
        return ["refused", str(error)]

if __name__ == "__main__":
    print(json.dumps({name: attempt(image) for name, image in IMAGES.items()}))
"""


@pytest.fixture(scope="module")
def refused(shared_app):
    files = {"Dockerfile": "FROM debian:12\nRUN true\n"}
    return shared_app(REFUSED, files=files, within=120).json


@pytest.mark.parametrize(
    "image, texts",
    {
        "commands": ["apt-get install -y ffmpeg", "add_python_packages"],
        "pip_command": ["pip install torch", "add_python_packages", "`torch`"],
        "base_image": ["docker.io/library/debian:12", "container image", "base_image"],
        "micromamba": ["micromamba", "uv", "python3.11"],
        "dockerfile": ["Dockerfile", "python_packages"],
        "secrets": ["secret", "secrets=["],
    }.items(),
)
def test_what_a_native_worker_cannot_do_is_refused_with_what_to_do_instead(refused, image, texts):
    outcome, message = refused[image]
    assert outcome == "refused", message
    assert "hint:" in message
    for text in texts:
        assert text in message, message


def test_a_package_that_does_not_exist_is_told_in_uvs_words(refused):
    outcome, message = refused["no_such_package"]
    assert outcome == "refused"
    assert "metal9-no-such-package-x1 was not found in the package registry" in message


def test_a_version_that_does_not_exist_is_told_in_uvs_words(refused):
    outcome, message = refused["impossible_pin"]
    assert outcome == "refused"
    assert "iniconfig==0.0.77" in message and "no version of" in message


def test_a_python_that_no_worker_has_is_refused_with_those_there_are(refused, fleet):
    outcome, message = refused["no_such_python"]
    assert outcome == "refused"
    assert "3.99" in message
    status = json.loads(fleet.metal9("status", "--json").stdout)
    for version in status["workers"][0]["pythons"]:
        assert version in message, message


def test_a_text_that_names_no_python_is_refused(refused):
    outcome, message = refused["no_python_at_all"]
    assert outcome == "refused"
    assert "ruby" in message


def test_an_image_that_cannot_be_built_ends_the_program_with_code_one(app):
    done = app(
        """
        from beta9 import Image, function

        @function(image=Image(commands=["true"]))
        def never():
            return 1

        if __name__ == "__main__":
            never.remote()
        """
    )
    assert done.code == 1
    assert "ImageBuildError" in done.stderr and "hint:" in done.stderr


def test_a_built_image_is_found_again_by_its_id(app):
    done = app(
        """
        import json
        from beta9 import Image, function

        if __name__ == "__main__":
            built = Image(python_packages=["iniconfig==2.0.0"]).build()
            found, again = Image.from_id(built.image_id).exists()
            missing, _ = Image.from_id("0123456789abcdef").exists()
            print(json.dumps([built.success, found, again.image_id == built.image_id, missing]))
        """,
        within=120,
    )
    assert done.json == [True, True, True, False]


def test_a_build_tells_what_it_is_doing(app):
    done = app(
        """
        from beta9 import Image

        if __name__ == "__main__":
            assert Image(python_packages=["iniconfig==2.1.0", "toml==0.10.2"]).build().success
        """,
        within=120,
    )
    assert done.code == 0, done
    assert "package" in done.stdout.lower(), done
