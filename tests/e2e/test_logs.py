"""`beta9 logs` and the REST routes behind it."""

import json
import sys
import uuid

import pytest
import requests

from harness import eventually

SOURCE = {
    "app.py": """
    import sys

    def speak(name, lines=3):
        for number in range(lines):
            print(f"{name} says {number}")
        print(f"{name} whispers", file=sys.stderr)

    def stages(first, second):
        print("stage one", flush=True)
        open(first).read()
        print("stage two", flush=True)
        open(second).read()
    """
}


def logs(api, kind, identity, **parameters):
    path = f"/api/v1/logs/{api.workspace}"
    parameters = {"object_type": f"BETA9_{kind}", "object_id": identity, **parameters}
    return api.get(path, params=parameters)


def messages(answer):
    assert answer.status_code == 200, answer.text
    return [record["message"] for record in answer.json()["logs"]]


@pytest.fixture
def spoken(api):
    """A stub that was called twice, its calls' tasks, and a word that only they say."""
    word = uuid.uuid4().hex
    stub = api.stub(SOURCE, "app:speak", force_create=True)
    tasks = []
    for name in (f"Ada-{word}", f"Bob-{word}"):
        call = api.call(stub, name).finish()
        api.wait(call.task_id)
        tasks.append(call.task_id)
    return stub, tasks, word


def test_lines_of_a_task_have_their_time_place_and_source(api, spoken):
    stub, [task, _], word = spoken
    answer = logs(api, "TASK", task)
    assert messages(answer)[:3] == [f"Ada-{word} says {number}\n" for number in range(3)]
    for record in answer.json()["logs"]:
        assert (record["task_id"], record["stub_id"]) == (task, stub)
        assert record["container_id"] and record["timestamp"].endswith("Z")
    streams = {record["message"]: record["stream"] for record in answer.json()["logs"]}
    assert streams[f"Ada-{word} whispers\n"] == "stderr"
    assert streams[f"Ada-{word} says 0\n"] == "stdout"


def test_lines_of_a_stub_are_those_of_its_tasks_in_order(api, spoken):
    stub, _, word = spoken
    told = [line for line in messages(logs(api, "STUB", stub)) if "says" in line]
    assert told == [f"{who}-{word} says {n}\n" for who in ("Ada", "Bob") for n in range(3)]


def test_lines_can_be_searched_and_cut_by_time(api, spoken):
    stub, [_, second], word = spoken
    assert messages(logs(api, "STUB", stub, query=f"ADA-{word} SAYS 1")) == [f"Ada-{word} says 1\n"]
    begun = api.task(second)["created_at"]
    later = messages(logs(api, "STUB", stub, start_time=begun))
    assert later and all("Ada" not in line for line in later)
    earlier = messages(logs(api, "STUB", stub, end_time=begun))
    assert earlier and all("Bob" not in line for line in earlier)


def test_lines_come_in_pages_from_the_newest_on(api, spoken):
    stub, _, _ = spoken
    whole = messages(logs(api, "STUB", stub))
    pages, page = [], 0
    while True:
        answer = logs(api, "STUB", stub, limit=3, page=page)
        pages = messages(answer) + pages
        cursor = answer.json()["next_cursor"]
        if not cursor:
            break
        page = int(cursor)
    assert pages == whole and page == (len(whole) - 1) // 3


def test_what_is_not_there_or_makes_no_sense_is_refused(api, spoken):
    stub, _, _ = spoken
    assert logs(api, "DEPLOYMENT", str(uuid.uuid4())).status_code == 404
    assert logs(api, "TASK", "nonsense").status_code == 404
    assert logs(api, "MOOD", stub).status_code == 400
    assert logs(api, "STUB", stub, start_time="yesterday").status_code == 400
    assert logs(api, "STUB", stub, page=10**9).status_code == 400
    other = f"/api/v1/logs/{uuid.uuid4()}"
    parameters = {"object_type": "BETA9_STUB", "object_id": stub}
    assert api.get(other, params=parameters).status_code == 404
    assert messages(logs(api, "STUB", str(uuid.uuid4()))) == []


def test_the_sdks_command_reads_and_searches(fleet, api, spoken):
    stub, [task, _], word = spoken
    shown = fleet.beta9("logs", "--task-id", task).stdout
    assert f"Ada-{word} says 2" in shown and f"Ada-{word} whispers" in shown
    shown = fleet.beta9("logs", "--stub-id", stub, "--source", "stderr").stdout.splitlines()
    assert shown == [f"Ada-{word} whispers", f"Bob-{word} whispers"]
    shown = fleet.beta9("logs", "--stub-id", stub, "--tail", "2", "--json").stdout.splitlines()
    assert len(shown) == 2 and all(json.loads(line)["message"] for line in shown)
    shown = fleet.beta9("logs", "--stub-id", stub, "--since", "1h", "--search", "says 0").stdout
    assert len(shown.splitlines()) == 2


def test_the_sdks_command_follows_a_deployment(app, api):
    name = f"speaker-{uuid.uuid4().hex[:8]}"
    directory = app.directory()
    (directory / "app.py").write_text(
        "from beta9 import function\n\n@function()\ndef speak(word):\n    print('said', word)\n"
    )

    def beta9(*arguments):
        return app.launch([sys.executable, "-m", "beta9", *arguments], directory)

    assert beta9("deploy", "app.py:speak", "--name", name).finish().code == 0
    headers = {"Authorization": f"Bearer {api.token}"}

    def say(word):
        url = f"{api.http}/function/{name}"
        answer = requests.post(url, json={"word": word}, headers=headers, timeout=30)
        assert api.wait(answer.json()["task_id"]) == "COMPLETE"

    say("before")
    following = beta9("logs", name, "--follow")
    following.wait_for("said before")
    for word in ("one", "two"):
        say(word)
        following.wait_for(f"said {word}")
    assert following.stdout.count("said ") == 3, following.stdout
    following.interrupt()
    assert following.finish().code == 130


def test_lines_are_streamed_while_the_call_runs(api, app):
    first, second = app.gate(), app.gate()
    stub = api.stub(SOURCE, "app:stages", force_create=True)
    parameters = {"object_type": "BETA9_STUB", "object_id": stub}
    headers = {"Authorization": f"Bearer {api.token}"}
    url = f"{api.http}/api/v1/logs/{api.workspace}/stream"
    with requests.get(url, params=parameters, headers=headers, stream=True, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines(decode_unicode=True)

        def next_record():
            identity = ""
            for line in lines:
                identity = line[3:].strip() if line.startswith("id:") else identity
                if line.startswith("data:"):
                    return identity, json.loads(line[5:])["message"]

        call = api.call(stub, str(first), str(second), headless=True)
        identity, message = next_record()
        assert message == "stage one\n"
        assert api.status(call.task_id) == "RUNNING"
        first.open()
        assert next_record()[1] == "stage two\n"
    # Who comes back with the id of the last line gets what came after it.
    headers["Last-Event-ID"] = identity
    with requests.get(url, params=parameters, headers=headers, stream=True, timeout=30) as answer:
        lines = answer.iter_lines(decode_unicode=True)
        assert next_record()[1] == "stage two\n"
    second.open()
    eventually(lambda: api.status(call.task_id) == "COMPLETE", what="the call ends")
