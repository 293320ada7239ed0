"""A directory that calls share, and that stays.

    python volume.py

From the command line: `beta9 ls notes`, `beta9 cp beta9://notes/1.txt .`
"""

from beta9 import Volume, function

NOTES = Volume(name="notes", mount_path="./notes")


@function(cpu=0.1, volumes=[NOTES])
def write(number):
    with open(f"notes/{number}.txt", "w") as note:
        note.write(f"note {number}, as text in a file")
    return number


@function(cpu=0.1, volumes=[NOTES])
def read_all():
    from pathlib import Path

    return {path.name: path.read_text() for path in sorted(Path("notes").glob("*.txt"))}


def main():
    for number in write.map(range(3)):
        print(f"wrote {number}")
    for name, text in read_all.remote().items():
        print(f"{name}: {text}")


if __name__ == "__main__":
    main()
