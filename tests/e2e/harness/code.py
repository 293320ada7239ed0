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
