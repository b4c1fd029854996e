"""Makes damaged and odd files of valid ones: pure functions of bytes, and of a random generator that is handed in."""

import dataclasses
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pydicom

Mutation = Callable[[bytes, random.Random], bytes]
"""Returns a file like the one it is given; raises where that has nothing to change."""

ODD_NUMBERS = (
    "NaN", "Infinity", "-Infinity", "1e400", "-1", "0", "-0.0", "0.5", "1e-320", "3e38", "255", "256", "65536",
    "2147483647", "2147483648", "-2147483649", "9223372036854775808", "1" + 30 * "0", "9" * 5000,
    "true", "null", '""', '"7"', "[]", "{}",
)  # fmt: skip
"""In place of a number in text. The longest is longer than Python reads an integer."""

ODD_TEXTS = (
    "", " ", "\0", "\x1b[2J", "\ud800", "é\u202e", "=1+1", "../../etc/passwd", "/dev/zero", "nan", "null", "1,5",
    "a" * 5000, "%s%n{0}", "\r\n", '"', ",", ";",
)  # fmt: skip

ODD_VALUES = (
    float("nan"), float("inf"), -float("inf"), 1e308, -1, 0, 0.5, 2**31, 2**63, 10**30, -(10**18), True, False, None,
    [], {}, [[]], [None], "7", {"a": 1},
)  # fmt: skip
"""In place of a value of JSON."""

ODD_DECIMALS = ("0", "-1", "1e38", "-5e-5", "65536", "70000\\1", "1\\2\\3", "NaN", "inf", "", "x")
ODD_CODES = ("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL_422", "INVERSE", "B", "R", "", "é")
"""In place of decimal strings and of code strings of DICOM."""

_NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A file to try: the mutations that made it, which of the seeds it was made of, and its bytes."""

    kind: str
    seed: int
    content: bytes


def mutant(seeds: Sequence[bytes], mutations: Sequence[Mutation], rng: random.Random) -> Mutant:
    """Returns one of the seeds after one to three of the mutations; its bytes differ from those of the seed."""
    number = rng.randrange(len(seeds))
    content, names = seeds[number], []
    for _ in range(rng.choices((1, 2, 3), (8, 1, 1))[0]):
        mutation = rng.choice([*mutations, splice(seeds)] if len(seeds) > 1 else mutations)
        try:
            content = mutation(content, rng)
        except Exception:  # there is nothing to change, or an earlier mutation left nothing that can be parsed
            continue
        names.append(mutation.__name__)
    if content == seeds[number]:
        content, names = flip_bit(content, rng), ["flip_bit"]
    return Mutant("+".join(names), number, content)


def flip_bit(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return _replaced(content, at, 1, bytes([content[at] ^ (1 << rng.randrange(8))]))


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """One to four bytes become any others, the extremes oftener."""
    at, count = rng.randrange(len(content)), rng.randint(1, 4)
    return _replaced(
        content, at, count, bytes(rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256))) for _ in range(count))
    )


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def delete_run(content: bytes, rng: random.Random) -> bytes:
    at, count = _run(content, rng)
    return _replaced(content, at, count, b"")


def insert_run(content: bytes, rng: random.Random) -> bytes:
    return _replaced(content, rng.randrange(len(content)), 0, rng.randbytes(_run(content, rng)[1]))


def repeat_run(content: bytes, rng: random.Random) -> bytes:
    at, count = _run(content, rng)
    return _replaced(content, at, 0, content[at : at + count] * rng.choice((1, 2, 20)))


def zero_run(content: bytes, rng: random.Random) -> bytes:
    at, count = _run(content, rng)
    return _replaced(content, at, count, bytes(count))


def swap_runs(content: bytes, rng: random.Random) -> bytes:
    at, count = _run(content, rng)
    to = rng.randrange(len(content))
    low, high = sorted((at, to))
    count = min(count, high - low, len(content) - high)
    one, other = content[low : low + count], content[high : high + count]
    return _replaced(_replaced(content, low, count, other), high, count, one)


def splice(seeds: Sequence[bytes]) -> Mutation:
    """The beginning of the file, and the end of another seed."""

    def splice(content: bytes, rng: random.Random) -> bytes:
        other = rng.choice(seeds)
        at = rng.randrange(min(len(content), len(other)))
        return content[:at] + other[at + rng.choice((0, 0, 1, -1)) :]

    return splice


BYTES: tuple[Mutation, ...] = (
    flip_bit, change_bytes, truncate, delete_run, insert_run, repeat_run, zero_run, swap_runs,
)  # fmt: skip


def replace_number(content: bytes, rng: random.Random) -> bytes:
    """A number in text becomes an odd one."""
    found = rng.choice(list(_NUMBER.finditer(content)) or [re.match(b"", content)])
    return _replaced(content, found.start(), len(found[0]), rng.choice(ODD_NUMBERS).encode())


def replace_cell(content: bytes, rng: random.Random) -> bytes:
    """What stands between commas becomes an odd text."""
    cells = list(re.finditer(rb"[^,\n]+", content))
    found = rng.choice(cells)
    return _replaced(content, found.start(), len(found[0]), rng.choice(ODD_TEXTS).encode("utf-8", "surrogatepass"))


def drop_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return b"".join(lines)


def change_json(content: bytes, rng: random.Random) -> bytes:
    """Somewhere in a JSON file, or in a line of JSON lines, a value becomes an odd one, goes, or comes twice."""
    text = content.decode()
    try:
        return _dump(_changed(json.loads(text), rng))
    except json.JSONDecodeError:
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = _dump(_changed(json.loads(lines[at]), rng)).decode("utf-8", "surrogatepass")
        return "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")


def nest_json(content: bytes, rng: random.Random) -> bytes:
    """A number becomes a list in a list, as deep as no file of people is."""
    found = rng.choice(list(_NUMBER.finditer(content)) or [re.match(b"", content)])
    depth = rng.choice((50, 2000, 200_000))
    return _replaced(content, found.start(), len(found[0]), b"[" * depth + found[0] + b"]" * depth)


def repeat_key(content: bytes, rng: random.Random) -> bytes:
    """A key of JSON comes twice, with different values."""
    found = rng.choice(list(re.finditer(rb'"[^"]+": ?-?[\d.]+', content)) or [re.match(b"", content)])
    if not found[0]:
        raise ValueError("there is no key with a number")
    return _replaced(content, found.start(), 0, found[0].split(b":")[0] + b": 3, ")


def change_chunk(content: bytes, rng: random.Random) -> bytes:
    """A PNG whose chunk is changed and has the checksum of what it is now; of IDAT inside its compression or out."""
    chunks = png_chunks(content)
    at = rng.randrange(len(chunks))
    name, data = chunks[at]
    if name == b"IDAT" and rng.random() < 0.5:
        data = zlib.compress(rng.choice(BYTES)(zlib.decompress(data), rng))
    elif data:
        data = rng.choice((flip_bit, change_bytes, truncate, zero_run))(data, rng)
    chunks[at] = rng.choice((name, name, name, b"tRNS", b"PLTE", b"IDAT", b"eXIf")), data
    if rng.random() < 0.1:
        chunks.insert(at, chunks[at])
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return content[:8] + b"".join(parts)


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Names and data of a PNG's chunks, to its end; ValueError where a length or a checksum is wrong."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("no PNG")
    chunks, at = [], 8
    while not chunks or chunks[-1][0] != b"IEND":
        head, data = content[at : at + 8], content[at + 8 :]
        if len(head) < 8:
            raise ValueError("it ends before its end")
        (size,) = struct.unpack(">I", head[:4])
        if data[size : size + 4] != struct.pack(">I", zlib.crc32(head[4:] + data[:size])):
            raise ValueError(f"the checksum of {head[4:]} is wrong")
        chunks.append((head[4:], data[:size]))
        at += 12 + size
    return chunks


def change_tiff_tag(content: bytes, rng: random.Random) -> bytes:
    """An entry of a little-endian TIFF's first directory gets another tag, type, count or value."""
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    entry = bytearray(content[directory + 2 + 12 * rng.randrange(count) :][:12])
    at = len(content[: content.index(bytes(entry))])
    field, size = rng.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 4), (8, 4)))
    odd = rng.choice((0, 1, 2, 3, 5, 7, 8, 9, 16, 32, 64, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, rng.randrange(1 << 16)))
    entry[field : field + size] = (odd & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return _replaced(content, at, 12, bytes(entry))


def change_element(content: bytes, rng: random.Random) -> bytes:
    """A DICOM element goes, is empty, or has an odd value of its kind; or the file states another encoding."""
    try:
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            _change(dataset, rng)
            out = io.BytesIO()
            pydicom.dcmwrite(out, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
            return out.getvalue()
    except Exception as error:  # pydicom neither reads nor writes everything that other programs write
        raise ValueError("this cannot be changed") from error


def _change(dataset: pydicom.Dataset, rng: random.Random) -> None:
    if rng.random() < 0.1:
        dataset.file_meta.TransferSyntaxUID = rng.choice(list(pydicom.uid.AllTransferSyntaxes))
        return
    element = rng.choice([element for element in dataset if element.VR not in ("SQ", "PN")])
    what = rng.random()
    if what < 0.2:
        del dataset[element.tag]
    elif what < 0.4:
        element.value = None
    elif element.VR in ("US", "SS"):
        low, high = (0, 65535) if element.VR == "US" else (-32768, 32767)
        element.value = rng.choice((0, 1, 2, 3, 7, 8, 12, 16, 32, low, high, rng.randint(low, high)))
    elif element.VR in ("DS", "IS"):
        element.VR, element.value = "LO", rng.choice(ODD_DECIMALS)
    elif element.VR in ("OB", "OW"):
        element.value = rng.choice(BYTES)(element.value, rng)
    elif element.VR == "CS":
        element.value = rng.choice(ODD_CODES)
    else:
        element.value = rng.choice(ODD_TEXTS)


def change_member(mutations: Sequence[Mutation]) -> Mutation:
    """A file in a zip file is changed by one of the mutations, and packed again with the checksum of what it is now."""

    def change_member(content: bytes, rng: random.Random) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
        except Exception as error:
            raise ValueError("no zip file") from error
        name = rng.choice([name for name, data in members.items() if data])
        members[name] = rng.choice(mutations)(members[name], rng)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for of, data in members.items():
                archive.writestr(zipfile.ZipInfo(of), data)
        return out.getvalue()

    return change_member


def change_markup(content: bytes, rng: random.Random) -> bytes:
    """A text or an attribute of XML becomes an odd one."""
    found = rng.choice(list(re.finditer(rb'(?<=>)[^<>]+(?=<)|(?<=")[^"<>]+(?=")', content)) or [re.match(b"", content)])
    odd = rng.choice((*ODD_TEXTS, *ODD_NUMBERS)).encode("utf-8", "surrogatepass")
    return _replaced(content, found.start(), len(found[0]), odd.replace(b"<", b"").replace(b"&", b""))


def _run(content: bytes, rng: random.Random) -> tuple[int, int]:
    """Where a run of bytes begins and how many they are, short ones oftener."""
    at = rng.randrange(len(content))
    return at, min(rng.choice((1, 2, 4, 16, 16, 64, 512)), len(content) - at)


def _replaced(content: bytes, at: int, count: int, by: bytes) -> bytes:
    return content[:at] + by + content[at + count :]


def _dump(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _changed(values: Any, rng: random.Random) -> Any:
    """Changes a value of nested lists and dicts in place, and returns them."""
    places = list(_places(values))
    if not places:
        return rng.choice(ODD_VALUES)
    parent, key = rng.choice(places)
    what = rng.random()
    if what < 0.15:
        del parent[key]
    elif what < 0.3 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif what < 0.3:
        parent[rng.choice((*ODD_TEXTS[:4], key.upper(), key + "x"))] = parent.pop(key)
    elif what < 0.5 and isinstance(parent[key], str):
        parent[key] = rng.choice(ODD_TEXTS)
    elif what < 0.6 and isinstance(parent[key], int | float):
        parent[key] = parent[key] * rng.choice((-1, 1000, 0.1)) + rng.choice((0, 1, 0.5))
    else:
        parent[key] = rng.choice(ODD_VALUES)
    return values


def _places(values: Any):
    """Every list or dict with every index or key of it."""
    if isinstance(values, dict | list):
        for key in values if isinstance(values, dict) else range(len(values)):
            yield values, key
            yield from _places(values[key])


TEXT: tuple[Mutation, ...] = (*BYTES, replace_number, replace_cell, drop_line, repeat_line)
JSON: tuple[Mutation, ...] = (*BYTES, *[change_json] * 4, nest_json, repeat_key, replace_number, replace_number)
PNG: tuple[Mutation, ...] = (*BYTES, *[change_chunk] * 3)
TIFF: tuple[Mutation, ...] = (*BYTES, *[change_tiff_tag] * 3)
DICOM: tuple[Mutation, ...] = (*BYTES, *[change_element] * 4)
SHEET: tuple[Mutation, ...] = (*BYTES, *[change_member((change_markup,))] * 4, change_member(BYTES))
