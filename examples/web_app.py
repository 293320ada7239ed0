"""A web application of several pages, with a stream that comes as it is made.

    python web_app.py
"""

import subprocess
import sys

import requests
from beta9 import asgi
from beta9.config import get_config_context


@asgi(cpu=0.25, concurrent_requests=16)
def application(context):
    """Runs once in each container, and returns any ASGI application."""
    import asyncio

    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.get("/square/{number}")
    async def square(number: int):
        return {"square": number * number}

    @app.get("/countdown")
    async def countdown(seconds: int = 3):
        async def lines():
            for left in range(seconds, 0, -1):
                yield f"{left} …\n"
                await asyncio.sleep(0.2)
            yield "lift-off\n"

        return StreamingResponse(lines(), media_type="text/plain")

    return app


def main():
    deployed, ok = application.deploy(name="web-app")
    assert ok, "the deployment was refused"
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {get_config_context().token}"
    try:
        print(session.get(deployed["invoke_url"] + "/square/12", timeout=120).json())
        with session.get(deployed["invoke_url"] + "/countdown", stream=True, timeout=60) as answer:
            for line in answer.iter_lines(decode_unicode=True):
                print(line)
    finally:
        remove = ["deployment", "delete", deployed["deployment_id"], "--yes"]
        subprocess.run([sys.executable, "-m", "beta9", *remove], check=True)


if __name__ == "__main__":
    main()
