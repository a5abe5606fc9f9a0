// delta:N: soft labels as what changed since the messages before, in N cells of the cube root, entropy coded.
import { symbols } from "./entropy.mjs";
import { BaseMissing, must, viewOf } from "./header.mjs";
import { distributions, nearest } from "./relative.mjs";

// bases: Map of round -> values as they were decoded.
export function decodeDelta(body, rows, columns, cells, bases) {
  const open = 8 + cells;
  must(body.length >= open + 4, `${body.length} bytes do not hold two rounds, ${cells} cells and a coder's state`);
  const view = viewOf(body), base = view.getUint32(0, true), before = view.getUint32(4, true);
  must(base || !before, `coded with round ${before}, but with none after it`);
  const [newest, older] = [base, before].filter(Boolean).map((round) => {
    if (!bases.has(round)) throw new BaseMissing(`coded as the change since round ${round}, which is not here`);
    must(bases.get(round).length === rows * columns, `round ${round} has another shape`);
    return nearest(bases.get(round), columns, cells);
  });
  const contexts = new Uint8Array(rows * columns), expected = newest ? [] : [Math.floor(cells / 2)];
  if (newest) {
    for (let i = 0; i < 3 * (cells + 1); i++) expected.push(i % (cells + 1));
    newest.forEach((code, i) => { contexts[i] = (1 + Math.sign(code - (older ?? newest)[i])) * (cells + 1) + code; });
  }
  const ratio = [1];
  for (let cell = 0; cell < cells; cell++) {
    const low = (1 - (cell + 1) / cells) ** 3, high = (1 - cell / cells) ** 3;
    ratio.push(low + ((high - low) * (body[8 + cell] + 0.5)) / 256);
  }
  return distributions(symbols(body.subarray(open), contexts, expected, cells + 1), columns, ratio);
}
