"""Messages of the wire, versions 1 and 2, in plain Python; changes (codings 17 to 20): reference_delta_decoder.py.

decode([payload, ...]) -> (kind, round, digest, rows)    ValueError for anything that is not a message
"""

import math
import struct
import zlib

KINDS = {1: "soft-labels", 2: "weights", 3: "class-outputs", 4: "features", 5: "logits", 6: "labels", 7: "samples"}
KINDS |= {8: "mass", 9: "status", 10: "verdict", 11: "outcome", 12: "codes", 13: "proxies", 17: "outputs"}
LINEAR = {3: 8, 6: 4, 7: 2, 8: 1}  # coding -> bits
LOGARITHM = {9: (8, 12.0), 10: (6, 12.0), 11: (4, 8.0)}  # coding -> bits, nats
ROOT = {12: 6, 13: 5, 14: 4}  # coding -> bits
TOP = {15: 1, 16: 3}  # coding -> entries
RANGE = {32: 8, 33: 4}  # coding -> bits


def must(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def decode(payloads: list[bytes]) -> tuple[str, int, bytes, list[list[float]]]:
    chunks = sorted(header(p) for p in payloads)  # the chunk index comes first
    count, *same = chunks[0][1:-1]
    must([c[0] for c in chunks] == list(range(count)), "a chunk is missing")
    must(all(list(c[1:-1]) == [count, *same] for c in chunks), "chunks of different messages")
    _run, kind, coding, number, digest, rows, columns = same
    values = body_values(coding, b"".join(c[-1] for c in chunks), rows, columns)
    return KINDS[kind], number, digest, [values[r * columns : (r + 1) * columns] for r in range(rows)]


def header(payload: bytes) -> tuple:
    must(40 <= len(payload) <= 512_000, "40 to 512000 bytes")
    fields = struct.unpack("<2sBBBBHHHI8sIIII", payload[:40])
    magic, version, kind, coding, zero, index, count, zeros, number, digest, rows, columns, last, checksum = fields
    must(magic == b"Mu" and version in (1, 2) and kind in KINDS and coding > 0 and zero == zeros == 0, "not ours")
    must(version == 2 or len(payload) == 40 + last, "length")
    run = last if version == 2 else None
    must(checksum == zlib.crc32(payload[40:], zlib.crc32(payload[:36])), "checksum")
    must(1 <= rows * columns <= 2**26 and number > 0, "size or round")
    must(index < count <= 1 + 4 * rows * columns // 511_960, "chunks")
    return index, count, run, kind, coding, number, digest, rows, columns, payload[40:]


def body_values(coding: int, body: bytes, rows: int, columns: int) -> list[float]:
    n, ratio = rows * columns, [1.0]
    if coding in (1, 2):
        must(len(body) == n * (4, 2)[coding - 1], "length of the body")
        must(all(map(math.isfinite, values := struct.unpack(f"<{n}{'fe'[coding - 1]}", body))), "finite")
        return list(values)
    if coding in (4, 5):
        plain = body if coding == 4 else (unpacker := zlib.decompressobj()).decompress(body, n + 1)
        must(len(plain) == n and (coding == 4 or (unpacker.eof and not unpacker.unused_data)), "length of the body")
        return [float(b) for b in plain]
    if coding in TOP:
        return top(body, rows, columns, min(TOP[coding], columns))
    if coding in RANGE:
        return ranged(body, rows, columns, RANGE[coding])
    if coding in LINEAR:
        units = 2 ** LINEAR[coding] - 1
        row_codes = codes(body, n, LINEAR[coding])
        must(all(sum(row_codes[r * columns : (r + 1) * columns]) == units for r in range(rows)), "sum of a row")
        return [c / units for c in row_codes]
    if coding in LOGARITHM:
        bits, clip = LOGARITHM[coding]
        ratio += [math.exp(-clip / (2**bits - 1) * (c - 0.5)) for c in range(1, 2**bits)]
    else:
        must(coding in ROOT and len(body) >= 2 * (cells := 2 ** (bits := ROOT[coding]) - 1), "coding or length")
        ratio += struct.unpack(f"<{cells}e", body[: 2 * cells])
        body = body[2 * cells :]
        must(all(0 <= r < 1 for r in ratio[1:]), "mean ratio")
    row_codes = codes(body, n, bits)
    must(all(row_codes[r * columns : (r + 1) * columns].count(0) == 1 for r in range(rows)), "one largest entry")
    must(all(ratio[c] > 0 for c in row_codes), "mean ratio")
    totals = [sum(ratio[c] for c in row_codes[r * columns : (r + 1) * columns]) for r in range(rows)]
    return [ratio[c] / totals[i // columns] for i, c in enumerate(row_codes)]


def codes(body: bytes, n: int, bits: int) -> list[int]:
    must(len(body) == -(-n * bits // 8), "length of the body")
    number, spare = int.from_bytes(body, "big"), 8 * len(body) - n * bits  # the highest bit comes first
    must(number % 2**spare == 0, "what fills the last byte is zero")
    digits = f"{number >> spare:0{n * bits}b}"
    return [int(digits[i * bits : (i + 1) * bits], 2) for i in range(n)]


def ranged(body: bytes, rows: int, columns: int, bits: int) -> list[float]:
    must(len(body) >= 8 * columns, "length of the body")
    ends = struct.unpack(f"<{2 * columns}f", body[: 8 * columns])
    low, high = ends[:columns], ends[columns:]
    must(all(map(math.isfinite, ends)) and all(a <= b for a, b in zip(low, high, strict=True)), "range of a column")
    row_codes, last = codes(body[8 * columns :], rows * columns, bits), 2**bits - 1
    return [low[i % columns] + c * (high[i % columns] - low[i % columns]) / last for i, c in enumerate(row_codes)]


def top(body: bytes, rows: int, columns: int, k: int) -> list[float]:
    wide, others, values = 1 if columns <= 256 else 2 if columns <= 65536 else 4, columns - k, []
    must(len(body) == rows * k * (wide + 1), "length of the body")
    places = struct.unpack(f"<{rows * k}{'?BH?I'[wide]}", body[: rows * k * wide])
    for r in range(0, rows * k, k):
        at, code = list(places[r : r + k]), body[rows * k * wide :][r : r + k]
        rest = 255 - sum(code)
        must(sorted(set(at)) == at and at[-1] < columns and rest >= 0, "columns, or the sum of a row")
        must(min(code) * others > rest if others else rest == 0, "not the largest")
        row = [rest / others / 255 if others else 0.0] * columns
        for place, c in zip(at, code, strict=True):
            row[place] = c / 255
        values += row
    return values
