// simplex:B: the codes of a row sum to 2^B - 1, and a code is its share. The encoder gives Python's bytes.
import { packed, unpacked } from "./bits.mjs";
import { must } from "./header.mjs";

const unitsOf = (bits) => 2 ** bits - 1;

export function decodeSimplex(body, rows, columns, bits) {
  const codes = unpacked(body, rows * columns, bits), units = unitsOf(bits);
  for (let r = 0; r < rows; r++) {
    const sum = codes.subarray(r * columns, (r + 1) * columns).reduce((a, b) => a + b, 0);
    must(sum === units, `a row of codes does not sum to ${units}`);
  }
  return Float32Array.from(codes, (code) => code / units);
}

export function encodeSimplex(values, rows, columns, bits) {
  const codes = new Uint8Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    codes.set(rowCodes(values.subarray(r * columns, (r + 1) * columns), unitsOf(bits)), r * columns);
  }
  return packed(codes, bits);
}

// Round down, give the units that are left to the largest remainders, and keep the first largest entry the first largest.
function rowCodes(row, units) {
  const clipped = Array.from(row, (value) => Math.max(value, 0)), first = argmax(clipped);
  const p = clipped.some((value) => value > 0) ? clipped : clipped.fill(1), total = sum(p);
  const scaled = p.map((value) => (value / total) * units), codes = scaled.map(Math.floor);
  const left = units - codes.reduce((a, b) => a + b, 0), remainder = scaled.map((value, i) => value - codes[i]);
  const order = [...remainder.keys()].sort((a, b) => remainder[b] - remainder[a] || a - b);
  for (const i of order.slice(0, Math.max(left, 0))) codes[i]++;
  if (argmax(codes) !== first) {
    const above = codes.map((code, i) => (code > 0 && i !== first ? code - scaled[i] : -Infinity));
    codes[first]++;
    codes[argmax(above)]--;
  }
  return codes;
}

const argmax = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

// In NumPy's order (pairwise, in eight lanes), since another order may round to another last bit, and so to another code.
function sum(values) {
  const n = values.length;
  if (n < 8) return values.reduce((a, b) => a + b, 0);
  if (n > 128) {
    const half = (n >> 1) - ((n >> 1) % 8);
    return sum(values.slice(0, half)) + sum(values.slice(half));
  }
  const lanes = values.slice(0, 8), whole = n - (n % 8);
  for (let i = 8; i < whole; i++) lanes[i % 8] += values[i];
  const [a, b, c, d, e, f, g, h] = lanes;
  return values.slice(whole).reduce((x, y) => x + y, a + b + (c + d) + (e + f + (g + h)));
}
