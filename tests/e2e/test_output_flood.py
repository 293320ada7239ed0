"""Much output: all of it arrives, and nobody's memory grows with it."""

import hashlib

from harness import processes

MEBIBYTE = 1 << 20
FLOOD = 50 * MEBIBYTE
ALLOWED_GROWTH_KIB = 32 * 1024

WRITER = {
    "app.py": """
    import sys

    def flood(total):
        line = "0123456789abcdef" * 64
        number = written = 0
        while written < total:
            text = f"{number:08} {line}\\n"
            sys.stdout.write(text)
            written += len(text)
            number += 1
        return written
    """
}


def expected(total):
    digest, number, written = hashlib.sha256(), 0, 0
    line = "0123456789abcdef" * 64
    while written < total:
        text = f"{number:08} {line}\n".encode()
        digest.update(text)
        written += len(text)
        number += 1
    return written, digest.hexdigest()


def test_fifty_mebibytes_of_output_arrive_complete_in_bounded_memory(fleet, api):
    stub = api.stub(WRITER, "app:flood", timeout=120)
    api.call(stub, 1).finish()
    watched = {"gateway": fleet.pid, "worker": fleet.worker_pid}
    before = {who: processes.memory(pid)["VmHWM"] for who, pid in watched.items()}

    call = api.call(stub, FLOOD)
    digest, size = hashlib.sha256(), 0
    for piece in call.pieces():
        data = piece.encode()
        digest.update(data)
        size += len(data)

    assert (size, digest.hexdigest()) == expected(FLOOD)
    assert call.value == size
    for who, pid in watched.items():
        growth = processes.memory(pid)["VmHWM"] - before[who]
        assert growth < ALLOWED_GROWTH_KIB, f"the {who}'s peak grew by {growth} KiB"


def test_the_sdk_shows_every_line_of_a_long_output(app):
    done = app(
        """
        from beta9 import function

        @function()
        def talk():
            for number in range(20_000):
                print(f"{number:06} " + "x" * 60)

        if __name__ == "__main__":
            talk.remote()
        """
    )
    assert done.code == 0, done
    numbers = [line[:6] for line in done.stdout.splitlines() if line.endswith("x" * 60)]
    assert numbers == [f"{number:06}" for number in range(20_000)]


def test_logs_of_the_flood_can_be_read_afterwards(fleet, api):
    stub = api.warm(WRITER, "app:flood")
    call = api.call(stub, MEBIBYTE).finish()
    logs = fleet.metal9("task", "logs", call.task_id).stdout
    assert hashlib.sha256(logs.encode()).hexdigest() == expected(MEBIBYTE)[1]
