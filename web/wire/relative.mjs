// Probabilities relative to the largest of their row: log:B and cuberoot:B. Code 0 is the first largest entry.
import { unpacked } from "./bits.mjs";
import { must, viewOf } from "./header.mjs";
import { half } from "./numbers.mjs";

export function decodeLog(body, rows, columns, bits, nats) {
  const cell = nats / (2 ** bits - 1);
  const ratio = Array.from({ length: 2 ** bits }, (_, code) => (code ? Math.exp(-cell * (code - 0.5)) : 1));
  return distributions(unpacked(body, rows * columns, bits), columns, ratio);
}

export function decodeCubeRoot(body, rows, columns, bits) {
  const cells = 2 ** bits - 1, ratio = [1];
  must(body.length >= 2 * cells, `${rows} x ${columns} values do not take ${body.length} bytes in this coding`);
  const view = viewOf(body), codes = unpacked(body.subarray(2 * cells), rows * columns, bits);
  for (let cell = 0; cell < cells; cell++) ratio.push(half(view.getUint16(2 * cell, true)));
  must(ratio.slice(1).every((r) => r >= 0 && r < 1), "a mean ratio is not between 0 and 1");
  must(codes.every((code) => ratio[code] > 0), "the mean ratio of a code in use is 0");
  return distributions(codes, columns, ratio);
}

// Codes to rows: the ratios of their codes, divided by their sum.
export function distributions(codes, columns, ratio) {
  const values = new Float32Array(codes.length);
  for (let from = 0; from < codes.length; from += columns) {
    const row = codes.subarray(from, from + columns);
    must(row.reduce((n, code) => n + (code === 0), 0) === 1, "a row of codes does not have exactly one largest entry");
    const total = row.reduce((sum, code) => sum + ratio[code], 0);
    row.forEach((code, i) => { values[from + i] = ratio[code] / total; });
  }
  return values;
}

// The codes of rows in cells of the cube root: what a decoded row was coded with.
export function nearest(values, columns, cells) {
  const codes = new Uint8Array(values.length);
  for (let from = 0; from < values.length; from += columns) {
    const row = values.subarray(from, from + columns), largest = Math.max(...row);
    row.forEach((p, i) => { codes[from + i] = 1 + Math.min(Math.floor(cells * (1 - Math.cbrt(p / largest))), cells - 1); });
    codes[from + row.indexOf(largest)] = 0;
  }
  return codes;
}
