// topk:K: the K largest entries of a row in 8 bits, and where they are; the others share what is left.
import { must, viewOf } from "./header.mjs";

const UNITS = 255;

export function decodeTopK(body, rows, columns, most) {
  const k = Math.min(most, columns), others = columns - k, wide = columns <= 256 ? 1 : columns <= 65536 ? 2 : 4;
  must(body.length === rows * k * (wide + 1), `${rows} x ${columns} values do not take ${body.length} bytes in this coding`);
  const view = viewOf(body), codes = body.subarray(rows * k * wide), values = new Float32Array(rows * columns);
  const place = (i) => (wide === 1 ? view.getUint8(i) : wide === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true));
  for (let r = 0; r < rows; r++) {
    const code = codes.subarray(r * k, (r + 1) * k), at = Array.from(code, (_, i) => place(r * k + i));
    const rest = UNITS - code.reduce((a, b) => a + b, 0);
    const ordered = at.every((column, i) => column < columns && (i === 0 || column > at[i - 1]));
    must(ordered, "the columns of a row's largest entries are out of order or range");
    must(rest >= 0 && (others > 0 || rest === 0), "a row of codes does not sum to 255");
    must(!others || Math.min(...code) * others > rest, "an entry of a row's largest is not above the others");
    values.fill(others ? rest / others / UNITS : 0, r * columns, (r + 1) * columns);
    at.forEach((column, i) => { values[r * columns + column] = code[i] / UNITS; });
  }
  return values;
}
