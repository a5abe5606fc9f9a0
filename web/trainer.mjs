// A bundle's training step in any ONNX Runtime: `ort` is the module onnxruntime-node or onnxruntime-web.

const PARAMETER = "parameter/", STATE = "state/", NEXT = "next/";

export class Trainer {
  // read: name of a file of the bundle -> Promise of its bytes.
  static async open(ort, read) {
    const manifest = JSON.parse(new TextDecoder().decode(await read("manifest.json")));
    if (manifest.format !== 1) throw new Error(`the bundle has format ${manifest.format}; this is for format 1`);
    if (manifest.noise.length) throw new Error("the bundle has Dropout, whose masks are not drawn here");
    const files = {};
    for (const name of ["train.onnx", "predict.onnx", "parameters.safetensors"]) {
      files[name] = await read(name);
      const digest = hexadecimal(await sha256(files[name]));
      if (digest !== manifest.digests[name]) throw new Error(`${name} is not the file that was exported`);
    }
    const [train, predict] = [files["train.onnx"], files["predict.onnx"]].map((graph) => ort.InferenceSession.create(graph));
    const trainer = new Trainer(ort, manifest, await train, await predict);
    trainer.start(files["parameters.safetensors"]);
    return trainer;
  }

  constructor(ort, manifest, train, predict) {
    Object.assign(this, { ort, manifest, graphs: { train, predict }, values: {} });
  }

  // Begin with the parameters of a safetensors file: 8 bytes of length, a header in JSON, and what it describes.
  start(file) {
    const bytes = new Uint8Array(file.buffer, file.byteOffset, file.length); // no Buffer, whose slices are no copies
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const open = 8 + view.getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, open)));
    for (const { name, shape } of this.manifest.parameters) {
      const [from, to] = header[name].data_offsets;
      this.values[PARAMETER + name] = this.tensor(new Float32Array(bytes.slice(open + from, open + to).buffer), shape);
    }
    for (const { name, shape, dtype } of this.manifest.state) {
      this.values[STATE + name] = this.tensor(zeros(dtype, shape), shape);
    }
  }

  // The graphs' type follows from the array's: BigInt64Array is int64, all else becomes float32.
  tensor(data, shape) {
    const whole = data instanceof BigInt64Array;
    const array = whole || data instanceof Float32Array ? data : Float32Array.from(data, Number);
    return new this.ort.Tensor(whole ? "int64" : "float32", array, shape);
  }

  // Rows [from, to) of arrays {shape, data}, as the step's inputs "x" and "labels".
  batch(x, y, from, to) {
    const size = x.data.length / x.shape[0], whole = this.manifest.inputs.find(({ name }) => name === "x").dtype === "int64";
    const samples = x.data.slice(from * size, to * size), labels = y.data.slice(from, to);
    return {
      x: this.tensor(whole ? BigInt64Array.from(samples, BigInt) : samples, [to - from, ...this.manifest.shape]),
      labels: this.tensor(BigInt64Array.from(labels, BigInt), [to - from]),
    };
  }

  // One training step: {loss, correct, ...}. A step that is not finite is not kept.
  async step(batch, hyper = {}) {
    const feeds = { ...this.values, ...batch };
    for (const [name, value] of Object.entries({ ...this.manifest.hyper, ...hyper })) feeds[name] = this.tensor([value], []);
    const results = Object.entries(await this.graphs.train.run(feeds));
    const metrics = Object.fromEntries(results.filter(([k]) => !k.startsWith(NEXT)).map(([k, v]) => [k, v.data[0]]));
    if (Number.isFinite(metrics.loss) && Number.isFinite(metrics.squared_norm ?? 0)) {
      for (const [name, value] of results) if (name.startsWith(NEXT)) this.values[name.slice(NEXT.length)] = value;
    }
    return metrics;
  }

  // Probabilities of the rows of a tensor, (rows, classes) one after the other.
  async predict(x) {
    const parameters = Object.entries(this.values).filter(([name]) => name.startsWith(PARAMETER));
    const { probabilities } = await this.graphs.predict.run({ x, ...Object.fromEntries(parameters) });
    return probabilities.data;
  }
}

// The digest of bytes. Browsers have it on pages from https:// or from this machine.
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) throw new Error("this page needs https:// (or localhost): browsers give SHA-256 to no other");
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

export const hexadecimal = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

function zeros(dtype, shape) {
  return new (dtype === "int64" ? BigInt64Array : Float32Array)(shape.reduce((a, b) => a * b, 1));
}
