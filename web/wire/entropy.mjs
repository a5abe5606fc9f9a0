// The entropy decoder of delta:N: asymmetric numeral systems with a state of 31 bits, and a model that both sides grow
// alike. Whole numbers below 2^53 only.
import { must, viewOf } from "./header.mjs";

const BITS = 14, LOWEST = 2 ** 23, FIRST = 64, SEEN = 32, NEAR = 64;

// Symbols 0 to count - 1 in their contexts; expected: of each context, the likeliest symbol to begin with.
export function symbols(data, contexts, expected, count) {
  const weights = expected.map((e) => Array.from({ length: count }, (_, s) => 1 + (NEAR >> Math.min(2 * Math.abs(s - e), 30))));
  const decoded = new Uint8Array(contexts.length);
  must(data.length >= 4, "no room for the coder's state");
  let state = viewOf(data).getUint32(0, true), at = 4;
  must(state >= LOWEST && state < 256 * LOWEST, "the coded symbols begin with a state that no encoder leaves");
  for (let from = 0, size = FIRST; from < contexts.length; from += size, size *= 2) {
    const tables = weights.map(shares), to = Math.min(from + size, contexts.length);
    for (let i = from; i < to; i++) {
      const table = tables[contexts[i]], slot = state % 2 ** BITS;
      let symbol = 0, start = 0;
      while (slot >= start + table[symbol]) start += table[symbol++];
      state = table[symbol] * Math.floor(state / 2 ** BITS) + slot - start;
      while (state < LOWEST) {
        must(at < data.length, "the coded symbols end too early");
        state = 256 * state + data[at++];
      }
      decoded[i] = symbol;
    }
    for (let i = from; i < to; i++) weights[contexts[i]][decoded[i]] += SEEN;
  }
  must(state === LOWEST && at === data.length, "bytes are left over after the last coded symbol");
  return decoded;
}

// Shares of 2^14 in proportion to weights, each at least 1; the first largest gets what rounding leaves.
function shares(weights) {
  const total = weights.reduce((a, b) => a + b, 0), room = 2 ** BITS - weights.length;
  const portions = weights.map((weight) => 1 + Math.floor((weight * room) / total));
  portions[portions.indexOf(Math.max(...portions))] += 2 ** BITS - portions.reduce((a, b) => a + b, 0);
  return portions;
}
