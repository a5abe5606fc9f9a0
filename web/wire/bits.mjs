// Codes of b bits each, one after the other, the highest bit first; the last byte is filled with zeros.
import { must } from "./header.mjs";

export const length = (count, bits) => Math.ceil((count * bits) / 8);

export function packed(codes, bits) {
  const body = new Uint8Array(length(codes.length, bits));
  let place = 0;
  for (const code of codes) {
    for (let bit = bits - 1; bit >= 0; bit--, place++) body[place >> 3] |= ((code >> bit) & 1) << (7 - (place & 7));
  }
  return body;
}

export function unpacked(body, count, bits) {
  must(body.length === length(count, bits), `${count} codes of ${bits} bits do not take ${body.length} bytes`);
  const codes = new Uint8Array(count), bit = (place) => (body[place >> 3] >> (7 - (place & 7))) & 1;
  let place = 0;
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < bits; k++, place++) codes[i] = (codes[i] << 1) | bit(place);
  }
  for (; place < 8 * body.length; place++) must(!bit(place), "the last byte of the codes is not filled with zeros");
  return codes;
}
