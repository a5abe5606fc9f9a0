// Take 20 steps of a bundle on the ONNX Runtime of Node.js:  node train.mjs BUNDLE DATA.npz
//
// Beside this file: npz.mjs and trainer.mjs from web/, and what `npm install onnxruntime-node` puts there.
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import * as ort from "onnxruntime-node";

import { readNpz } from "./npz.mjs";
import { Trainer } from "./trainer.mjs";

const STEPS = 20, ROWS = 32;
const [folder, data] = process.argv.slice(2);
if (!data) throw new Error("expected two arguments: a bundle and a NumPy archive with x and y");

const trainer = await Trainer.open(ort, (name) => readFile(join(folder, name)));
const { x, y } = await readNpz(await readFile(data));
for (let step = 0; step < STEPS; step++) {
  const from = (step * ROWS) % (x.shape[0] - ROWS + 1);
  const { loss } = await trainer.step(trainer.batch(x, y, from, from + ROWS));
  console.log(`step ${step + 1} loss ${loss}`);
}
