// A page's correspondence: the rules of edge/messaging/mailbox.py for one kind of message, soft labels in simplex:8.
import { Greeter } from "./greeter.mjs";
import { BaseMissing, must, unpack, WireError } from "./wire/header.mjs";
import { encode, join } from "./wire/message.mjs";
import { parse, request } from "./wire/request.mjs";

const KIND = "soft-labels", CODING = "simplex:8", AGAIN = "again";
const SECOND = 1000, REQUEST = 2 * SECOND, LONGEST_REQUEST = 4 * SECOND, ANSWER = SECOND, LINGER = 16 * SECOND;
const EARLY = 3, KEPT = 2, BASES = 2, ANSWERS = 16, LATER_ANSWER = 60 * SECOND, HELD = 64, MALFORMED = 4;
const EXPIRY = 24 * 3600; // seconds

export class Mailbox {
  // client: of mqtt.js, connected; form: {digest, rows, columns} of every message; position: of the device in the fleet.
  constructor({ client, fleet, id, position, neighbours, form, patience }) {
    Object.assign(this, { client, fleet, id, form, patience: patience * SECOND, round: 1 });
    const fresh = () => ({ whole: new Map(), partial: new Map(), taken: new Set(), missing: new Set(), nothing: new Set(), bases: [] });
    this.neighbours = new Map(neighbours.map((name) => [name, { ...fresh(), name, newest: 0, checked: 0, malformed: 0 }]));
    this.counts = { malformed: 0, foreign: 0, run: 0, duplicate: 0, late: 0, early: 0, missing_base: 0 };
    this.sent = new Map();
    this.held = [];
    this.greeter = new Greeter(this, position);
    client.on("message", (topic, payload, packet) => { if (!packet.retain || topic.includes("/status/")) this.take(topic, payload); });
  }

  async subscribe() {
    const statuses = [...this.neighbours.keys()].map((name) => `fleet/${this.fleet}/status/${name}`);
    await this.client.subscribeAsync([`fleet/${this.fleet}/to/${this.id}/from/+/+`, ...statuses], { qos: 1 });
  }

  publish(neighbour, kind, payload) {
    const topic = `fleet/${this.fleet}/to/${neighbour.name}/from/${this.id}/${kind}`;
    this.client.publish(topic, payload, { qos: 1, properties: { messageExpiryInterval: EXPIRY } });
  }

  // Be in a run of the fleet, and take what has come for it meanwhile.
  async join() {
    await this.greeter.join(this.patience);
    this.held.splice(0).forEach((delivery) => this.take(...delivery));
  }

  // Send values of the open round to all neighbours; returns them as they will be decoded.
  send(values) {
    const message = { kind: KIND, round: this.round, ...this.form, values };
    const payloads = encode(message, CODING, this.greeter.run);
    this.sent.set(this.round, { payloads, answers: new Map() });
    this.sent.delete(this.round - KEPT);
    for (const neighbour of this.neighbours.values()) payloads.forEach((payload) => this.publish(neighbour, KIND, payload));
    return join(payloads.map(unpack)).values;
  }

  // Open a round: what is of rounds before it is forgotten.
  open(round) {
    this.round = round;
    for (const neighbour of this.neighbours.values()) {
      for (const store of [neighbour.whole, neighbour.partial, neighbour.taken, neighbour.missing, neighbour.nothing]) {
        for (const key of store.keys()) if (key < round) store.delete(key);
      }
      neighbour.malformed = 0;
    }
  }

  // The messages of the open round, {neighbour: values}: of all, or of those who answer in time.
  async collect() {
    const begin = performance.now(), end = begin + this.patience, received = new Map();
    let interval = REQUEST, next = begin + interval;
    for (;;) {
      const missing = [...this.neighbours.values()].filter((neighbour) => !this.collected(neighbour, received));
      const now = performance.now(), over = missing.every((neighbour) => now >= this.limit(neighbour, end));
      if (over || missing.every((neighbour) => this.passedBy(neighbour))) return received;
      for (const neighbour of missing) {
        if (neighbour.missing.delete(this.round) || neighbour.early || now >= next) this.request(neighbour);
        neighbour.early = false;
      }
      if (now >= next) next = now + (interval = Math.min(2 * interval, LONGEST_REQUEST));
      await this.changed(Math.min(next, end));
    }
  }

  // The round after the open one: the next, or that of most neighbours; at most the last.
  following(last) {
    const rounds = [...this.neighbours.values()].map(({ checked }) => checked).sort((a, b) => b - a);
    return Math.max(this.round + 1, Math.min(rounds[rounds.length >> 1], last));
  }

  // Answer for a while after the last round, until the neighbours have finished, too.
  async linger(last) {
    const end = performance.now() + Math.min(LINGER, this.patience);
    const waiting = () => [...this.neighbours.values()].filter(({ newest }) => newest > 0 && newest <= last);
    for (const neighbour of this.neighbours.values()) this.announce(neighbour, last + 1);
    while (waiting().length && performance.now() < end) {
      await this.changed(Math.min(end, performance.now() + REQUEST));
      waiting().forEach((neighbour) => this.announce(neighbour, last + 1));
    }
  }

