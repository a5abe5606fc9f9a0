// The 40 bytes that open every payload, and what is checked about them (docs/wire.md).

export const HEADER = 40, CHUNK = 512_000, LARGEST = 2 ** 26, PIECE = CHUNK - HEADER;
const WIDEST = 4; // most bytes that a coding spends on a value

export const KINDS = {
  "soft-labels": 1, weights: 2, "class-outputs": 3, features: 4, logits: 5, labels: 6, samples: 7, mass: 8,
  status: 9, verdict: 10, outcome: 11, codes: 12, proxies: 13, outputs: 17,
};
const NAMES = Object.fromEntries(Object.entries(KINDS).map(([name, number]) => [number, name]));

// A payload, or a body, that is to be dropped.
export class WireError extends Error {}

// It is coded with an earlier message that is not here: ask for it whole.
export class BaseMissing extends WireError {}

export function must(condition, message) {
  if (!condition) throw new WireError(message);
}

export const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// One payload from {kind, coding, index, count, round, digest, rows, columns, body, run}; run null is version 1.
export function pack({ kind, coding, index = 0, count = 1, round, digest, rows, columns, body, run = null }) {
  if (!(kind in KINDS)) throw new RangeError(`message kind '${kind}' is not one of ${Object.keys(KINDS)}`);
  const payload = new Uint8Array(HEADER + body.length), view = viewOf(payload);
  payload.set([0x4d, 0x75, run === null ? 1 : 2, KINDS[kind], coding]);
  view.setUint16(6, index, true);
  view.setUint16(8, count, true);
  view.setUint32(12, round, true);
  payload.set(digest, 16);
  view.setUint32(24, rows, true);
  view.setUint32(28, columns, true);
  view.setUint32(32, run === null ? body.length : run, true);
  payload.set(body, HEADER);
  view.setUint32(36, checksum(payload), true);
  return payload;
}

// The inverse. Throws WireError.
export function unpack(payload) {
  must(payload.length >= HEADER && payload.length <= CHUNK, `a payload has 40 to 512000 bytes, this one ${payload.length}`);
  const view = viewOf(payload), [m, u, version, kind, coding, reserved] = payload, body = payload.subarray(HEADER);
  const last = view.getUint32(32, true), index = view.getUint16(6, true), count = view.getUint16(8, true);
  const round = view.getUint32(12, true), rows = view.getUint32(24, true), columns = view.getUint32(28, true);
  must(m === 0x4d && u === 0x75, "not a Murmur message: it does not begin with 'Mu'");
  must(version === 1 || version === 2, `format version ${version}; this reads versions 1 and 2`);
  must(version === 2 || last === body.length, `the header announces a body of ${last} bytes, there are ${body.length}`);
  must(view.getUint32(36, true) === checksum(payload), "the checksum does not fit: the message was altered on its way");
  must(kind in NAMES, `message kind ${kind} is not known`);
  must(reserved === 0 && view.getUint16(10, true) === 0, "the reserved bytes of a header are 0");
  const possible = index < count && count <= 1 + Math.floor((WIDEST * rows * columns) / PIECE) && round > 0;
  const sized = rows * columns <= LARGEST && (coding === 0 || rows * columns > 0);
  must(possible && sized, `impossible header: chunk ${index} of ${count}, round ${round}, ${rows} x ${columns} values`);
  const digest = payload.slice(16, 24), run = version === 1 ? null : last;
  return { kind: NAMES[kind], coding, index, count, round, digest, rows, columns, body, run };
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

// CRC-32 of bytes 0 to 35 and of the body.
function checksum(payload) {
  let rest = 0xffffffff;
  for (let at = 0; at < payload.length; at = at === 35 ? HEADER : at + 1) {
    rest = (rest >>> 8) ^ TABLE[(rest ^ payload[at]) & 255];
  }
  return ~rest >>> 0;
}
