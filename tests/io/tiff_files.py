"""A TIFF writer that shares no code with the reader: what is asked for is written, whether it makes sense or not."""

import struct

_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}
_SHORT, _LONG, _LONG8 = 3, 4, 16
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
OFFSETS, ORIENTATION, SAMPLES, ROWS, COUNTS, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, COLOUR_MAP, EXTRA, FORMAT, SUBFILE = 317, 320, 338, 339, 254


def tiff(*pages: tuple[dict[int, int | list[int]], list[bytes]], order: str = "<", big: bool = False) -> bytes:
    """The bytes of a file of `pages`, each its tags and its strips. Offsets and byte counts of the strips are added
    unless `tags` has them. `order`: '<' or '>'."""
    word, size = ("Q", 8) if big else ("I", 4)
    head = {"<": b"II", ">": b"MM"}[order]
    head += struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    out = bytearray(head + struct.pack(order + word, len(head) + size))
    for number, (tags, strips) in enumerate(pages):
        entries = {key: value if isinstance(value, list) else [value] for key, value in tags.items()}
        entries.setdefault(OFFSETS, [0] * len(strips))
        entries.setdefault(COUNTS, [len(strip) for strip in strips])
        directory = (8 if big else 2) + len(entries) * (20 if big else 12) + size
        spare = len(out) + directory
        sizes = {key: struct.calcsize("<" + _FORMATS[_kind(key, big)]) * len(value) for key, value in entries.items()}
        start = spare + sum(length for length in sizes.values() if length > size)
        if not any(entries[OFFSETS]):
            entries[OFFSETS] = [start + sum(len(strip) for strip in strips[:place]) for place in range(len(strips))]
        records, values = bytearray(struct.pack(order + ("Q" if big else "H"), len(entries))), bytearray()
        for key in sorted(entries):
            kind = _kind(key, big)
            raw = struct.pack(f"{order}{len(entries[key])}{_FORMATS[kind]}", *entries[key])
            records += struct.pack(order + "HH" + word, key, kind, len(entries[key]))
            records += raw.ljust(size, b"\0") if len(raw) <= size else struct.pack(order + word, spare + len(values))
            values += raw if len(raw) > size else b""
        body = values + b"".join(strips)
        following = len(out) + directory + len(body) if number + 1 < len(pages) else 0
        out += records + struct.pack(order + word, following) + body
    return bytes(out)


def _kind(key: int, big: bool) -> int:
    if key in (OFFSETS, COUNTS):
        return _LONG8 if big else _LONG
    return _LONG if key in (WIDTH, HEIGHT, ROWS, SUBFILE) else _SHORT


def image(strips: list[bytes], width: int, height: int, bits: int | list[int] = 8, **more: int | list[int]):
    """One page of grey strips of equal heights, black as zero; `more` overrides tags by their names here."""
    channels = len(bits) if isinstance(bits, list) else 1
    planes = channels if more.get("PLANAR") == 2 else 1
    tags = {
        WIDTH: width, HEIGHT: height, BITS: bits, COMPRESSION: 1, PHOTOMETRIC: 1, SAMPLES: channels,
        ROWS: -(-height // (len(strips) // planes)),
    }  # fmt: skip
    return tags | {globals()[key]: value for key, value in more.items()}, strips
