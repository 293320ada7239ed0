import math
import random

import pytest

from metal9.runner.msgpack import MAX_DEPTH, MessagePackError, pack, unpack

INTEGERS = [0, 1, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
INTEGERS += [-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63)]


def random_value(rng, depth=0):
    kind = rng.randrange(8 if depth < 5 else 6)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice(INTEGERS)
    if kind == 2:
        return rng.choice([1, -1]) * rng.getrandbits(rng.randrange(1, 63))
    if kind == 3:
        return rng.choice([0.0, -0.5, 1e300, math.inf, rng.random()])
    if kind == 4:
        length = rng.choice([0, 1, 31, 32, 255, 256, 70000 if depth == 0 else 300])
        return "".join(rng.choice("aé漢🙂\0\n") for _ in range(length))
    if kind == 5:
        return bytes(rng.getrandbits(8) for _ in range(rng.choice([0, 1, 255, 256, 1000])))
    if kind == 6:
        return [random_value(rng, depth + 1) for _ in range(rng.choice([0, 1, 15, 16, 20]))]
    return {"k%d" % i: random_value(rng, depth + 1) for i in range(rng.choice([0, 1, 15, 16]))}


def same(a, b):
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("seed", range(60))
def test_any_value_survives_a_round_trip(seed):
    value = random_value(random.Random(seed))
    assert same(unpack(pack(value)), value)


@pytest.mark.parametrize("value", INTEGERS)
def test_integers_take_the_shortest_form(value):
    data = pack(value)
    assert same(unpack(data), value)
    bits = value.bit_length() + (1 if value < 0 else 0)
    assert len(data) <= 1 + max(1, 2 ** math.ceil(math.log2(max(bits, 8) / 8)))


@pytest.mark.parametrize(
    "value,data",
    [
        (None, b"\xc0"),
        (False, b"\xc2"),
        (True, b"\xc3"),
        (7, b"\x07"),
        (-1, b"\xff"),
        (200, b"\xcc\xc8"),
        (-200, b"\xd1\xff\x38"),
        (1.5, b"\xcb\x3f\xf8\0\0\0\0\0\0"),
        ("abc", b"\xa3abc"),
        (b"abc", b"\xc4\x03abc"),
        ([1, 2], b"\x92\x01\x02"),
        ({"a": 1}, b"\x81\xa1a\x01"),
        ("x" * 40, b"\xd9\x28" + b"x" * 40),
        ([0] * 16, b"\xdc\x00\x10" + b"\0" * 16),
    ],
)
def test_bytes_are_those_of_the_specification(value, data):
    assert pack(value) == data
    assert same(unpack(data), value)


def test_single_precision_floats_are_read():
    assert unpack(b"\xca\x41\x20\x00\x00") == 10.0


def test_long_containers_use_wide_headers():
    assert unpack(pack([1] * 70000)) == [1] * 70000
    assert unpack(pack(b"x" * 70000)) == b"x" * 70000
    wide = {str(i): i for i in range(70000)}
    assert unpack(pack(wide)) == wide


@pytest.mark.parametrize(
    "data,words",
    [
        (b"", "cut short"),
        (b"\xc1", "0xc1"),
        (b"\xc7\x01\x05x", "0xc7"),
        (b"\xd4\x01x", "0xd4"),
        (b"\x01\x02", "after the value"),
        (b"\xa5ab", "cut short"),
        (b"\xa2\xff\xfe", "UTF-8"),
        (b"\xa3\xed\xa0\x80", "UTF-8"),
        (b"\xdd\xff\xff\xff\xff", "items claimed"),
        (b"\xdf\x7f\xff\xff\xff\x01", "items claimed"),
        (b"\xc6\xff\xff\xff\xff", "cut short"),
        (b"\x81\x01\x02", "key must be a string"),
        (b"\x82\xa1a\x01\xa1a\x02", "twice"),
        (b"\x91" * (MAX_DEPTH + 2) + b"\x01", "nested deeper"),
        (b"\xcf\x00", "cut short"),
    ],
)
def test_hostile_input_is_refused(data, words):
    with pytest.raises(MessagePackError, match=words):
        unpack(data)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_input_is_decoded_or_refused_but_never_crashes(seed):
    rng = random.Random(1000 + seed)
    data = bytearray(pack(random_value(rng, 1)))
    for _ in range(100):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            if broken:
                broken[rng.randrange(len(broken))] = rng.getrandbits(8)
        del broken[rng.randrange(len(broken) + 1) :]
        try:
            unpack(bytes(broken))
        except MessagePackError:
            pass


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, object(), {1: 2}, "\ud800", {"a": {1}}, 1j]
)
def test_values_outside_the_format_are_refused(value):
    with pytest.raises(MessagePackError):
        pack(value)


def test_values_that_contain_themselves_are_refused():
    value = []
    value.append(value)
    with pytest.raises(MessagePackError, match="nested"):
        pack(value)
