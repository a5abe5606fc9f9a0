// Carry out calls of the wire's modules for a test: node wire.mjs CALLS.json, a list of {call, ...}; prints the results.
import { readFileSync } from "node:fs";

import { encode, join } from "../../web/wire/message.mjs";
import { parse, greeting, request } from "../../web/wire/request.mjs";
import { WireError, unpack } from "../../web/wire/header.mjs";

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (array) => Buffer.from(array).toString("hex");
const results = [];

const CALLS = {
  decode({ payloads, bases = [] }) {
    const known = new Map(bases.map((i) => [results[i].round, Float32Array.from(results[i].values)]));
    const message = join(payloads.map((payload) => unpack(bytes(payload))), known);
    return { ...message, digest: hex(message.digest), values: Array.from(message.values) };
  },
  encode({ kind, round, digest, values, coding, run = null }) {
    const rows = values.length, columns = values[0].length;
    const message = { kind, round, digest: bytes(digest), rows, columns, values: Float32Array.from(values.flat()) };
    return encode(message, coding, run).map(hex);
  },
  parse({ payload }) {
    const words = parse(bytes(payload));
    for (const key of ["digest", "session", "answers"]) if (words[key]) words[key] = hex(words[key]);
    return words;
  },
  request: (words) => hex(request({ ...words, digest: bytes(words.digest) })),
  greeting: (words) => hex(greeting({ ...words, session: bytes(words.session), answers: bytes(words.answers) })),
};

for (const { call, ...words } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  try {
    results.push(CALLS[call](words));
  } catch (reason) {
    if (!(reason instanceof WireError)) throw reason;
    results.push({ refused: reason.message });
  }
}
console.log(JSON.stringify(results));