  // Resolves when something arrives, or at a time of the page's clock, in milliseconds.
  changed(until) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(until - performance.now(), 0));
      this.wake = () => { clearTimeout(timer); resolve(); };
    });
  }

  take(topic, payload) {
    const parts = topic.split("/"), [, , channel, name] = parts;
    if (channel === "status") this.presence(this.neighbours.get(name), new TextDecoder().decode(payload));
    else this.deliver(topic, parts[5], parts[6], payload);
    this.wake?.();
  }

  presence(neighbour, word) {
    neighbour.offline = word === "offline" ? (neighbour.offline ?? performance.now()) : undefined;
  }

  // What a neighbour sends is taken, or counted by the reason why not; it never throws.
  deliver(topic, sender, kind, payload) {
    const neighbour = this.neighbours.get(sender);
    try {
      if (!neighbour) this.counts.foreign++;
      else if (kind === AGAIN) this.words(neighbour, parse(payload), topic, payload);
      else if (!this.greeter.run) this.hold(topic, payload);
      else this.put(neighbour, kind, unpack(payload));
    } catch (reason) {
      if (!(reason instanceof WireError)) throw reason;
      this.counts.malformed++;
      neighbour.malformed += kind !== AGAIN;
    }
  }

  hold(topic, payload) {
    this.held.push([topic, payload]);
    if (this.held.length > HELD) this.held.shift();
  }

  words(neighbour, words, topic, payload) {
    if (words.type === "greeting") this.greeter.take(neighbour, words);
    else if (!this.greeter.run) this.hold(topic, payload);
    else if (this.admits(neighbour, words.run)) this.answer(neighbour, words);
  }

  admits(neighbour, run) {
    if (run === this.greeter.run) return true;
    this.counts.run++;
    this.greeter.ask(neighbour);
    return false;
  }

  put(neighbour, kind, chunk) {
    must(kind === chunk.kind, `the topic says ${kind}, the header ${chunk.kind}`);
    if (!this.admits(neighbour, chunk.run)) return;
    const cause = this.refusal(neighbour, chunk);
    if (cause) this.counts[cause]++;
    else this.keep(neighbour, chunk);
  }

  refusal(neighbour, { kind, round, digest, rows, columns, index }) {
    const { form } = this, alike = digest.every((byte, i) => byte === form.digest[i]);
    if (kind !== KIND || !alike || rows !== form.rows || columns !== form.columns) return "foreign";
    neighbour.newest = Math.max(neighbour.newest, round);
    neighbour.checked = Math.max(neighbour.checked, round);
    if (round < this.round) return "late";
    if (round > this.round + EARLY) return "early";
    if (neighbour.malformed >= MALFORMED) return "malformed";
    const there = neighbour.whole.has(round) || neighbour.taken.has(round) || neighbour.partial.get(round)?.has(index);
    return there ? "duplicate" : null;
  }

  keep(neighbour, chunk) {
    const chunks = neighbour.partial.get(chunk.round) ?? new Map();
    if ([...chunks.values()].some(({ coding, count }) => coding !== chunk.coding || count !== chunk.count)) chunks.clear();
    neighbour.partial.set(chunk.round, chunks.set(chunk.index, chunk));
    if (chunks.size < chunk.count) return;
    neighbour.partial.delete(chunk.round);
    try {
      const { round, values } = join([...chunks.values()], new Map(neighbour.bases));
      neighbour.whole.set(round, values);
      neighbour.bases = [[round, values], ...neighbour.bases].sort((a, b) => b[0] - a[0]).slice(0, BASES);
    } catch (reason) {
      if (!(reason instanceof BaseMissing)) throw reason;
      this.counts.missing_base++;
      neighbour.missing.add(chunk.round);
    }
  }

  collected(neighbour, received) {
    if (neighbour.whole.has(this.round)) {
      received.set(neighbour.name, neighbour.whole.get(this.round));
      neighbour.taken.add(this.round);
      neighbour.whole.delete(this.round);
    }
    return received.has(neighbour.name);
  }

  limit(neighbour, end) {
    return Math.min(end, (neighbour.offline ?? end) + 2 * this.patience);
  }

  passedBy(neighbour) {
    return neighbour.newest > this.round + KEPT || neighbour.nothing.has(this.round);
  }

  request(neighbour) {
    const chunks = neighbour.partial.get(this.round) ?? new Map(), count = [...chunks.values()][0]?.count ?? 0;
    const missing = Array.from({ length: count }, (_, index) => index).filter((index) => !chunks.has(index));
    const words = { kind: KIND, round: this.round, digest: this.form.digest, missing, count, run: this.greeter.run };
    this.publish(neighbour, AGAIN, request(words));
  }

  // That this device is in a round: a request that nothing answers.
  announce(neighbour, round) {
    this.publish(neighbour, AGAIN, request({ kind: KIND, round, digest: new Uint8Array(8), run: this.greeter.run }));
  }

  answer(neighbour, { round, nothing, missing, count }) {
    if (nothing) {
      neighbour.nothing.add(round);
      return;
    }
    neighbour.newest = Math.max(neighbour.newest, round);
    neighbour.early ||= this.round < round && round <= this.round + KEPT;
    const record = this.sent.get(round), now = performance.now();
    if (round < this.round - KEPT) this.announce(neighbour, this.round);
    else if (!record && round < this.round) this.deny(neighbour, round);
    if (!record) return;
    const before = record.answers.get(neighbour.name) ?? { times: 0, quiet: now };
    if (now < before.quiet) return;
    const times = before.times + 1, quiet = now + (times < ANSWERS ? ANSWER : LATER_ANSWER);
    record.answers.set(neighbour.name, { times, quiet });
    const some = missing.length && count === record.payloads.length ? missing.map((i) => record.payloads[i]) : record.payloads;
    some.forEach((payload) => this.publish(neighbour, KIND, payload));
  }

  // That nothing will come of a round, so that nobody waits for it.
  deny(neighbour, round) {
    this.publish(neighbour, AGAIN, request({ kind: KIND, round, digest: new Uint8Array(8).fill(255), run: this.greeter.run }));
  }
}
