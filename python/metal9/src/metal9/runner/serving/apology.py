"""Answers in place of code that does not load, so that nobody waits for it."""

import contextlib
import json
import selectors
import socket
import threading

# Bytes of a request's head at most, and seconds for it and for the rest of the request.
_HEAD, _SECONDS = 64 * 1024, 5.0


class Apology:
    """Accepts connections in the place of processes that are not there, until it is ended."""

    def __init__(self, sockets, text: str) -> None:
        body = json.dumps({"error": text}).encode("utf-8")
        head = "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\n"
        head += "content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self._answer = head.encode("ascii") + body
        self._sockets = sockets
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="metal9-apology", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Accepts no more: from now on connections wait for the next process."""
        self._stop.close()
        self._thread.join()
        self._stopped.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (*self._sockets, self._stopped):
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._stopped in ready:
                    return
                for sock in ready:
                    with contextlib.suppress(OSError):
                        client, _ = sock.accept()
                        threading.Thread(target=self._tell, args=(client,), daemon=True).start()

    def _tell(self, client) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(_SECONDS)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < _HEAD:
                piece = client.recv(4096)
                if not piece:
                    return
                head += piece
            client.sendall(self._answer)
            client.shutdown(socket.SHUT_WR)
            # A connection that closes with something unread would take the answer along.
            while client.recv(_HEAD):
                pass
