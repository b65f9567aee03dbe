// Answers in onnxruntime-web, as WebAssembly: node worker.mjs PACKAGE PRODUCT
// PACKAGE is the unpacked npm package; worker.py describes the frames and the requests.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

console.log = console.info = console.warn = console.error; // whatever a library prints is no frame

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array,
  int8: Int8Array, uint8: Uint8Array, int32: Int32Array, int64: BigInt64Array,
};
// Modules of one function that uses an extension; WebAssembly.validate knows them where it has it.
const EXTENSIONS = {
  SIMD: [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
    253, 98, 11,
  ],
  "relaxed SIMD": [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253,
    15, 65, 2, 253, 15, 253, 128, 2, 11,
  ],
};

function read(count) {
  const data = Buffer.alloc(count);
  for (let done = 0; done < count; ) {
    const more = fs.readSync(0, data, done, count - done, null);
    if (more === 0) process.exit(0); // nobody asks any more
    done += more;
  }
  return data;
}

function readFrame() {
  const { arrays, ...fields } = JSON.parse(read(read(4).readUInt32LE()).toString());
  return { fields, arrays: arrays.map(({ dtype, shape }) => readTensor(dtype, shape)) };
}

function readTensor(dtype, shape) {
  const length = shape.reduce((product, size) => product * size, 1);
  const data = read(length * ARRAYS[dtype].BYTES_PER_ELEMENT);
  return new ort.Tensor(dtype, new ARRAYS[dtype](data.buffer, data.byteOffset, length), shape);
}

function write(data) {
  for (let done = 0; done < data.length; ) done += fs.writeSync(1, data, done);
}

function writeFrame(fields, tensors = []) {
  const arrays = tensors.map(({ type, dims }) => ({ dtype: type, shape: dims }));
  const header = Buffer.from(JSON.stringify({ ...fields, arrays }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  write(Buffer.concat([length, header]));
  for (const { data } of tensors) {
    write(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
}

async function open(file) {
  const { dir, base } = path.parse(file);
  const externalData = fs.readdirSync(dir || ".")
    .filter((name) => name.startsWith(`${base}.`) && name.endsWith(".data"))
    .map((name) => ({ path: name, data: fs.readFileSync(path.join(dir, name)) }));
  const options = { executionProviders: ["wasm"], logSeverityLevel: 4 };
  if (externalData.length) options.externalData = externalData;
  return ort.InferenceSession.create(fs.readFileSync(file), options);
}

async function run(session, tensors) {
  const inputs = Object.fromEntries(session.inputNames.map((name, i) => [name, tensors[i]]));
  const outputs = await session.run(inputs);
  return session.outputNames.map((name) => outputs[name]);
}

async function answer({ fields, arrays }) {
  try {
    if (!("open" in fields)) return [{}, await run(sessions[fields.run], arrays)];
    sessions.artifact = await open(fields.open);
    const takes_fp16 = sessions.artifact.inputMetadata[0].type === "float16";
    const runtime = `ONNX Runtime Web ${ort.env.versions.web} (WebAssembly, ${features.join(" ")})`;
    return [{ runtime, takes_fp16 }];
  } catch (error) {
    return [{ error: String(error.message ?? error).split("\n")[0] }];
  }
}

const [, , folder, product] = process.argv;
const bundle = path.join(folder, "dist", "ort.wasm.bundle.min.mjs");
const ort = await import(pathToFileURL(bundle));
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const sessions = { product: await open(product) };
const features = Object.entries(EXTENSIONS)
  .filter(([, code]) => WebAssembly.validate(new Uint8Array(code)))
  .map(([name]) => name);
writeFrame({ architecture: "WebAssembly", features });
for (;;) writeFrame(...(await answer(readFrame())));
