"""Messages both ways over a WebSocket.

    python realtime_chat.py
"""

import subprocess
import sys

import websocket
from beta9 import realtime
from beta9.config import get_config_context


@realtime(cpu=0.25)
def shout(event):
    """Called for each message; what it returns is the answer."""
    return f"{event}!".upper()


def answer(connection):
    """The next message that is no sign of life."""
    while (message := connection.recv()) == '{"type":"ping"}':
        pass
    return message


def main():
    deployed, ok = shout.deploy(name="shout")
    assert ok, "the deployment was refused"
    address = deployed["invoke_url"].replace("http://", "ws://").replace("https://", "wss://")
    token = get_config_context().token
    try:
        connection = websocket.create_connection(
            address, header={"Authorization": f"Bearer {token}"}, timeout=120
        )
        for message in ("hello", "is anybody there"):
            connection.send(message)
            print(f"{message} -> {answer(connection)}")
        connection.close()
    finally:
        remove = ["deployment", "delete", deployed["deployment_id"], "--yes"]
        subprocess.run([sys.executable, "-m", "beta9", *remove], check=True)


if __name__ == "__main__":
    main()
