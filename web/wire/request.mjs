// What travels on the topic `again`: requests for messages, and greetings, by which devices agree on a run.
import { must, pack, unpack, viewOf } from "./header.mjs";

const SESSION = 8, NOTHING = 0xff;

// A request; missing: indices of the chunks that are wanted, of `count`; all if there are none.
export function request({ kind, round, digest, missing = [], count = 0, run = null }) {
  const body = new Uint8Array(missing.length ? 2 + 2 * missing.length : 0), view = viewOf(body);
  if (missing.length) [count, ...missing].forEach((number, i) => view.setUint16(2 * i, number, true));
  return pack({ kind, coding: 0, round, digest, rows: 0, columns: 0, body, run });
}

// A greeting; session, answers: 8 bytes each; asks: whether it is to be answered.
export function greeting({ run, round, session, answers = new Uint8Array(SESSION), asks = false }) {
  return pack({ kind: "status", coding: 0, round, digest: session, rows: asks ? 2 : 1, columns: 0, body: answers, run });
}

// Either, as {type: "request" or "greeting", ...}. Throws WireError.
export function parse(payload) {
  const chunk = unpack(payload), { kind, round, run, body, rows } = chunk;
  must(chunk.coding === 0 && chunk.columns === 0, "a request has no values");
  if (rows > 0) {
    must(run !== null && rows <= 2 && body.length === SESSION, "a request has no values, and this is no greeting either");
    return { type: "greeting", run, round, session: chunk.digest, answers: body, asks: rows === 2 };
  }
  must(body.length % 2 === 0, "a request has no values");
  const view = viewOf(body), [count = 0, ...missing] = Array.from({ length: body.length / 2 }, (_, i) => view.getUint16(2 * i, true));
  const ascending = missing.every((index, i) => index < count && (i === 0 || index > missing[i - 1]));
  must(!body.length || (missing.length && ascending), `a request for chunks ${missing} of ${count}`);
  return { type: "request", kind, round, digest: chunk.digest, missing, count, run, nothing: chunk.digest.every((b) => b === NOTHING) };
}
