"""A register as people read it: who was looked at and what came of it, and no secret."""

import json
from pathlib import Path

from registers import KIT, SHA, begin, look

from uapfp_dist.verification.querying.record_chain import record_of
from uapfp_dist.verification.register.lines import register_lines
from uapfp_dist.verification.register.register import Register


def test_no_secret_and_no_control_character_gets_out(register: Register, path: Path) -> None:
    hostile = "evil\x1b[2J\r\nforged line\u202e\x85\u2028"
    address = "https://user:SECRET@shop.example/x?key=SECRET"
    test = register.reserve(begin(hostile, address), "shop", 0).test
    register.decide(test, 0.5, "hard", SHA, "in\x1bconclusive")
    data = path.read_bytes()
    assert data.isascii()
    assert data.count(b"\n") == 3
    assert b"SECRET" not in data
    assert all(32 <= byte < 127 or byte == 10 for byte in data)
    again = Register.open(path, KIT)
    assert again.looks[0].name == hostile
    assert all(line.isprintable() for line in register_lines(again))
    path.write_bytes(data + b"\x1b[2Jtorn")
    assert all(line.isprintable() for line in register_lines(Register.open(path, KIT)))


def test_lines_say_when_who_which_set_and_what_came_of_it(register: Register) -> None:
    look(register, "thief", "shop", p=0.01)
    look(register, "other", "bank")
    first, thief, other = register_lines(register)
    assert first.startswith("register of kit aaaaaaaaaaaaaaaa...: suspects tested 2, operators 2, head ")
    assert thief == (
        "2030-01-01T00:00:01+00:00  thief at https://shop.example/models, operator shop, set 0: p 0.01 (corrected for "
        "2: 0.02), hard, inconclusive, transcript 55555555..."
    )
    assert other.endswith("other at https://shop.example/models, operator bank, set 0: no result, counts as p = 1")


def test_a_line_of_the_file_is_readable(register: Register, path: Path) -> None:
    look(register, "thief", "shop", p=0.01)
    records = [json.loads(record_of(line)) for line in path.read_bytes().splitlines(keepends=True)]
    assert [record["kind"] for record in records] == ["register", "reserved", "decided"]
    assert records[0] == {"kind": "register", "at": "2030-01-01T00:00:00+00:00", "kit": KIT, "version": 1}
    assert records[1]["operator"] == "shop"
    assert records[2]["p_value"] == 0.01
