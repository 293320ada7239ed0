"""The names of Apple's GPUs, in every version of the SDK that is tested."""

import json

import pytest

from metal9 import apple

# What every use of a GPU's name comes down to in the SDK.
ASK = """
import json

def ask(gpu):
    from beta9.abstractions.base.runner import RunnerAbstraction

    # Without an instance, which would connect to a gateway in older ones; those name it with a bar, too.
    parse = getattr(RunnerAbstraction, "parse_gpu", None) or RunnerAbstraction._parse_gpu
    return parse(None, gpu)
"""


def asked(client, gpus, first="import metal9"):
    source = "%s\n%s\nprint(json.dumps([ask(gpu) for gpu in json.loads(%r)]))"
    return client.json(source % (first, ASK, json.dumps(gpus)))


def test_every_name_has_one_spelling_and_takes_any():
    assert len(apple.selectors()) == len(set(apple.selectors())) == 3 + 9 * 4
    for name in apple.selectors():
        assert apple.canonical(name) == name
        assert apple.canonical(name.lower()) == apple.canonical(" %s\n" % name.upper()) == name
    for text in ["m3-max", "M3 Max", "M3Max", "m3_MAX", "Apple M3 Max", "APPLE-M3-MAX"]:
        assert apple.canonical(text) == "M3Max", text


@pytest.mark.parametrize("text", ["", "M", "M0", "M10", "M3Mx", "MaxM3", "H100", "M4000", "any", "Appl", "М3", None, 3])
def test_other_texts_are_no_names_of_apple_gpus(text):
    assert apple.canonical(text) is None


def test_the_sdk_takes_every_name(client):
    assert asked(client, apple.selectors()) == list(apple.selectors())


def test_the_sdk_takes_other_spellings_and_lists_with_other_makers_names(client):
    gpus = ["m3-max", "M3 Max", "mps", ["metal", "H100"], ["A10G", "M1 Ultra", "m4"], "any", ""]
    expected = ["M3Max", "M3Max", "MPS", "Metal,H100", "A10G,M1Ultra,M4", "any", ""]
    assert asked(client, gpus) == expected


@pytest.mark.parametrize(
    "first",
    [
        "import metal9; from beta9 import function",
        "from beta9 import function; import metal9",
        "from metal9 import function",
    ],
)
def test_the_order_of_imports_does_not_matter(client, first):
    assert asked(client, ["M2 Pro"], first) == ["M2Pro"]


def test_without_metal9_the_sdk_takes_none_of_them(client):
    done = client.program(ASK + "ask('MPS')")
    assert done.returncode == 1 and "MPS" in done.stderr


def test_a_name_that_is_none_is_refused_as_before(client):
    done = client.program("import metal9" + ASK + "ask('M3Mx')")
    assert done.returncode == 1
    assert "'M3Mx' is not a valid GpuType" in done.stderr


def test_what_the_sdk_lists_stays_as_it_is(client):
    source = "%s\nfrom beta9 import GpuType\nimport json; print(json.dumps([gpu.value for gpu in GpuType]))"
    assert client.json(source % "import metal9") == client.json(source % "")


def test_a_name_survives_being_pickled(client):
    source = """
        import json, metal9, pickle, copy
        from metal9 import GpuType

        gpu = GpuType("M3Max")
        again = pickle.loads(pickle.dumps(gpu))
        print(json.dumps([gpu, gpu.value, gpu.name, gpu == "M3Max", again is gpu, copy.deepcopy(gpu) is gpu]))
    """
    assert client.json(source) == ["M3Max", "M3Max", "M3Max", True, True, True]


# ---- the package as another way to the SDK ----


def test_everything_the_sdk_exports_is_the_sdks_own(client):
    source = """
        import json, beta9, metal9

        different = [name for name in beta9.__all__ if getattr(metal9, name) is not getattr(beta9, name)]
        print(json.dumps([different, sorted(set(beta9.__all__) - set(dir(metal9))), len(beta9.__all__)]))
    """
    different, missing, count = client.json(source)
    assert different == [] and missing == [] and count > 10


def test_a_star_import_gives_what_the_sdks_would(client):
    source = "import json\nfrom %s import *\nprint(json.dumps(sorted(n for n in globals() if n[0] != '_')))"
    assert client.json(source % "metal9") == client.json(source % "beta9")


@pytest.mark.parametrize("statement", ["import metal9", "from metal9 import apple", "import metal9.runner.frames"])
def test_importing_the_package_does_not_import_the_sdk(client, statement):
    source = "import json, sys\n%s\nprint(json.dumps([m for m in sys.modules if m.startswith('beta9')]))"
    assert client.json(source % statement) == []


def test_a_name_the_sdk_does_not_export_is_not_there(client):
    done = client.program("from metal9 import functoin")
    assert done.returncode == 1 and "cannot import name 'functoin'" in done.stderr


def test_the_sdks_command_line_is_reached_by_the_packages(client):
    done = client.run("-m", "metal9", "--version")
    assert done.returncode == 0 and "version" in done.stdout, done.stderr
