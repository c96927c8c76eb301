// A process that trains beside two workers and exits in the middle of it. Argument: the JSON of worker.mjs's workerData and `how`.
import { once } from "node:events";
import { Worker } from "node:worker_threads";

const { how, ...workerData } = JSON.parse(process.argv[2]);
const file = new URL("worker.mjs", import.meta.url);
const workers = ["train", workerData.work].map(
  (work, i) => new Worker(file, { workerData: { ...workerData, work, name: `${workerData.name}-${i}`, ending: "terminate" } }),
);
const begun = Promise.all(workers.map((worker) => once(worker, "message")));
const { dense, vae } = await import(new URL("index.js", workerData.library).href);
const layers = [dense(32, { activation: "relu" })];
const model = vae({ input: [16], latent: 4, encoder: layers, decoder: layers, likelihood: "gaussian", device: "cpu", threads: 2 });
model.fit(new Float32Array(512 * 16).fill(0.5), { steps: 1e7, batchSize: 32 }).catch(() => undefined);
if (workerData.waits) await begun;
setTimeout(() => {
  if (how === "error") throw new Error("uncaught, by the stress run");
  process.exit(7);
}, workerData.delay);
