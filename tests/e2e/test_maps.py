"""Maps: values that programs and their jobs share."""

import cloudpickle
import grpc
import pytest
from beta9.clients.map import (
    MapCountRequest,
    MapDeleteRequest,
    MapGetRequest,
    MapKeysRequest,
    MapServiceStub,
    MapSetRequest,
)

from harness import SplitFleet, eventually

DICTIONARY = """
import json
from beta9 import Map, function

@function()
def inside(name):
    m = Map(name=name)
    seen = m["from outside"]
    m["from inside"] = {"nested": [1, (2, None)]}
    del m["to be deleted"]
    return [seen, len(m), list(m)]

if __name__ == "__main__":
    m = Map(name="shared map")
    m["from outside"] = ("tuple", b"bytes")
    m["to be deleted"] = 1
    seen, count, keys = inside.remote("shared map")
    try:
        del m["nobody"]
        missing = "deleted"
    except KeyError as error:
        missing = error.args[0]
    print(json.dumps({
        "seen": repr(seen), "count": count, "keys": keys, "missing": missing,
        "came": repr(m["from inside"]), "none": m.get("nobody"),
        "items": sorted(key for key, _ in m.items()),
    }))
"""


def test_a_map_is_a_dictionary_for_programs_and_jobs(app):
    told = app(DICTIONARY).json
    assert told == {
        "seen": repr(("tuple", b"bytes")),
        "count": 2,
        "keys": ["from outside", "from inside"],
        "missing": "nobody",
        "came": repr({"nested": [1, (2, None)]}),
        "none": None,
        "items": ["from inside", "from outside"],
    }


REFUSED = """
import json
from beta9 import Map

def refusal(action):
    try:
        action()
    except ValueError as error:
        return str(error)
    return "accepted"

if __name__ == "__main__":
    m = Map(name="limits")
    print(json.dumps([
        refusal(lambda: m.set("k", b"x" * (1 << 20))),
        refusal(lambda: m.set("k", b"x" * (2 << 20))),
        refusal(lambda: m.set("k" * 2000, 1)),
        refusal(lambda: m.set("k", 1, ttl=0)),
        refusal(lambda: m.set("k", 1, ttl=8 * 24 * 3600)),
        refusal(lambda: Map(name="").set("k", 1)),
    ]))
"""


def test_what_is_too_large_is_refused_in_words(app):
    whole, large, key, never, long, name = app(REFUSED).json
    assert whole == "accepted"
    assert "it may be 1 MiB" in large and "hint: " in large
    assert "at most 1024 bytes" in key
    assert "7 days" in never and "7 days" in long
    assert "map name" in name


def test_a_key_is_gone_when_its_time_is_over(api):
    maps = MapServiceStub(api.channel)
    assert maps.map_set(MapSetRequest(name="ttl", key="short", value=b"1", ttl=1)).ok
    assert maps.map_set(MapSetRequest(name="ttl", key="long", value=b"1", ttl=600)).ok
    assert "long" in maps.map_keys(MapKeysRequest(name="ttl")).keys
    eventually(
        lambda: maps.map_get(MapGetRequest(name="ttl", key="short")).ok,
        lambda there: not there,
        what="the key is gone",
    )
    assert maps.map_keys(MapKeysRequest(name="ttl")).keys == ["long"]
    assert maps.map_count(MapCountRequest(name="ttl")).count == 1
    assert not maps.map_delete(MapDeleteRequest(name="ttl", key="short")).ok


def test_what_was_set_is_there_after_the_gateway_was_killed(split):
    maps = MapServiceStub(split.api.channel)
    for number in range(50):
        value = cloudpickle.dumps(number)
        assert maps.map_set(MapSetRequest(name="kept", key=str(number), value=value, ttl=600)).ok
    split.restart_gateway()
    maps = MapServiceStub(split.api.channel)
    assert maps.map_keys(MapKeysRequest(name="kept")).keys == [str(n) for n in range(50)]
    assert cloudpickle.loads(maps.map_get(MapGetRequest(name="kept", key="49")).value) == 49


def test_another_workspace_sees_nothing_of_a_map(split, stranger):
    ours, theirs = MapServiceStub(split.api.channel), MapServiceStub(stranger.channel)
    assert ours.map_set(MapSetRequest(name="own", key="k", value=b"ours", ttl=600)).ok
    assert not theirs.map_get(MapGetRequest(name="own", key="k")).ok
    assert not theirs.map_delete(MapDeleteRequest(name="own", key="k")).ok
    assert theirs.map_keys(MapKeysRequest(name="own")).keys == []
    assert theirs.map_set(MapSetRequest(name="own", key="k", value=b"theirs", ttl=600)).ok
    assert ours.map_get(MapGetRequest(name="own", key="k")).value == b"ours"


def test_a_workspace_is_refused_more_than_its_quota(fleet, tmp_path):
    small = SplitFleet(tmp_path, workers=0, METAL9_GATEWAY_MAX_VALUES_PER_WORKSPACE="3")
    try:
        small.start()
        maps = MapServiceStub(small.api.channel)
        for number in range(3):
            assert maps.map_set(MapSetRequest(name="m", key=str(number), value=b"1", ttl=60)).ok
        refused = maps.map_set(MapSetRequest(name="m", key="more", value=b"1", ttl=60))
        assert not refused.ok and "max_values_per_workspace" in refused.err_msg
        assert maps.map_set(MapSetRequest(name="m", key="0", value=b"again", ttl=60)).ok
        with pytest.raises(grpc.RpcError) as error:
            maps.map_get(MapGetRequest(name="a\nb", key="k"))
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    finally:
        small.stop()
