// A worker that lives and ends as those of worker.mjs do, without the library.
import { parentPort, workerData } from "node:worker_threads";

const { ending, waits, delay } = workerData;
const endings = {
  terminate: () => undefined,
  error: () => {
    throw new Error("the stress run ends this work");
  },
  exit: () => process.exit(3),
};
const timer = setInterval(() => undefined, 1_000);
const end = () => setTimeout(endings[ending] ?? (() => clearInterval(timer)), delay);
if (waits) parentPort.postMessage("begun");
end();
