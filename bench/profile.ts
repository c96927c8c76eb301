// `npm run bench -- profile`: the time of one training step, kernel call by kernel call.
import { adam } from "node-vae";
import { sizeOf } from "node-vae/graph";
import type { PlanStep } from "#lib/compile/plan.js";
import { Device, type DeviceOptions } from "#lib/runtime/device.js";
import { loadAddon } from "#lib/runtime/native.js";
import { extentOf } from "#lib/runtime/session.js";
import { oneOptimizer } from "#lib/train/state.js";
import { trainingGraph } from "#lib/train/step.js";
import { rowsState } from "#lib/train/weights.js";
import { architectureOf } from "#lib/vae/architecture.js";
import { parseConfig } from "#lib/vae/index.js";
import { syntheticRows } from "./digits.js";
import { modelOptions } from "./model.js";
import { threeDigits } from "./statistics.js";
import { percent, table } from "./table.js";
import { stepOperations, type Workload } from "./workload.js";

export interface ProfileSettings {
  readonly workload: Workload;
  readonly device: DeviceOptions;
  readonly seconds: number;
}

const ROWS = 10_000;

/** The graph of a workload's training step, of 10,000 rows of bytes, shuffled, with Adam. */
export function trainingStep(workload: Workload) {
  const architecture = architectureOf(parseConfig(modelOptions(workload), "profile"));
  const courses = oneOptimizer(architecture, adam());
  const step = { rows: ROWS, dtypes: { x: "uint8" as const }, batchSize: workload.batch, shuffle: true, courses, transforms: [] };
  return { architecture, graph: trainingGraph(architecture, step) };
}

export async function profile({ workload, device: options, seconds }: ProfileSettings): Promise<void> {
  const { input } = workload;
  const { architecture, graph } = trainingStep(workload);
  using device = Device.open(options);
  await device.resident(rowsState("x"), [ROWS, input], "uint8").write(syntheticRows(workload, ROWS));
  for (const [index, { name, shape }] of architecture.parameters.entries()) {
    const scale = 1 / Math.sqrt(Math.max(1, sizeOf(shape.slice(0, -1))));
    const values = Float32Array.from({ length: sizeOf(shape) }, (_, i) => scale * Math.sin(i * (index + 1)));
    await device.resident(name, shape, "float32").write(values);
  }
  using session = device.session(graph);
  const onCpu = device.name === "cpu";
  const warm = await session.run({ steps: 20 });
  let [steps, total, nanoseconds] = [0, 0, new Float64Array(session.plan.steps.length)];
  const peaks: number[] = [];
  while (total < seconds) {
    if (onCpu) peaks.push(loadAddon().probe(device.tier, 0.02).fma);
    const begin = performance.now();
    const result = await session.run({ steps: 20, firstStep: warm.completed + steps, profile: true });
    total += (performance.now() - begin) / 1000;
    steps += result.completed;
    nanoseconds = nanoseconds.map((sum, i) => sum + result.profile[i]!);
  }
  const peak = (peaks.reduce((sum, value) => sum + value, 0) / peaks.length) * device.threads;
  const ofPeak = (rate: number) => (onCpu ? percent(rate / peak) : "");
  const all = nanoseconds.reduce((sum, value) => sum + value, 0);
  const rows = session.plan.steps.map((planStep, i) => {
    const time = nanoseconds[i]! / steps;
    const rate = productOperations(planStep) / time;
    const product = rate > 0 ? [threeDigits(rate), ofPeak(rate)] : ["", ""];
    return [
      `${i} ${planStep.kernel} ${extent(planStep)}`,
      threeDigits(time / 1000),
      percent(nanoseconds[i]! / all),
      ...product,
      planStep.label,
    ];
  });
  const milliseconds = (1000 * total) / steps;
  const rate = stepOperations(workload) / milliseconds / 1e6;
  const where = onCpu
    ? `${device.tier}, ${device.threads} thread${device.threads > 1 ? "s" : ""}; FMA peak ${threeDigits(peak)} GFLOP/s`
    : `${device.name} in ${device.precision}; steps timed one by one, ${threeDigits(all / steps / 1000)} µs in all`;
  console.log(`${workload.name}, ${where}`);
  console.log(table(["plan step", "µs", "share", "GFLOP/s", "of peak", "what"], rows));
  const speed = `${threeDigits(1000 / milliseconds)} steps/s, ${threeDigits(rate)} GFLOP/s`;
  console.log(`step ${threeDigits(milliseconds)} ms, ${speed}${onCpu ? `, ${percent(rate / peak)} of peak` : ""}`);
}

/** `128×400`, and the inner dimension of a product behind it. */
function extent(step: PlanStep): string {
  const sizes = extentOf(step).join("×");
  return step.kernel === "matmul" ? `${sizes} over ${step.attributes[0]}` : sizes;
}

function productOperations({ kernel, space, attributes }: PlanStep): number {
  if (kernel === "matmul") return 2 * sizeOf(space) * attributes[0]!;
  if (!kernel.startsWith("conv2d")) return 0;
  // As many in all three directions; padding counts, as it does for everybody.
  const [batch, , , channels, height, width, filters, kernelHeight, kernelWidth] = attributes as readonly number[];
  return (2 * batch! * height! * width! * filters! * kernelHeight! * kernelWidth! * channels!) / attributes.at(-1)!;
}
