// node-vae through its public API. The configuration is the instruction tier, or the precision on a GPU: cuda-tf32.
import { readFileSync } from "node:fs";
import { adam, type PlacementOptions, type Precision, type TrainedSteps, vae } from "node-vae";
import { modelOptions } from "../model.js";
import { type Contestant, compete, type Task } from "../protocol.js";
import { readBytes } from "./data.js";

/** Steps from one report to the next take about this long, so that reports cost nothing and quiet moments are seen. */
const SECONDS_PER_REPORT = 0.025;

await compete(async (task: Task): Promise<Contestant> => {
  const { batch } = task.workload;
  const [, precision] = /^cuda-(float32|tf32|bfloat16)$/.exec(task.configuration) ?? [];
  const place: PlacementOptions =
    precision === undefined
      ? { device: "cpu", threads: task.threads, tier: task.configuration }
      : { device: "cuda", precision: precision as Precision };
  const model = vae({ ...modelOptions(task.workload), ...place, seed: 1 });
  const data = readBytes(task);
  const before = nativeMemory();
  const optimizer = adam({ learningRate: 1e-3 });
  let training: AsyncGenerator<TrainedSteps> | undefined;
  let [every, stepsPerSecond] = [0, 0];

  /** The first step by itself; behind it, the training begins again with as many steps to a report as its speed asks for. */
  async function next(): Promise<{ steps: number; loss: number }> {
    if (training !== undefined && every === 0) {
      await training.return(undefined);
      training = undefined;
      every = Math.max(1, Math.round(SECONDS_PER_REPORT * stepsPerSecond));
    }
    training ??= model.train(data, { steps: Number.MAX_SAFE_INTEGER, every: Math.max(1, every), batchSize: batch, optimizer });
    const { value } = await training.next();
    if (value === undefined) throw new Error("training ended");
    stepsPerSecond = value.stepsPerSecond;
    return { steps: Math.max(1, every), loss: value.metrics.loss! };
  }

  const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string };
  return {
    library: `node-vae ${version}`,
    advance: next,
    memory() {
      const stated = Object.values(model.memory()).reduce((sum: number, bytes: number) => sum + bytes, 0);
      return { native: nativeMemory() - before, stated };
    },
  };
});

/** Bytes resident beyond what JavaScript holds. */
function nativeMemory(): number {
  globalThis.gc?.();
  const { rss, heapTotal, external } = process.memoryUsage();
  return rss - heapTotal - external;
}
