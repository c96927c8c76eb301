// What a worker of the stress run does until its end comes: one kind of work, begun at once and never finished by itself.
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";

const { library, folder, work, ending, waits, delay, name } = workerData;

const reason = new Error("the stress run ends this work");
const controller = new AbortController();
const { signal } = controller;
/** What `dispose` is called on at the end. */
const open = [];
const endings = {
  terminate: () => undefined, // comes from outside
  error: () => {
    throw reason;
  },
  abort: () => controller.abort(reason),
  dispose: () => {
    for (const one of open) one.dispose();
    controller.abort(reason);
  },
  exit: () => process.exit(3),
};
const end = () => setTimeout(endings[ending], delay);
if (!waits) end();

const { dense, load, vae } = await import(new URL("index.js", library).href);
const { Device } = await import(new URL("runtime/device.js", library).href);

const rows = Float32Array.from({ length: 512 * 16 }, (_, i) => Math.sin(i));
const layers = [dense(32, { activation: "relu" })];
const makeModel = () =>
  vae({ input: [16], latent: 4, encoder: layers, decoder: layers, likelihood: "gaussian", device: "cpu", threads: 2 });

const path = join(folder, `${name}.vae`);
const opened = (one) => {
  open.push(one);
  return one;
};
/** Keeps the event loop alive until the end. */
const untilEnd = () =>
  new Promise((done) => {
    const timer = setInterval(() => signal.aborted && done(clearInterval(timer)), 10);
  });

/** Each says `begun` once, when what it repeats or waits for is under way. */
const works = {
  async train(begun) {
    const model = opened(makeModel());
    await model.fit(rows, { steps: 1e7, batchSize: 32, signal, onProgress: begun });
  },
  async iterate(begun) {
    const model = opened(makeModel());
    for await (const _ of model.train(rows, { steps: 1e7, every: 3, batchSize: 32, signal })) begun();
  },
  async infer(begun) {
    const model = opened(makeModel());
    for (; !signal.aborted; begun()) await Promise.all([model.score(rows), model.encode(rows), model.sample(64, { seed: 1 })]);
  },
  async save(begun) {
    const model = opened(makeModel());
    const training = model.fit(rows, { steps: 1e7, batchSize: 32, signal });
    training.catch(() => undefined);
    for (; !signal.aborted; begun()) await model.save(path);
    await training;
  },
  async load(begun) {
    const model = opened(makeModel());
    await model.fit(rows, { steps: 2, batchSize: 32 });
    await model.save(path);
    for (; !signal.aborted; begun()) await (await load(path)).encode(rows); // never disposed: left to the collector
  },
  async idle(begun) {
    const model = opened(makeModel());
    await model.fit(rows, { steps: 2, batchSize: 32 });
    begun();
    await untilEnd();
  },
  /** Many contexts, some with sessions that nobody disposes, and reads and writes that are still queued at the end. */
  async contexts(begun) {
    const pending = [];
    for (let i = 0; i < 12; i++) {
      const device = Device.open({ device: "cpu", threads: 2 });
      if (i % 2 === 0) opened(device);
      const resident = device.resident("rows", [1 << 18], "float32");
      const data = new Float32Array(1 << 18).fill(i);
      for (let j = 0; j < 4; j++) pending.push(resident.write(data), resident.read());
    }
    for (let i = 0; i < 3; i++) {
      const model = makeModel(); // never disposed
      pending.push(model.fit(rows, { steps: 1e7, batchSize: 32, signal }), model.encode(rows));
    }
    begun();
    for (const { reason } of await Promise.allSettled(pending)) {
      if (reason !== undefined && reason !== signal.reason && reason.code !== "disposed") throw reason;
    }
  },
};

let isBegun = false;
const begun = () => {
  if (isBegun) return;
  isBegun = true;
  parentPort.postMessage("begun");
  if (waits) end();
};
try {
  await works[work](begun);
} catch (error) {
  if (error !== reason && error.code !== "disposed") throw error;
}
