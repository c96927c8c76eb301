// `npm run bench -- ops`: every kernel by itself, compiled and run as the library does, against what the machine can do.
import {
  cast,
  grad,
  type HostData,
  input,
  instantiate,
  matmul,
  multiply,
  opCases,
  sizeOf,
  sum,
  type Tensor,
  topological,
} from "node-vae/graph";
import { Device } from "#lib/runtime/device.js";
import { loadAddon } from "#lib/runtime/native.js";
import { describeMachine } from "./machine.js";
import { convolutionOperations, convolutionSamples } from "./ops-convolution.js";
import { endReport, report, writeResult } from "./results.js";
import { filled, type Sample } from "./sample.js";
import { median, threeDigits } from "./statistics.js";
import { percent, table } from "./table.js";
import { layersOf, workloads } from "./workload.js";

export interface OpsSettings {
  /** Part of a name. */
  readonly filter: string;
  readonly tier: string;
  readonly threads: number;
  readonly quick: boolean;
  readonly json?: string;
  readonly command: readonly string[];
}

/** How fast one graph runs. */
export interface KernelRate {
  readonly name: string;
  readonly planSteps: number;
  readonly microseconds: number;
  /** Of matrix products only; 0 where there are none. */
  readonly gigaflops: number;
  /** Bytes of inputs and outputs, moved once. */
  readonly gigabytes: number;
  readonly fma: number;
  readonly l1: number;
  /** Gigabytes per second of a plain copy of as many bytes, at the same moment. */
  readonly copy: number;
  /** GFLOP/s of oneDNN 2.6 on the prototypes' machine, whose FMA peak is 145; where it was measured there. */
  readonly oneDnn?: number;
}

