"""The users' code of a chaos run. Every run of a call leaves a line in the call's trace file, and
prints numbered lines under a name of its own, so that what is lost or doubled shows."""

CODE = {
    "app.py": """
    import hashlib, os, time

    def begin(trace):
        run = f"{os.getpid()}.{time.monotonic_ns()}"
        with open(trace, "a") as log:
            log.write(run + "\\n")
        return run, len(open(trace).read().splitlines())

    def say(run, lines, pause=0.0):
        for line in range(lines):
            print(f"run {run} line {line} of {lines}", flush=True)
            if pause:
                time.sleep(pause)

    def quick(number, trace):
        run, _ = begin(trace)
        say(run, 3)
        return [run, number * number + 1]

    def slow(number, trace):
        run, _ = begin(trace)
        say(run, 10 + number % 20, 0.1)
        return [run, number * number + 1]

    def loud(number, trace):
        run, _ = begin(trace)
        say(run, 4000)
        return [run, number * number + 1]

    def big(number, trace, data):
        run, _ = begin(trace)
        say(run, 2)
        assert len(data) == 1_500_000
        return [run, number * number + 1, hashlib.sha256(data).digest() * 50_000]

    def fails(number, trace):
        run, _ = begin(trace)
        say(run, 2)
        raise ValueError(f"no answer to {number}")

    def crashes(number, trace):
        run, tries = begin(trace)
        say(run, 2)
        if tries == 1:
            os._exit(3)
        return [run, number * number + 1]
    """
}

# Kind of call, further attempts, share of the load.
KINDS = (
    ("quick", 3, 8),
    ("slow", 3, 6),
    ("once", 0, 3),
    ("loud", 3, 1),
    ("big", 3, 1),
    ("fails", 3, 2),
    ("crashes", 8, 2),
)


def handler(kind: str) -> str:
    """The function that a kind of call calls."""
    return f"app:{'quick' if kind == 'once' else kind}"
