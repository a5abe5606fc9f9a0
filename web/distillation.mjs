// D-Distillation with plain mixing, weighted by entropy: edge/protocols/d_distillation.py explains the mathematics.
import { take } from "./trainer.mjs";

export const OBJECTIVE = ["cross_entropy", "soft_cross_entropy(reference)"];
const TERM = `weight/${OBJECTIVE[1]}`, POWER = 4, SMALLEST = 1e-9;

export class Distillation {
  // trainer: of a bundle; private data x, y and the reference samples as {shape, data}.
  // weights: {neighbour: its weight in the mean}; settings: of the protocol.
  constructor({ trainer, x, y, reference, weights, settings }) {
    Object.assign(this, { trainer, x, y, reference, weights, settings, answered: false });
    this.classes = trainer.manifest.classes;
    this.private = shuffled(x.shape[0], settings.batch_size);
    this.public = shuffled(reference.shape[0], settings.reference_batch);
  }

  // What this device says about the reference set: rows (w p, 1 - w) of K + 1 entries, w how sure it is.
  async opinion() {
    const p = await this.trainer.predict(this.trainer.samples(this.reference)), k = this.classes;
    const rows = new Float32Array((p.length / k) * (k + 1));
    for (let r = 0; r < p.length / k; r++) {
      const row = p.subarray(r * k, (r + 1) * k), w = certainty(row);
      row.forEach((value, i) => { rows[r * (k + 1) + i] = w * value; });
      rows[r * (k + 1) + k] = 1 - w;
    }
    return rows;
  }

  // Train for a round towards the labels and, once somebody has answered, towards the mean. Returns the mean loss.
  async train(mean) {
    const { learning_rate, local_steps, distillation_weight } = this.settings, target = targets(mean, this.classes);
    let loss = 0;
    for (let step = 0; step < local_steps; step++) {
      const rows = this.public.next().value;
      const batch = {
        ...this.trainer.batch(this.x, this.y, this.private.next().value),
        reference_x: this.trainer.samples(take(this.reference, rows)),
        reference_target: this.trainer.tensor(take(target, rows).data, [rows.length, this.classes]),
      };
      loss += (await this.trainer.step(batch, { learning_rate, [TERM]: this.answered ? distillation_weight : 0 })).loss;
    }
    return loss / local_steps;
  }

  // The mean of what was said: own rows as they are, and what neighbours said in place of what they were told.
  mix(own, told, received) {
    const mean = Float64Array.from(own);
    const valid = [...received].filter(([, values]) => plausible(values, this.classes + 1));
    for (const [name, values] of valid) values.forEach((v, i) => { mean[i] += this.weights[name] * (v - told[i]); });
    this.answered ||= valid.length > 0;
    return mean;
  }
}

// (1 - H(p) / ln K)^4: 0 for a guess, 1 for certainty.
export function certainty(row) {
  const entropy = row.reduce((sum, value) => sum - Math.max(value, 1e-12) * Math.log(Math.max(value, 1e-12)), 0);
  return Math.min(Math.max(1 - entropy / Math.log(row.length), 0), 1) ** POWER;
}

// Targets of cross-entropy (R, K) in which a row counts as much as weight is behind it, 1 on average.
export function targets(mean, classes) {
  const rows = mean.length / (classes + 1), data = new Float32Array(rows * classes);
  data.forEach((_, i) => { data[i] = Math.max(mean[Math.floor(i / classes) * (classes + 1) + (i % classes)], 0); });
  const weight = data.reduce((a, b) => a + b, 0) / rows;
  return { shape: [rows, classes], data: data.map((value) => (weight > SMALLEST ? value / weight : 0)) };
}

// Whether rows can be what an honest neighbour says: sums of 1, entries within reason.
export function plausible(values, columns) {
  for (let from = 0; from < values.length; from += columns) {
    const row = values.subarray(from, from + columns), sum = row.reduce((a, b) => a + b, 0);
    if (!(Math.abs(sum - 1) < 1e-2 && Math.min(...row) >= -2 && Math.max(...row) <= 3)) return false;
  }
  return true;
}

// Batches of row numbers without end, each row once per pass.
function* shuffled(rows, size) {
  let left = [];
  for (;;) {
    while (left.length < Math.min(size, rows)) {
      const pass = Array.from({ length: rows }, (_, i) => i);
      for (let i = rows - 1; i > 0; i--) {
        const j = Math.floor(Math.random() * (i + 1));
        [pass[i], pass[j]] = [pass[j], pass[i]];
      }
      left.push(...pass);
    }
    yield left.splice(0, Math.min(size, rows));
  }
}
