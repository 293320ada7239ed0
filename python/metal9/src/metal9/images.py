"""Prints the images that a program asks for, as JSON: `python images.py app.py`.

`metal9 image check` runs this text with the user's own Python, which need not have the metal9 package: it uses nothing
of it.
"""

import importlib.util
import json
import os
import sys

# Field of the SDK's image -> field of the answer.
_TEXTS = ("base_image", "dockerfile", "python_version", "gpu")
_LISTS = ("python_packages", "commands", "secrets")


def images_of(module):
    """The images of a module, each with the names of what uses it and the GPUs those ask for."""
    from beta9 import Image

    found = {}
    for name, value in vars(module).items():
        if name.startswith("__"):
            continue
        # A decorated function holds what it was decorated with.
        stub = getattr(value, "parent", value)
        image = value if isinstance(value, Image) else getattr(stub, "image", None)
        if not isinstance(image, Image):
            continue
        described = describe(image)
        entry = found.setdefault(json.dumps(described, sort_keys=True), {"image": described, "users": []})
        if image is not value:
            entry["users"].append({"name": name, "gpu": gpus_of(stub)})
    return list(found.values())


def describe(image):
    """What of an image decides about its packages."""
    described = {field: _text(getattr(image, field, "")) for field in _TEXTS}
    described.update({field: [str(line) for line in getattr(image, field, None) or []] for field in _LISTS})
    steps = getattr(image, "build_steps", None) or []
    described["build_steps"] = [
        {"kind": _text(getattr(step, "type", "")), "command": _text(getattr(step, "command", ""))} for step in steps
    ]
    return described


def gpus_of(stub):
    """The names of GPUs that a stub asks for, in its order."""
    gpu = getattr(stub, "gpu", None)
    names = gpu if isinstance(gpu, (list, tuple)) else [gpu]
    texts = [_text(name) for name in names]
    return [name for text in texts for name in text.split(",") if name]


def _text(value):
    return str(getattr(value, "value", value) or "")


def _be_signed_in():
    # The SDK wants to be when a decorator is used, though nothing is called here.
    config = os.environ.get("CONFIG_PATH") or os.path.join("~", ".beta9", "config.ini")
    if not os.path.exists(os.path.expanduser(config)):
        os.environ.setdefault("BETA9_TOKEN", "nobody-is-called")
        os.environ.setdefault("BETA9_GATEWAY_HOST", "127.0.0.1")
        os.environ.setdefault("BETA9_GATEWAY_PORT", "1")


def main(path):
    _be_signed_in()
    directory = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, directory)
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        sys.exit("%s is not a Python file" % path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # The program may print; the answer is the only thing on standard output.
    answer, sys.stdout = sys.stdout, sys.stderr
    spec.loader.exec_module(module)
    from importlib.metadata import version

    json.dump({"sdk": version("beta9"), "images": images_of(module)}, answer)


if __name__ == "__main__":
    main(sys.argv[1])
