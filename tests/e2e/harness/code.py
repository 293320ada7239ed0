"""Code that several tests call."""

# `wait` says that it is in, and returns 5 once the gate is open.
WAITING = {
    "app.py": """
    def wait(gate):
        print("in", flush=True)
        open(gate).read()
        return 5
    """
}

HELLO = {
    "app.py": """
    def hello():
        print("hi")
        return 1
    """
}

# Calls a function that calls another.
CALLS_BACK = """
from beta9 import function

@function()
def inner(number):
    return number * 2

@function()
def outer(number):
    return inner.remote(number) + 1

if __name__ == "__main__":
    print("came back with", outer.remote(20))
"""
