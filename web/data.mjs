// What somebody gives the page to learn from: a NumPy archive, or a table of numbers as CSV.
import { readNpz } from "./npz.mjs";

const PIXELS = new Map([[Uint8Array, 255], [Int8Array, 127], [Uint16Array, 65535], [Int16Array, 32767]]);

// {x, y, test: {x, y} or null} of a file's bytes; test: rows that are not learnt from, if the file has them apart.
export async function readData(name, bytes) {
  const arrays = name.toLowerCase().endsWith(".csv") ? table(new TextDecoder().decode(bytes), name) : await readNpz(bytes);
  const [x, y] = [arrays.x ?? arrays.x_train, arrays.y ?? arrays.y_train];
  if (!x || !y) throw new Error(`${name} must hold x and y, or x_train and y_train; it holds ${Object.keys(arrays)}`);
  if (x.shape[0] !== y.data.length) throw new Error(`${name} has ${x.shape[0]} samples and ${y.data.length} labels`);
  const test = arrays.x_test && arrays.y_test ? { x: scaled(arrays.x_test), y: arrays.y_test } : null;
  return { x: scaled(x), y, test };
}

// Integers of 8 or 16 bits are pixels: they become 0 to 1, as on a node (docs/data.md).
export function scaled({ shape, data }) {
  const most = PIXELS.get(data.constructor) ?? 1, values = Float32Array.from(data, (value) => Number(value) / most);
  if (!values.every(Number.isFinite)) throw new Error("samples hold values that are not finite; clean them first");
  return { shape, data: values };
}

// A table with a line of names, of which one is "label": a class number; the others are the sample, in their order.
function table(text, name) {
  const [names, ...rows] = text.trim().split(/\r?\n/).map((line) => line.split(",").map((cell) => cell.trim()));
  const label = names.indexOf("label");
  if (label < 0) throw new Error(`${name}: no column is called "label"; there are: ${names.join(", ")}`);
  const wrong = rows.findIndex((row) => row.length !== names.length || !row.every((cell) => cell !== "" && Number.isFinite(+cell)));
  if (wrong >= 0) throw new Error(`${name}, line ${wrong + 2}: expected ${names.length} numbers, got "${rows[wrong].join(",")}"`);
  const samples = rows.map((row) => row.filter((_, i) => i !== label).map(Number));
  return {
    x: { shape: [rows.length, names.length - 1], data: Float32Array.from(samples.flat()) },
    y: { shape: [rows.length], data: Int32Array.from(rows, (row) => +row[label]) },
  };
}