export async function ops(settings: OpsSettings): Promise<void> {
  const machine = describeMachine(settings.command);
  const samples = [...caseSamples(), ...productSamples(), ...convolutionSamples()].filter(({ name }) => name.includes(settings.filter));
  const rates: KernelRate[] = [];
  const failures: { readonly name: string; readonly reason: string }[] = [];
  using device = Device.open({ device: "cpu", threads: settings.threads, tier: settings.tier });
  for (const sample of samples) {
    report(sample.name);
    try {
      rates.push(await measure(sample, device, settings.quick ? { rounds: 3, seconds: 0.02 } : { rounds: 5, seconds: 0.08 }));
    } catch (error) {
      failures.push({ name: sample.name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  endReport();
  const { tier, threads } = device;
  console.log(`${machine.cpu}, ${tier}, ${threads} thread${threads > 1 ? "s" : ""}, Node ${machine.node}, ${machine.date}`);
  console.log(table(["kernel", "steps", "µs", "GFLOP/s", "FMA", "L1", "of FMA", "GB/s", "copy", "of copy", "oneDNN"], rates.map(row)));
  for (const { name, reason } of failures) console.log(`${name} failed: ${reason}`);
  const path = writeResult("ops", { machine, tier, threads, rates, failures }, settings);
  if (path !== undefined) console.log(`\nwritten to ${path}`);
}

function row({ name, planSteps, microseconds, gigaflops, fma, l1, gigabytes, copy, oneDnn }: KernelRate): string[] {
  const product = gigaflops > 0 ? [gigaflops, fma, l1].map(threeDigits).concat(percent(gigaflops / fma)) : ["", "", "", ""];
  return [
    name,
    String(planSteps),
    threeDigits(microseconds),
    ...product,
    ...[gigabytes, copy].map(threeDigits),
    percent(gigabytes / copy),
    oneDnn === undefined ? "" : String(oneDnn),
  ];
}

/** The large cases of the op table, forward and, where values flow back, the derivative for a given cotangent. */
function caseSamples(): Sample[] {
  return opCases()
    .filter(({ large }) => large === true)
    .flatMap((sample): Sample[] => {
      const { output, inputs } = instantiate(sample);
      const data = Object.fromEntries(inputs.map(({ tensor, data }) => [String(tensor.attributes.name), data]));
      const result = output.dtype === "float32" ? output : cast(output);
      const forward = { name: `${sample.title} forward`, outputs: [result], data };
      const variables = inputs.map(({ tensor }) => tensor).filter(({ dtype }) => dtype === "float32");
      if (variables.length === 0 || output.dtype !== "float32") return [forward];
      const cotangent = input("cotangent", output.shape);
      const gradients = grad(sum(multiply(output, cotangent)), variables);
      const live = gradients.filter((gradient) => topological([gradient]).includes(cotangent));
      if (live.length === 0) return [forward];
      const backward = { ...data, cotangent: filled(cotangent) };
      return [forward, { name: `${sample.title} derivative`, outputs: live, data: backward }];
    });
}

/** The products of the benchmark's networks: forward, gradient of the weight, gradient of the input. */
function productSamples(): Sample[] {
  return Object.values(workloads).flatMap((workload) => {
    const { name, batch } = workload;
    const layers = workload.image === undefined ? layersOf(workload).filter((layer) => layer.kind === "dense") : [];
    const distinct = new Map(layers.map((layer) => [`${layer.inputs}-${layer.outputs}`, layer]));
    return [...distinct.values()].flatMap(({ inputs, outputs }): Sample[] => {
      const x = input("x", [batch, inputs]);
      const weight = input("weight", [inputs, outputs]);
      const gradient = input("gradient", [batch, outputs]);
      const product = (form: string, output: Tensor, ...used: readonly Tensor[]): Sample => ({
        name: `matmul: ${name} ${inputs}-${outputs} ${form}`,
        outputs: [output],
        data: Object.fromEntries(used.map((tensor) => [String(tensor.attributes.name), filled(tensor)])),
      });
      return [
        product("forward nn", matmul(x, weight), x, weight),
        product("weight gradient tn", matmul(x, gradient, { transposeA: true }), x, gradient),
        product("input gradient nt", matmul(gradient, weight, { transposeB: true }), gradient, weight),
      ];
    });
  });
}

async function measure(
  { name, outputs, data, oneDnn }: Sample,
  device: Device,
  pace: { rounds: number; seconds: number },
): Promise<KernelRate> {
  using session = device.session({ outputs: Object.fromEntries(outputs.map((output, i) => [`output${i}`, output])) });
  const inputs = Object.fromEntries(session.plan.inputs.map(({ name }) => [name, data[name]!]));
  const seconds = async (steps: number): Promise<number> => {
    const begin = performance.now();
    await session.run({ steps, inputs });
    return (performance.now() - begin) / 1000;
  };
  let steps = 1;
  while ((await seconds(steps)) < pace.seconds && steps < 1e7) steps *= 2;
  // A run has costs of its own (copies in and out, a thread's wake-up), which a run of one step shows.
  const [long, short]: [number[], number[]] = [[], []];
  const [fma, l1, copy]: [number[], number[], number[]] = [[], [], []];
  const bytes = outputs.reduce((total, { shape }) => total + 4 * sizeOf(shape), 0) + inputBytes(inputs);
  for (let round = 0; round < pace.rounds; round++) {
    const probed = loadAddon().probe(device.tier, 0.01);
    fma.push(probed.fma);
    l1.push(probed.l1);
    copy.push(copyRate(bytes));
    short.push(await seconds(1));
    long.push(await seconds(steps + 1));
  }
  const time = (median(long) - Math.min(...short)) / steps;
  return {
    name,
    planSteps: session.plan.steps.length,
    microseconds: 1e6 * time,
    gigaflops: productOperations(outputs) / time / 1e9,
    gigabytes: bytes / time / 1e9,
    fma: median(fma),
    l1: median(l1),
    copy: median(copy),
    ...(oneDnn === undefined ? {} : { oneDnn }),
  };
}

function inputBytes(inputs: Readonly<Record<string, HostData>>): number {
  return Object.values(inputs).reduce((total, { byteLength }) => total + byteLength, 0);
}

/** 2 m k n for every product in the graph, and 2 · places · kernel · channels / groups · filters for every convolution. */
function productOperations(outputs: readonly Tensor[]): number {
  return topological(outputs).reduce((total, { op, inputs, attributes, shape }) => {
    if (op.startsWith("conv2d")) return total + convolutionOperations(op, inputs, shape);
    if (op !== "matmul") return total;
    const inner = inputs[0]!.shape.at(attributes.transposeA === true ? -2 : -1)!;
    return total + 2 * sizeOf(shape) * inner;
  }, 0);
}

/** Gigabytes per second, read and written, of copying half as many bytes to and fro. */
function copyRate(bytes: number): number {
  const [from, to] = [new Uint8Array(Math.max(64, bytes / 2)).fill(1), new Uint8Array(Math.max(64, bytes / 2))];
  let copies = 0;
  const begin = performance.now();
  do {
    for (let i = 0; i < 8; i++) to.set(from);
    copies += 8;
  } while (performance.now() - begin < 5);
  return (2 * from.length * copies) / (performance.now() - begin) / 1e6;
}
