// Carry out calls of the page's modules for a test: node page.mjs CALLS.json, a list of {call, ...}; prints the results.
import { readFileSync } from "node:fs";

import { readData } from "../../web/data.mjs";
import { certainty, plausible, targets } from "../../web/distillation.mjs";
import { complete, rate, referenceDigest, weights } from "../../web/settings.mjs";
import { hexadecimal } from "../../web/trainer.mjs";

const plain = (array) => array && { shape: array.shape, data: Array.from(array.data, Number) };

const CALLS = {
  settings: ({ given, id }) => complete(given, id),
  rates: ({ learning, optimizers }) => optimizers.map((name) => rate(learning, name)),
  weights: ({ given, id }) => weights(given, id),
  digest: async ({ reference, manifest }) => hexadecimal(await referenceDigest(reference, manifest)),
  certainty: ({ rows }) => rows.map(certainty),
  targets: ({ mean, classes }) => Array.from(targets(mean, classes).data),
  plausible: ({ rows }) => plausible(Float32Array.from(rows.flat()), rows[0].length),
  async read({ file }) {
    const { x, y, test } = await readData(file, readFileSync(file));
    return { x: plain(x), y: plain(y), test: test && { x: plain(test.x), y: plain(test.y) } };
  },
};

const results = [];
for (const { call, ...words } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  try {
    results.push(await CALLS[call](words));
  } catch (reason) {
    results.push({ refused: reason.message });
  }
}
console.log(JSON.stringify(results));
