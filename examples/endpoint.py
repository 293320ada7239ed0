"""A function behind HTTP: deployed, asked, and taken down again.

    python endpoint.py

The same by hand: `beta9 deploy endpoint.py:statistics --name statistics`, then

    curl -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
        -d '{"numbers": [1, 2, 3]}' http://127.0.0.1:1994/endpoint/statistics
"""

import subprocess
import sys

import requests
from beta9 import QueueDepthAutoscaler, endpoint
from beta9.config import get_config_context


@endpoint(cpu=0.25, autoscaler=QueueDepthAutoscaler(max_containers=2))
def statistics(numbers):
    """Arguments come by name from the request's JSON, and what is returned goes back as JSON."""
    return {"count": len(numbers), "mean": sum(numbers) / len(numbers)}


def main():
    deployed, ok = statistics.deploy(name="statistics")
    assert ok, "the deployment was refused"
    headers = {"Authorization": f"Bearer {get_config_context().token}"}
    try:
        for numbers in ([1, 2, 3], list(range(100))):
            answer = requests.post(
                deployed["invoke_url"], json={"numbers": numbers}, headers=headers, timeout=120
            )
            print(f"{answer.status_code} {answer.json()}  [task {answer.headers['X-Task-Id']}]")
        stranger = requests.post(deployed["invoke_url"], json={}, timeout=30)
        print(f"without a token: {stranger.status_code}")
    finally:
        remove = ["deployment", "delete", deployed["deployment_id"], "--yes"]
        subprocess.run([sys.executable, "-m", "beta9", *remove], check=True)


if __name__ == "__main__":
    main()
