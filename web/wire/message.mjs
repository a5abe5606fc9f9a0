// Whole messages: {kind, round, digest, rows, columns, values}, values row by row in a Float32Array.
import { decodeDelta } from "./delta.mjs";
import { must, pack, PIECE } from "./header.mjs";
import * as numbers from "./numbers.mjs";
import { decodeCubeRoot, decodeLog } from "./relative.mjs";
import { decodeSimplex, encodeSimplex } from "./simplex.mjs";
import { decodeTopK } from "./topk.mjs";

const coding = (name, decode, encode) => ({ name, decode, encode });
const simplex = (bits) =>
  coding(`simplex:${bits}`, (...body) => decodeSimplex(...body.slice(0, 3), bits), (...rows) => encodeSimplex(...rows, bits));

// By number on the wire. deflate8 (5) is missing: browsers unpack zlib only asynchronously, and no soft labels use it.
export const CODINGS = {
  1: coding("float32", numbers.decodeFloat32, numbers.encodeFloat32),
  2: coding("float16", numbers.decodeFloat16),
  3: simplex(8), 6: simplex(4), 7: simplex(2), 8: simplex(1),
  4: coding("integer8", numbers.decodeInteger8),
  9: coding("log:8", (body, rows, columns) => decodeLog(body, rows, columns, 8, 12)),
  10: coding("log:6", (body, rows, columns) => decodeLog(body, rows, columns, 6, 12)),
  11: coding("log:4", (body, rows, columns) => decodeLog(body, rows, columns, 4, 8)),
  12: coding("cuberoot:6", (body, rows, columns) => decodeCubeRoot(body, rows, columns, 6)),
  13: coding("cuberoot:5", (body, rows, columns) => decodeCubeRoot(body, rows, columns, 5)),
  14: coding("cuberoot:4", (body, rows, columns) => decodeCubeRoot(body, rows, columns, 4)),
  15: coding("topk:1", (body, rows, columns) => decodeTopK(body, rows, columns, 1)),
  16: coding("topk:3", (body, rows, columns) => decodeTopK(body, rows, columns, 3)),
  17: coding("delta:24", (body, rows, columns, bases) => decodeDelta(body, rows, columns, 24, bases)),
  18: coding("delta:15", (body, rows, columns, bases) => decodeDelta(body, rows, columns, 15, bases)),
  19: coding("delta:7", (body, rows, columns, bases) => decodeDelta(body, rows, columns, 7, bases)),
  20: coding("delta:3", (body, rows, columns, bases) => decodeDelta(body, rows, columns, 3, bases)),
  21: coding("int8-delta", numbers.decodeInt8Delta),
  32: coding("range:8", (body, rows, columns) => numbers.decodeRange(body, rows, columns, 8)),
  33: coding("range:4", (body, rows, columns) => numbers.decodeRange(body, rows, columns, 4)),
};

// A message as payloads. run: null for version 1. Codings that can be written: simplex:B and float32.
export function encode(message, name, run = null) {
  const [number, { encode: write }] = Object.entries(CODINGS).find(([, c]) => c.name === name && c.encode) ?? [0, {}];
  if (!write) throw new RangeError(`${name}: only simplex:8, simplex:4, simplex:2, simplex:1 and float32 are written here`);
  const { values, rows, columns } = message;
  if (values.length !== rows * columns || !values.every(Number.isFinite)) throw new RangeError("not all values, or not finite");
  const body = write(values, rows, columns), count = Math.max(1, Math.ceil(body.length / PIECE));
  return Array.from({ length: count }, (_, index) => {
    const piece = body.subarray(index * PIECE, (index + 1) * PIECE);
    return pack({ ...message, coding: number, index, count, body: piece, run });
  });
}

// A message from the chunks that `unpack` gave. bases: Map of round -> values of the same sender. Throws WireError.
export function join(chunks, bases = new Map()) {
  const ordered = [...chunks].sort((a, b) => a.index - b.index), [first] = ordered;
  const whole = ordered.length === first.count && ordered.every((chunk, i) => chunk.index === i && alike(chunk, first));
  must(whole, `${chunks.length} chunks do not make one message of ${first.count}`);
  must(first.coding in CODINGS, `body coding ${first.coding} is not known here`);
  const body = new Uint8Array(ordered.reduce((sum, chunk) => sum + chunk.body.length, 0));
  ordered.reduce((at, chunk) => (body.set(chunk.body, at), at + chunk.body.length), 0);
  const { kind, round, digest, rows, columns, run } = first;
  return { kind, round, digest, rows, columns, run, values: CODINGS[first.coding].decode(body, rows, columns, bases) };
}

function alike(a, b) {
  const same = ["kind", "coding", "count", "round", "rows", "columns", "run"].every((key) => a[key] === b[key]);
  return same && a.digest.every((byte, i) => byte === b.digest[i]);
}
