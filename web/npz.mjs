// NumPy archives (.npz), as numpy.savez and numpy.savez_compressed write them.

const VIEWS = {
  "<f4": Float32Array, "<f8": Float64Array, "<i8": BigInt64Array, "<i4": Int32Array, "<i2": Int16Array,
  "|i1": Int8Array, "|u1": Uint8Array, "<u2": Uint16Array, "<u4": Uint32Array, "<u8": BigUint64Array, "|b1": Uint8Array,
};
const STORED = 0, DEFLATED = 8, DIRECTORY = 0x02014b50, END = 0x06054b50;

// {name: {shape, data}} of the arrays in an archive; data is a typed array.
export async function readNpz(file) {
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.length); // no Buffer, whose slices are no copies
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end--;
  if (end < 0) throw new Error("this is no NumPy archive (.npz)");
  const arrays = {};
  for (let at = view.getUint32(end + 16, true), n = view.getUint16(end + 10, true); n > 0; n--) {
    if (view.getUint32(at, true) !== DIRECTORY) throw new Error("the archive's directory is damaged");
    const [named, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + named));
    arrays[name.replace(/\.npy$/, "")] = array(await member(bytes, view, at), name);
    at += 46 + named + extra + comment;
  }
  return arrays;
}

async function member(bytes, view, at) {
  const [method, size, local] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)];
  const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const body = bytes.subarray(begin, begin + size);
  if (method === STORED) return body;
  if (method !== DEFLATED) throw new Error(`compression method ${method}: expected none or deflate`);
  const stream = new Blob([body]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function array(bytes, name) {
  if (bytes[0] !== 0x93 || new TextDecoder().decode(bytes.subarray(1, 6)) !== "NUMPY") throw new Error(`${name} is no array`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [open, length] = bytes[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder().decode(bytes.subarray(open, open + length));
  const type = /'descr': '([^']+)'/.exec(header)?.[1], row = /'fortran_order': False/.test(header);
  if (!(type in VIEWS) || !row) throw new Error(`${name}: type ${type}, expected one of ${Object.keys(VIEWS)}, row by row`);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").filter((s) => s.trim()).map(Number);
  const body = bytes.slice(open + length); // a copy begins where every type may
  return { shape, data: new VIEWS[type](body.buffer, 0, shape.reduce((a, b) => a * b, 1)) };
}
