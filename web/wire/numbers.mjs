// Bodies of plain numbers: float32, float16, integer8, range:B, and the differences of weights, int8-delta.
import { unpacked } from "./bits.mjs";
import { BaseMissing, must, viewOf } from "./header.mjs";

const BLOCK = 256; // values of int8-delta that share a scale

export function decodeFloat32(body, rows, columns) {
  must(body.length === 4 * rows * columns, `${rows} x ${columns} values do not take ${body.length} bytes in this coding`);
  const view = viewOf(body);
  return finite(Float32Array.from({ length: rows * columns }, (_, i) => view.getFloat32(4 * i, true)));
}

export function encodeFloat32(values) {
  const body = new Uint8Array(4 * values.length), view = viewOf(body);
  values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return body;
}

export function decodeFloat16(body, rows, columns) {
  must(body.length === 2 * rows * columns, `${rows} x ${columns} values do not take ${body.length} bytes in this coding`);
  const view = viewOf(body);
  return finite(Float32Array.from({ length: rows * columns }, (_, i) => half(view.getUint16(2 * i, true))));
}

export function decodeInteger8(body, rows, columns) {
  must(body.length === rows * columns, `${rows} x ${columns} values do not take ${body.length} bytes in this coding`);
  return Float32Array.from(body);
}

export function decodeRange(body, rows, columns, bits) {
  must(body.length >= 8 * columns, `${rows} x ${columns} values do not take ${body.length} bytes in this coding`);
  const view = viewOf(body), end = (i) => view.getFloat32(4 * i, true), last = 2 ** bits - 1;
  for (let column = 0; column < columns; column++) {
    const low = end(column), high = end(columns + column);
    must(Number.isFinite(low) && Number.isFinite(high) && low <= high, "a column's range is not finite, or upside down");
  }
  return Float32Array.from(unpacked(body.subarray(8 * columns), rows * columns, bits), (code, i) => {
    const low = end(i % columns), high = end(columns + (i % columns));
    return code === last ? high : Math.min(low + code * ((high - low) / last), high);
  });
}

// bases: Map of round -> values.
export function decodeInt8Delta(body, rows, columns, bases) {
  const count = rows * columns, blocks = Math.ceil(count / BLOCK);
  must(body.length >= 4, "no room for the round of the base");
  const view = viewOf(body), round = view.getUint32(0, true), size = 4 + (round ? 2 * blocks + count : 4 * count);
  must(body.length === size, `${body.length} bytes where ${rows} x ${columns} differences, or values, take ${size}`);
  if (!round) return decodeFloat32(body.subarray(4), rows, columns);
  const base = bases.get(round);
  if (!base) throw new BaseMissing(`coded as the difference from round ${round}, which is not here`);
  must(base.length === count, `round ${round} has another shape`);
  const scales = new Float32Array(Uint32Array.from({ length: blocks }, (_, i) => view.getUint16(4 + 2 * i, true) << 16).buffer);
  must(scales.every((scale) => scale >= 0 && scale < Infinity), "a scale is not a finite number from 0");
  const step = (i) => Math.fround(scales[Math.floor(i / BLOCK)] * view.getInt8(4 + 2 * blocks + i));
  return finite(base.map((value, i) => value + step(i)));
}

// IEEE 754 half, from its 16 bits.
export function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

function finite(values) {
  must(values.every(Number.isFinite), "values that are not finite");
  return values;
}
