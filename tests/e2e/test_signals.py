"""Signals: flags that one program sets and another watches."""

import threading
import time

import grpc
import pytest
from beta9.clients.signal import (
    SignalClearRequest,
    SignalMonitorRequest,
    SignalServiceStub,
    SignalSetRequest,
)

from harness import eventually

HANDLER = """
import time
from beta9 import function
from beta9.abstractions.experimental.signal import Signal

@function()
def watched(gate):
    calls = []
    signal = Signal(name="reload", handler=lambda: calls.append(1), clear_after_interval=1)
    # What a module's import does in a container.
    import threading
    threading.Thread(target=signal._monitor, daemon=True).start()
    print("WATCHING", flush=True)
    while not calls:
        time.sleep(0.01)
    return len(calls)

if __name__ == "__main__":
    print("handled", watched.remote(None))
"""


def test_a_job_is_told_of_a_signal_that_a_program_sets(app, api):
    program = app.start(HANDLER)
    program.wait_for("WATCHING")
    signals = SignalServiceStub(api.channel)
    assert signals.signal_set(SignalSetRequest(name="reload", ttl=60)).ok
    program.wait_for("handled 1")
    assert program.finish().code == 0
    signals.signal_clear(SignalClearRequest(name="reload"))


class Monitor:
    """A monitor's messages, with when they came."""

    def __init__(self, api, name):
        self.seen = []
        self.enough = False
        self.stream = SignalServiceStub(api.channel).signal_monitor(SignalMonitorRequest(name=name))
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for message in self.stream:
            self.seen.append((time.monotonic(), message.set))
            if self.enough:
                return

    def close(self):
        """Goes away at the next message."""
        self.enough = True
        self.thread.join(10)

    def until(self, wanted):
        """Waits for the first message that says so; when it came."""
        found = eventually(
            lambda: [at for at, state in self.seen if state == wanted],
            what=f"the monitor says {wanted}",
        )
        return found[0]


def test_a_monitor_speaks_about_once_a_second_and_at_once_on_a_change(api):
    signals = SignalServiceStub(api.channel)
    monitor = Monitor(api, "beat")
    monitor.until(False)
    eventually(lambda: len(monitor.seen) >= 3, what="two beats")
    gaps = [later - at for (at, _), (later, _) in zip(monitor.seen, monitor.seen[1:])]
    assert all(0.7 < gap < 3 for gap in gaps), gaps
    told = []
    for _ in range(3):
        assert signals.signal_clear(SignalClearRequest(name="beat")).ok
        monitor.seen.clear()
        set_at = time.monotonic()
        assert signals.signal_set(SignalSetRequest(name="beat", ttl=60)).ok
        told.append(monitor.until(True) - set_at)
    # A beat would take half a second on the average.
    assert min(told) < 0.3, told
    monitor.close()


def test_a_signal_ends_with_its_time(api):
    signals = SignalServiceStub(api.channel)
    monitor = Monitor(api, "short")
    monitor.until(False)
    monitor.seen.clear()
    assert signals.signal_set(SignalSetRequest(name="short", ttl=1)).ok
    monitor.until(True)
    monitor.until(False)
    monitor.close()
    with pytest.raises(grpc.RpcError) as error:
        signals.signal_set(SignalSetRequest(name="short", ttl=8 * 24 * 3600))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_signal_is_set_after_the_gateway_was_killed_and_another_workspace_does_not_see_it(
    split, stranger
):
    assert SignalServiceStub(split.api.channel).signal_set(SignalSetRequest(name="kept", ttl=60)).ok
    split.restart_gateway()
    monitor = Monitor(split.api, "kept")
    monitor.until(True)
    other = Monitor(stranger, "kept")
    other.until(False)
    assert not any(state for _, state in other.seen)
    monitor.close()
    other.close()
