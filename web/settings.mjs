// The settings of a fleet's pages: the names and meanings of node.toml (docs/node.md), and nothing that a page cannot do.
import { hexadecimal, sha256 } from "./trainer.mjs";

const TOP = { protocol: "d-distillation", topology: "ring", rounds: 100, round_timeout: 30 };
const REQUIRED = ["fleet", "broker", "peers", "bundle", "reference", "settings"];
const RATES = { sgd: 0.1, momentum: 0.03, nesterov: 0.03 }, ADAPTIVE = 0.001;
const LEARNING = { mixing: null, learning_rate: null, local_steps: 10, batch_size: 32, distillation_weight: 1, reference_batch: 32 };
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

// Check what a settings file holds, and complete it. Throws Error with what was expected.
export function complete(given, id) {
  refuseUnknown(given, { ...TOP, ...Object.fromEntries(REQUIRED.map((key) => [key, null])) }, "");
  for (const key of REQUIRED) if (!(key in given)) throw new Error(`the settings lack '${key}'`);
  refuseUnknown(given.settings, LEARNING, "settings.");
  const settings = { ...TOP, ...given, settings: { ...LEARNING, ...given.settings } };
  const { fleet, broker, peers, protocol, rounds, round_timeout: timeout, settings: learning } = settings;
  if (protocol !== "d-distillation") throw new Error(`protocol '${protocol}': a page takes part in d-distillation only`);
  if (learning.mixing !== "plain") throw new Error(`settings.mixing: expected "plain", on the nodes too; a page keeps nothing`);
  if (!/^wss?:\/\//.test(broker)) throw new Error(`broker '${broker}': a page needs WebSockets, ws://HOST:PORT or wss://HOST:PORT`);
  for (const name of [fleet, ...peers]) if (!NAME.test(name)) throw new Error(`'${name}' is no name of a fleet or device`);
  if (!peers.includes(id)) throw new Error(`id '${id}': expected one of the peers: ${peers.join(", ")}`);
  const numbers = { rounds, round_timeout: timeout, ...learning, mixing: 1 };
  for (const [key, value] of Object.entries(numbers)) {
    if (key === "learning_rate" && value === null) continue;
    if (!(Number.isFinite(value) && value > 0)) throw new Error(`${key}: expected a number above 0, got ${value}`);
  }
  return settings;
}

// The learning rate of the settings, or else what suits the optimizer of the bundle, as on a node.
export const rate = (learning, optimizer) => learning.learning_rate ?? RATES[optimizer] ?? ADAPTIVE;

function refuseUnknown(given, known, where) {
  const unknown = Object.keys(given).find((key) => !(key in known));
  if (unknown) throw new Error(`a page has no setting '${where}${unknown}'; it has: ${Object.keys(known).join(", ")}`);
}

// The neighbours of a device, and the weight of each in its mean (Metropolis): {name: weight}.
export function weights({ peers, topology }, id) {
  const n = peers.length;
  const shapes = {
    ring: (i) => [(i + 1) % n, (i + n - 1) % n],
    complete: (i) => [...peers.keys()].filter((j) => j !== i),
    star: (i) => (i ? [0] : [...peers.keys()].slice(1)),
  };
  if (!(topology in shapes)) throw new Error(`topology '${topology}': a page knows ${Object.keys(shapes).join(", ")}`);
  const adjacent = peers.map((_, i) => [...new Set(shapes[topology](i))].filter((j) => j !== i));
  const mine = adjacent[peers.indexOf(id)];
  return Object.fromEntries(mine.map((j) => [peers[j], 1 / (1 + Math.max(mine.length, adjacent[j].length))]));
}

// 8 bytes that say what soft labels are about: the reference set, and the class names of the bundle.
export async function referenceDigest({ shape, data }, manifest) {
  const floats = Float32Array.from(data);
  let digest = (await sha256(joined(encoded(listed(shape)), new Uint8Array(floats.buffer)))).slice(0, 8);
  if (manifest.class_names) digest = (await sha256(joined(digest, encoded(listed(manifest.class_names))))).slice(0, 8);
  return digest;
}

export const shown = (digest) => hexadecimal(digest);

const encoded = (text) => new TextEncoder().encode(text);

// A list in JSON, to the letter as Python writes it.
function listed(values) {
  const escaped = (text) => text.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return `[${values.map((value) => escaped(JSON.stringify(value))).join(", ")}]`;
}

function joined(a, b) {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
