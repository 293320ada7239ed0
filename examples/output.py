"""A file that a call leaves, with an address that anybody can open for a while.

    python output.py
"""

import requests
from beta9 import Output, function


@function(cpu=0.1)
def draw(size):
    """A picture, as text that every browser understands."""
    rings = "".join(
        f'<circle cx="50" cy="50" r="{radius}" fill="none" stroke="black"/>'
        for radius in range(5, size, 5)
    )
    with open("rings.svg", "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{rings}</svg>')
    output = Output(path="rings.svg").save()
    return output.public_url(expires=600)


def main():
    address = draw.remote(50)
    picture = requests.get(address, timeout=30)
    print(f"{len(picture.content)} bytes that need no token, for ten minutes: {address[:60]}…")
    changed = requests.get(address[:-1] + ("0" if address[-1] != "0" else "1"), timeout=30)
    print(f"with another address: {changed.status_code}")


if __name__ == "__main__":
    main()
