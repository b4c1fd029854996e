"""Reads TensorBoard's event files by their format: length, its CRC, the event, its CRC."""

import pathlib
import struct

from tensorboardX.proto import event_pb2, summary_pb2


def values(folder: pathlib.Path) -> list[tuple[int, summary_pb2.Summary.Value]]:
    """(step, value) of everything in the event files of a folder, in the order of their names."""
    found = []
    for path in sorted(folder.glob("events.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
            found += [(event.step, value) for value in event.summary.value]
            at += 16 + length
    return found


def scalars(folder: pathlib.Path) -> list[tuple[int, str, float]]:
    """(step, name, value) of every scalar."""
    return [(step, of.tag, of.simple_value) for step, of in values(folder) if of.WhichOneof("value") == "simple_value"]
