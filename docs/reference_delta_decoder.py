"""Bodies coded as changes (codings 17 to 21), decoded in plain Python; see wire.md and reference_decoder.py.

body_values(body, cells, rows, columns, codes_of_bases) -> (rows, codes)    ValueError for anything malformed
    codes_of_bases: round -> codes of the message of that round (`nearest` of its decoded rows)
"""

import struct

LOWEST, BITS = 1 << 23, 14
CELLS = {17: 24, 18: 15, 19: 7, 20: 3}  # coding -> cells


def must(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def body_values(body: bytes, cells: int, rows: int, columns: int, known: dict) -> tuple[list, list]:
    must(len(body) >= 8 + cells + 4, "length of the body")
    base, before = struct.unpack("<II", body[:8])
    must((base != 0 or before == 0) and all(n in known for n in (base, before) if n), "a base that is not here")
    contexts, expected = [0] * (rows * columns), [cells // 2]
    if base:
        newest, older = known[base], known[before or base]
        contexts = [(1 + (c > o) - (c < o)) * (cells + 1) + c for c, o in zip(newest, older, strict=True)]
        expected = [*range(cells + 1)] * 3
    codes = symbols(body[8 + cells :], contexts, expected, cells + 1)
    ratio = [1.0]
    for cell, step in enumerate(body[8 : 8 + cells]):
        low, high = (1 - (cell + 1) / cells) ** 3, (1 - cell / cells) ** 3
        ratio.append(low + (high - low) * (step + 0.5) / 256)
    table = []
    for r in range(0, rows * columns, columns):
        row = codes[r : r + columns]
        must(row.count(0) == 1, "one largest entry")
        total = sum(ratio[c] for c in row)
        table.append([ratio[c] / total for c in row])
    return table, codes


def nearest(table: list, cells: int) -> list[int]:
    """Codes of rows of probabilities, row by row."""
    codes = []
    for row in table:
        largest = max(row)
        nearest_codes = [1 + min(int(cells * (1 - (max(p, 0) / largest) ** (1 / 3))), cells - 1) for p in row]
        nearest_codes[row.index(largest)] = 0
        codes += nearest_codes
    return codes


def differences(body: bytes, count: int, known: dict) -> list[float]:
    """Coding 21, weights. known: round -> values."""
    number, blocks = int.from_bytes(body[:4], "little"), -(-count // 256)
    must(len(body) == 4 + (2 * blocks + count if number else 4 * count), "length of the body")
    must(number == 0 or number in known, "a base that is not here")
    if number == 0:
        return list(struct.unpack(f"<{count}f", body[4:]))
    scales = struct.unpack(f"<{blocks}f", b"".join(b"\0\0" + body[4 + 2 * i : 6 + 2 * i] for i in range(blocks)))
    codes = struct.unpack(f"{count}b", body[4 + 2 * blocks :])
    return [b + scales[i // 256] * c for i, (b, c) in enumerate(zip(known[number], codes, strict=True))]


def symbols(data: bytes, contexts: list[int], expected: list[int], count: int) -> list[int]:
    """The entropy decoder: its state consumes bytes, and its tables adapt to the symbols decoded so far."""
    weights = [[1 + (64 >> min(2 * abs(s - e), 30)) for s in range(count)] for e in expected]
    state, at, decoded, grow = int.from_bytes(data[:4], "little"), 4, [], 64
    must(LOWEST <= state < 256 * LOWEST, "state of the coder")
    while len(decoded) < len(contexts):
        tables = [shares(w, count) for w in weights]
        part = contexts[len(decoded) : len(decoded) + grow]
        seen = []
        for context in part:
            slot, symbol, start = state % 2**BITS, 0, 0
            while slot >= start + tables[context][symbol]:
                start += tables[context][symbol]
                symbol += 1
            state = tables[context][symbol] * (state >> BITS) + slot - start
            while state < LOWEST:
                must(at < len(data), "the codes end too early")
                state, at = state << 8 | data[at], at + 1
            seen.append(symbol)
        for context, symbol in zip(part, seen, strict=True):
            weights[context][symbol] += 32
        decoded, grow = decoded + seen, 2 * grow
    must(state == LOWEST and at == len(data), "bytes are left over")
    return decoded


def shares(weights: list[int], count: int) -> list[int]:
    """Shares of 2^14, at least 1, proportional to the weights; the remainder of rounding goes to the first largest."""
    portions = [1 + w * (2**BITS - count) // sum(weights) for w in weights]
    portions[portions.index(max(portions))] += 2**BITS - sum(portions)
    return portions
