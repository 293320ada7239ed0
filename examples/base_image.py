"""A container image as the system that functions run on, with a step of its own, and a volume beside it.

Needs a worker that makes containers, and buildah on its machine:

    METAL9_WORKER_RUNTIME=runc metal9 dev
    python base_image.py

`BASE_IMAGE` names another image to begin with; it must have a Python 3.11.
"""

import os

from beta9 import Image, Volume, function

BASE = os.environ.get("BASE_IMAGE", "python:3.11-slim")
IMAGE = Image(python_version="python3.11", base_image=BASE, python_packages=["six==1.16.0"]).add_commands(
    ["mkdir -p /opt/words", "echo 'alpha beta gamma' > /opt/words/list.txt"]
)


@function(cpu=0.1, image=IMAGE, volumes=[Volume(name="counts", mount_path="./counts")])
def count():
    import six

    with open("/opt/words/list.txt") as file:
        words = file.read().split()
    with open("counts/words.txt", "w") as file:
        file.write(str(len(words)))
    return f"{len(words)} words, counted with six {six.__version__}"


@function(cpu=0.1, volumes=[Volume(name="counts", mount_path="./counts")])
def recall():
    """Without the image: the volume is there for every function."""
    with open("counts/words.txt") as file:
        return file.read()


def main():
    print(count.remote())
    print(f"kept in the volume: {recall.remote()}")


if __name__ == "__main__":
    main()
