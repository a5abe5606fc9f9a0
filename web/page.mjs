// A device of a fleet in a browser: it joins over MQTT, learns from the data that it is given, and shows how.
import mqtt from "./node_modules/mqtt/dist/mqtt.esm.js";
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

import { readData, scaled } from "./data.mjs";
import { Distillation, OBJECTIVE } from "./distillation.mjs";
import { Mailbox } from "./mailbox.mjs";
import { readNpz } from "./npz.mjs";
import { complete, rate, referenceDigest, weights } from "./settings.mjs";
import { Trainer } from "./trainer.mjs";

const element = (id) => document.getElementById(id);
const log = (line) => { element("log").textContent += `${line}\n`; };

async function download(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

// What the address asks for, or else the form: {settings: its URL, id, data: {name, bytes}}.
async function asked() {
  const given = new URLSearchParams(location.search), url = given.get("settings") ?? "fleet.json";
  if (given.has("id") && given.has("data")) {
    return { url, id: given.get("id"), data: { name: given.get("data"), bytes: await download(given.get("data")) } };
  }
  const form = element("form");
  form.hidden = false;
  element("id").value = given.get("id") ?? "";
  await new Promise((resolve) => form.addEventListener("submit", (event) => { event.preventDefault(); resolve(); }));
  form.hidden = true;
  const [file] = element("data").files;
  return { url, id: element("id").value, data: { name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) } };
}

async function connected(settings, id) {
  const topic = `fleet/${settings.fleet}/status/${id}`;
  const will = { topic, payload: "offline", qos: 1, retain: true };
  const client = await mqtt.connectAsync(settings.broker, { clientId: id, protocolVersion: 5, keepalive: 30, will });
  client.on("reconnect", () => log("the broker is away; connecting again"));
  await client.publishAsync(topic, "online", { qos: 1, retain: true });
  return { client, leave: () => client.publishAsync(topic, "offline", { qos: 1, retain: true }).then(() => client.endAsync()) };
}

// The share of rows whose largest output is at the label.
async function accuracy(trainer, { x, y }) {
  const p = await trainer.predict(trainer.samples(x)), k = trainer.manifest.classes;
  const hits = y.data.filter((label, r) => {
    const row = p.subarray(r * k, (r + 1) * k);
    return row.indexOf(Math.max(...row)) === Number(label);
  });
  return hits.length / y.data.length;
}

async function take(settings, id, mailbox, learner, test) {
  const { trainer } = learner;
  let mean = await learner.opinion();
  for (let round = 1; round <= settings.rounds; round = mailbox.following(settings.rounds)) {
    mailbox.open(round);
    const own = await learner.opinion(), told = mailbox.send(own), loss = await learner.train(mean);
    const received = await mailbox.collect();
    mean = learner.mix(own, told, received);
    const row = { round, loss, timeouts: mailbox.neighbours.size - received.size };
    if (test) row.accuracy_all = await accuracy(trainer, test);
    mailbox.client.publish(`fleet/${settings.fleet}/telemetry/${id}`, JSON.stringify(row));
    const judged = test ? ` accuracy ${row.accuracy_all.toFixed(3)}` : "";
    log(`round ${round} loss ${loss.toFixed(3)}${judged} from ${received.size} of ${mailbox.neighbours.size}`);
  }
}

async function main() {
  ort.env.wasm.numThreads = 1; // more need a page that is isolated from other origins
  const { url, id, data } = await asked();
  const address = new URL(url, location.href);
  const settings = complete(JSON.parse(new TextDecoder().decode(await download(address))), id);
  const mine = weights(settings, id);
  const trainer = await Trainer.open(ort, (name) => download(new URL(`${settings.bundle}/${name}`, address)));
  const { objective, classes, task = "classification" } = trainer.manifest;
  if (task !== "classification" || OBJECTIVE.some((term) => !objective.includes(term)) || objective.length > OBJECTIVE.length) {
    throw new Error(`the bundle is for ${task} with ${objective.join(" + ")}; export it with --objective d-distillation`);
  }
  const { x, y, test } = await readData(data.name, data.bytes);
  const stray = y.data.find((label) => !(Number(label) >= 0 && Number(label) < classes && Number.isInteger(Number(label))));
  if (stray !== undefined) throw new Error(`${data.name}: label ${stray}; expected class numbers, 0 to ${classes - 1}`);
  const arrays = await readNpz(await download(new URL(settings.reference, address)));
  const reference = scaled(arrays.x ?? arrays.x_train);
  const form = { digest: await referenceDigest(reference, trainer.manifest), rows: reference.shape[0], columns: classes + 1 };
  const learning = { ...settings.settings, learning_rate: rate(settings.settings, trainer.manifest.optimizer) };
  const learner = new Distillation({ trainer, x, y, reference, weights: mine, settings: learning });
  const { client, leave } = await connected(settings, id);
  const position = settings.peers.indexOf(id), neighbours = Object.keys(mine), patience = settings.round_timeout;
  const mailbox = new Mailbox({ client, fleet: settings.fleet, id, position, neighbours, form, patience });
  await mailbox.subscribe();
  log(`${id} learns from ${x.shape[0]} samples; neighbours: ${neighbours.join(", ")}`);
  await mailbox.join();
  await take(settings, id, mailbox, learner, test);
  await mailbox.linger(settings.rounds);
  await leave();
  const refused = Object.entries(mailbox.counts).filter(([, count]) => count).map(([cause, count]) => `${cause} ${count}`);
  log(`done; refused: ${refused.join(", ") || "nothing"}`);
}

main().catch((reason) => log(`error: ${reason.message}`));
