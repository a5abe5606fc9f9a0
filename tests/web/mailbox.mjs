// Three pages' mailboxes over a network in memory that loses, repeats and alters messages: prints what became of them.
import { Mailbox } from "../../web/mailbox.mjs";

const NAMES = ["a", "b", "c"], ROUNDS = 4;
const form = { digest: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), rows: 2, columns: 3 };
const clients = new Map();
const lost = { "b a soft-labels": [2], "a c soft-labels": [1] }; // which messages between two are lost, counted from 1
const counts = {};

// What mqtt.js offers of a client, as far as a mailbox uses it.
function client(name) {
  const mine = { handlers: [], on: (_, handler) => mine.handlers.push(handler), subscribeAsync: async () => {} };
  mine.publish = (topic, payload) => {
    const [, , , receiver, , sender, kind] = topic.split("/"), key = `${sender} ${receiver} ${kind}`;
    counts[key] = (counts[key] ?? 0) + 1;
    if (lost[key]?.includes(counts[key])) return;
    const copies = key === "c b soft-labels" ? 2 : 1;
    for (let i = 0; i < copies; i++) setTimeout(() => clients.get(receiver)(topic, payload), 1);
  };
  clients.set(name, (topic, payload) => mine.handlers.forEach((handler) => handler(topic, Buffer.from(payload), { retain: false })));
  return mine;
}

const values = (name, round) => Float32Array.from([round / 51, 1 - round / 51, 0, NAMES.indexOf(name) / 51, 0, 1 - NAMES.indexOf(name) / 51]);

async function play(name, position) {
  const neighbours = NAMES.filter((other) => other !== name);
  const mailbox = new Mailbox({ client: client(name), fleet: "f", id: name, position, neighbours, form, patience: 20 });
  await new Promise((resolve) => setTimeout(resolve, 1)); // until all are there
  await mailbox.join();
  const rounds = [];
  for (let round = 1; round <= ROUNDS; round = mailbox.following(ROUNDS)) {
    mailbox.open(round);
    if (name === "a" && round === 3) {
      const topic = "fleet/f/to/c/from/a/soft-labels";
      clients.get("c")(topic, Buffer.from("not a message"), { retain: false });
      mailbox.form = { ...form, digest: new Uint8Array(8) };
      mailbox.send(values(name, round)); // about another reference set
      mailbox.form = form;
    }
    mailbox.send(values(name, round));
    const received = await mailbox.collect();
    rounds.push([round, Object.fromEntries([...received].map(([sender, rows]) => [sender, Array.from(rows)]))]);
  }
  await mailbox.linger(ROUNDS);
  return { run: mailbox.greeter.run, rounds, counts: mailbox.counts };
}

const results = await Promise.all(NAMES.map(play));
console.log(JSON.stringify(Object.fromEntries(NAMES.map((name, i) => [name, results[i]]))));
process.exit();
