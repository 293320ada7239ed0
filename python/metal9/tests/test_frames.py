import socket
import struct
import threading

import pytest

from metal9.runner.frames import MAX_FRAME, Connection, FrameError


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    a.settimeout(10)
    b.settimeout(10)
    yield a, b
    a.close()
    b.close()


def test_a_big_frame_arrives_whole(pair):
    message = {"type": "result", "data": b"x" * (5 << 20)}
    sender = threading.Thread(target=Connection(pair[0]).send, args=(message,))
    sender.start()
    assert Connection(pair[1]).receive() == message
    sender.join()


def test_a_closed_connection_is_the_end(pair):
    pair[0].close()
    assert Connection(pair[1]).receive() is None


@pytest.mark.parametrize(
    "data,words",
    [
        (struct.pack(">I", MAX_FRAME + 1), "limit"),
        (struct.pack(">I", 3) + b"\x81\xa1", "middle of a frame"),
        (b"\0\0", "middle of a frame"),
        (struct.pack(">I", 1) + b"\xc1", "MessagePack"),
        (struct.pack(">I", 1) + b"\x90", "map"),
        (struct.pack(">I", 1) + b"\x80", "type"),
        (struct.pack(">I", 0), "MessagePack"),
    ],
)
def test_broken_frames_are_refused(pair, data, words):
    pair[0].sendall(data)
    pair[0].close()
    with pytest.raises(FrameError, match=words):
        Connection(pair[1]).receive()


def test_a_frame_over_the_limit_is_not_sent(pair):
    with pytest.raises(FrameError, match="limit"):
        Connection(pair[0]).send({"type": "result", "data": b"x" * MAX_FRAME})
