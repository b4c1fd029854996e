"""Collectives read from an optimised program: a hand-written one whose bytes are counted by hand."""

import pytest

from benchmarks import collectives

HLO = """HloModule jit_f, num_partitions=8

%region_0.0 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%body (arg: (s32[], f32[4])) -> (s32[], f32[4]) {
  %arg = (s32[], f32[4]{0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %row = f32[4]{0} get-tuple-element(%arg), index=1
  %moved = f32[4]{0} collective-permute(%row), channel_id=3, source_target_pairs={{0,1},{1,0}}
  ROOT %next = (s32[], f32[4]{0}) tuple(%i, %moved)
}

ENTRY %main (x: f32[1000], y: bf16[10,3], z: f32[4]) -> f32[] {
  %x = f32[1000]{0} parameter(0)
  %y = bf16[10,3]{1,0} parameter(1)
  %z = f32[4]{0} parameter(2)
  %all-reduce-start = (f32[1000]{0}, bf16[10,3]{1,0}) all-reduce-start(%x, %y), GROUPS, to_apply=%region_0.0
  %all-reduce-done = (f32[1000]{0}, bf16[10,3]{1,0}) all-reduce-done(%all-reduce-start)
  %all-gather = bf16[40,3]{1,0} all-gather(%y), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
  %both = (s32[], f32[4]{0}) tuple(%i, %z)
  %looped = (s32[], f32[4]{0}) while(%both), condition=%cond, body=%body, backend_config={TRIPS}
  ROOT %reduce-scatter = f32[125]{0} reduce-scatter(%x), channel_id=4, replica_groups={}, to_apply=%region_0.0
}
"""
TRIPS = '"known_trip_count":{"n":"5"}'


def read(groups: str = "replica_groups=[4,2]<=[8]", trips: str = TRIPS):
    return collectives.collectives(HLO.replace("GROUPS", groups).replace("TRIPS", trips), 8)


def test_payload_and_what_is_sent():
    reduced, gathered, moved, scattered = read()
    assert (reduced.kind, reduced.payload, reduced.devices) == ("all-reduce", 4 * 1000 + 2 * 30, 2)
    assert reduced.sent() == 2 * (1 / 2) * 4060 and reduced.sent(64) == 2 * (63 / 64) * 4060
    assert (gathered.kind, gathered.payload, gathered.devices) == ("all-gather", 2 * 120, 4)
    assert gathered.sent() == (3 / 4) * 240  # it has a quarter, and sends on what comes, but for the last
    assert (moved.kind, moved.payload, moved.times) == ("collective-permute", 16, 5)
    assert moved.sent() == moved.sent(64) == 5 * 16
    assert (scattered.kind, scattered.payload, scattered.devices) == ("reduce-scatter", 4000, 8)
    assert scattered.sent() == (7 / 8) * 4000


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", 2), ("replica_groups={}", 8),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", 4),
        ("replica_groups=mesh['data'=2,'space'=4] {'space'}", 4), ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", 8),
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b':(2)2}", 4),
    ],
)  # fmt: skip
def test_groups_in_all_forms(groups, size):
    assert read(groups)[0].devices == size


def test_a_loop_of_unknown_length_is_an_error():
    with pytest.raises(ValueError, match="loop %looped of unknown length"):
        read(trips="")


def test_times_are_bytes_by_bandwidth():
    found = [
        collectives.Collective("all-reduce", 450_000_000, 8),
        collectives.Collective("all-gather", 9_000_000, 8, 2),
    ]
    numbers = collectives.summarize(found, step=0.1, many=True)
    assert numbers["payload_mb"] == {"all-reduce": 450, "all-gather": 18} and numbers["count"]["all-gather"] == 2
    sent = 7 / 8 * (2 * 450 + 18)
    assert numbers["sent_mb"] == pytest.approx(sent)
    assert numbers["milliseconds"] == pytest.approx(sent / 450)  # 450 GB/s are 450 MB a millisecond
    assert numbers["share"] == pytest.approx(sent / 450 / 100)
    assert numbers["milliseconds_64"] == pytest.approx(63 / 64 * (2 * 450 + 18) / 50)
    assert "sent_mb_64" not in collectives.summarize(found, step=0.1, many=False)


def test_an_axis_that_the_mesh_does_not_have_is_refused(capsys):
    assert collectives.main(["collectives", "--axes=data,tensor"]) == 2
    assert "any of data, fsdp, space" in capsys.readouterr().err


def test_the_table_names_every_axis_once():
    found = [collectives.Collective("all-reduce", 4000, 8)]
    axes = {axis: collectives.summarize(found, 0.1, axis != "space") for axis in ("data", "fsdp", "space")}
    rows = collectives.show({"axes": axes, "devices": 8}).splitlines()
    assert len(rows) == 5 and len({row.count("|") for row in rows}) == 1
    assert "1 all-reduce: 0.004 MB" in rows[2] and "within a machine" in rows[4]
