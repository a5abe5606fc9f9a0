"""Messages of the wire, version 1, decoded in plain Python: to read beside wire.md, and to write another one from.

decode([payload, ...]) -> (kind, round, digest, rows)    ValueError for anything that is not a message
"""

import math
import struct
import zlib

KINDS = {1: "soft-labels", 2: "weights", 3: "class-outputs", 4: "features", 5: "logits", 6: "labels", 7: "samples"}
KINDS |= {8: "mass", 9: "status", 10: "verdict", 11: "outcome", 12: "codes", 13: "proxies"}
LINEAR = {3: 8, 6: 4, 7: 2, 8: 1}  # coding -> bits
LOGARITHM = {9: (8, 12.0), 10: (6, 12.0), 11: (4, 8.0)}  # coding -> bits, nats
ROOT = {12: 6, 13: 5, 14: 4}  # coding -> bits


def must(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def decode(payloads: list[bytes]) -> tuple[str, int, bytes, list[list[float]]]:
    chunks = sorted(header(p) for p in payloads)  # the chunk index comes first
    count, *same = chunks[0][1:-1]
    must([c[0] for c in chunks] == list(range(count)), "a chunk is missing")
    must(all(list(c[1:-1]) == [count, *same] for c in chunks), "chunks of different messages")
    kind, coding, number, digest, rows, columns = same
    body = b"".join(c[-1] for c in chunks)
    values = list(body_values(coding, body, rows, columns))
    return KINDS[kind], number, digest, [values[r * columns : (r + 1) * columns] for r in range(rows)]


def header(payload: bytes) -> tuple:
    must(40 <= len(payload) <= 512_000, "40 to 512000 bytes")
    fields = struct.unpack("<2sBBBBHHHI8sIIII", payload[:40])
    magic, version, kind, coding, zero, index, count, zeros, number, digest, rows, columns, size, checksum = fields
    must(magic == b"Mu" and version == 1 and kind in KINDS and coding > 0 and zero == zeros == 0, "not ours")
    must(len(payload) == 40 + size, "length")
    must(checksum == zlib.crc32(payload[40:], zlib.crc32(payload[:36])), "checksum")
    must(1 <= rows * columns <= 2**26 and number > 0, "size or round")
    must(index < count <= 1 + 4 * rows * columns // 511_960, "chunks")
    return index, count, kind, coding, number, digest, rows, columns, payload[40:]


def body_values(coding: int, body: bytes, rows: int, columns: int) -> list[float]:
    n = rows * columns
    if coding in (1, 2):
        must(len(body) == n * (4, 2)[coding - 1], "length of the body")
        must(all(map(math.isfinite, values := struct.unpack(f"<{n}{'fe'[coding - 1]}", body))), "finite")
        return list(values)
    if coding in (4, 5):
        plain = body if coding == 4 else inflated(body, n)
        must(len(plain) == n, "length of the body")
        return [float(b) for b in plain]
    if coding in LINEAR:
        units = 2 ** LINEAR[coding] - 1
        found = codes(body, n, LINEAR[coding])
        must(all(sum(found[r * columns : (r + 1) * columns]) == units for r in range(rows)), "sum of a row")
        return [c / units for c in found]
    if coding in LOGARITHM:
        bits, clip = LOGARITHM[coding]
        cell = clip / (2**bits - 1)
        ratio = [1.0] + [math.exp(-cell * (c - 0.5)) for c in range(1, 2**bits)]
        return relative(codes(body, n, bits), ratio, columns)
    must(coding in ROOT, f"coding {coding}")
    cells = 2 ** ROOT[coding] - 1
    must(len(body) >= 2 * cells, "length of the body")
    means = list(struct.unpack(f"<{cells}e", body[: 2 * cells]))
    found = codes(body[2 * cells :], n, ROOT[coding])
    must(all(0 <= m < 1 for m in means) and all(means[c - 1] > 0 for c in found if c), "mean ratio")
    return relative(found, [1.0, *means], columns)


def codes(body: bytes, n: int, bits: int) -> list[int]:
    must(len(body) == -(-n * bits // 8), "length of the body")
    number, spare = int.from_bytes(body, "big"), 8 * len(body) - n * bits
    must(number % 2**spare == 0, "padding")
    digits = f"{number >> spare:0{n * bits}b}"
    return [int(digits[i * bits : (i + 1) * bits], 2) for i in range(n)]


def relative(found: list[int], ratio: list[float], columns: int) -> list[float]:
    values: list[float] = []
    for at in range(0, len(found), columns):
        row = found[at : at + columns]
        must(row.count(0) == 1, "one largest entry")
        total = sum(ratio[c] for c in row)
        values += [ratio[c] / total for c in row]
    return values


def inflated(body: bytes, n: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(body, n + 1)
    except zlib.error as reason:
        raise ValueError(str(reason)) from None
    must(unpacker.eof and not unpacker.unused_data, "deflate")
    return plain
