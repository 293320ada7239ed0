"""Frames on the worker's socket: a big-endian u32 length, then one MessagePack map with the key `type`."""

import socket
import struct
import threading

from . import msgpack

# Bytes; both sides enforce it.
MAX_FRAME = 20 * 1024 * 1024

_LENGTH = struct.Struct(">I")

# Bytes that are asked for at once: most frames come whole with one system call.
_AHEAD = 64 * 1024


class FrameError(Exception):
    """The peer broke the protocol; the connection cannot be used any more."""


class Connection:
    """A stream socket that carries frames. One thread may receive while others send."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # What was read beyond the last frame.
        self._ahead = b""
        self._sending = threading.Lock()

    def receive(self):
        """Waits for the next frame and returns its map, or None when the peer has closed the connection."""
        header = self._read(_LENGTH.size, at_boundary=True)
        if header is None:
            return None
        (length,) = _LENGTH.unpack(header)
        if length > MAX_FRAME:
            raise FrameError("a frame of %d bytes is over the limit of %d" % (length, MAX_FRAME))
        body = self._read(length, at_boundary=False)
        try:
            message = msgpack.unpack(body)
        except msgpack.MessagePackError as error:
            raise FrameError("a frame is not valid MessagePack: %s" % error) from error
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise FrameError('a frame must be a map with a text "type"')
        return message

    def send(self, message) -> None:
        """Sends one frame. Raises FrameError if it is too big, OSError if the peer is gone."""
        body = msgpack.pack(message)
        if len(body) > MAX_FRAME:
            raise FrameError("a frame of %d bytes is over the limit of %d" % (len(body), MAX_FRAME))
        header = _LENGTH.pack(len(body))
        with self._sending:
            if len(body) <= 65536:
                self._sock.sendall(header + body)
            else:
                self._sock.sendall(header)
                self._sock.sendall(body)

    def close(self) -> None:
        """Closes this process's descriptor; other processes that hold the socket keep theirs."""
        self._sock.close()

    def _read(self, length, at_boundary):
        if len(self._ahead) < length <= _AHEAD:
            self._ahead += self._receive(_AHEAD)
        if length <= len(self._ahead):
            data, self._ahead = self._ahead[:length], self._ahead[length:]
            return data
        buffer = bytearray(length)
        filled = len(self._ahead)
        buffer[:filled], self._ahead = self._ahead, b""
        view = memoryview(buffer)
        while filled < length:
            count = self._receive_into(view[filled:])
            if count == 0:
                if at_boundary and filled == 0:
                    return None
                raise FrameError("the connection closed in the middle of a frame")
            filled += count
        return buffer

    def _receive(self, most) -> bytes:
        try:
            return self._sock.recv(most)
        except ConnectionResetError:
            return b""

    def _receive_into(self, view) -> int:
        try:
            return self._sock.recv_into(view)
        except ConnectionResetError:
            return 0
