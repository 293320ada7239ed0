"""A function that the clock calls.

    python every_minute.py
"""

import subprocess
import sys

import requests
from beta9 import Map, schedule
from beta9.config import get_config_context


@schedule(when="*/1 * * * *", cpu=0.1)
def take_stock():
    """At the beginning of each minute, in UTC. Called by hand it does the same."""
    seen = Map(name="stock")
    count = (seen["count"] or 0) + 1
    seen["count"] = count
    print(f"counted for the {count}. time")
    return count


def main():
    deployed, ok = take_stock.deploy(name="take-stock")
    assert ok, "the deployment was refused"
    context = get_config_context()
    headers = {"Authorization": f"Bearer {context.token}"}
    print("the clock calls it at each full minute; now it is called by hand:")
    address = f"{context.api_url}/schedule/take-stock"
    answer = requests.post(address, json={}, headers=headers, timeout=60)
    print(f"task {answer.json()['task_id']}")
    # Without this it would go on for ever, as it should.
    remove = ["deployment", "delete", deployed["deployment_id"], "--yes"]
    subprocess.run([sys.executable, "-m", "beta9", *remove], check=True)


if __name__ == "__main__":
    main()
