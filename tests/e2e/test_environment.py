"""Environment variables and secrets."""

import pytest


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
