// Networks whose widths and batches fit no vector and no register tile, trained natively on every instruction tier of this
// machine, against the float64 evaluation of the very same graphs. Thread counts must not show, to the last bit.
import { describe, expect, it } from "vitest";
import { evaluate } from "../../lib/graph/index.js";
import { adam, dense, gaussian, type Likelihood, type VaeOptions, vae } from "../../lib/index.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";
import { clusteredRows } from "../support/data.js";
import { feedsByName } from "../support/feeds.js";
import { DATA, trainingGraph } from "../support/graphs.js";

const { tiers } = loadAddon().info();

/** More than the largest batch, and a multiple of none. */
const ROWS = 131;
const STEPS = 3;
// Adam divides by the root of the squared gradient: a larger epsilon than usual keeps it from magnifying the rounding error of
// gradients that are zero but for rounding.
const optimizer = adam({ learningRate: 0.01, epsilon: 1e-3 });

interface OddNetwork {
  /** Input, hidden widths, latent; the decoder mirrors them. */
  readonly widths: readonly number[];
  readonly batch: number;
  readonly likelihood: "bernoulli" | Likelihood;
  /** Bernoulli rows as bytes: the gather and its scaling are ragged too. */
  readonly bytes: boolean;
}

const bernoulliOn = (widths: readonly number[], batch: number, bytes: boolean): OddNetwork => ({
  widths,
  batch,
  likelihood: "bernoulli",
  bytes,
});

// The vectors have 4, 8 or 16 floats, the register tiles up to 8 rows and 48 columns: widths on both sides of those, each
// of them once as input, as hidden layer and as latent.
const WIDTHS = [1, 2, 15, 16, 17, 47, 48, 49];
const rotated = (i: number, by: number): number => WIDTHS[(i + by) % WIDTHS.length]!;
const networks: readonly OddNetwork[] = [
  ...[50, 1, 3, 17, 129].map((batch, i) => bernoulliOn([37, 113, 5], batch, i % 2 === 0)),
  ...WIDTHS.map((width, i) => bernoulliOn([width, rotated(i, 3), rotated(i, 6)], i % 2 === 0 ? 17 : 50, i % 3 === 0)),
  { widths: [37, 113, 29, 5], batch: 50, likelihood: gaussian({ scale: "learned" }), bytes: false },
  { widths: [1, 1, 1], batch: 1, likelihood: gaussian({ scale: "perDimension" }), bytes: false },
];

const optionsOf = ({ widths, likelihood }: OddNetwork): VaeOptions => {
  const [input, ...rest] = widths as [number, ...number[]];
  const hidden = rest.slice(0, -1).map((units) => dense(units, { activation: "relu" }));
  return { input: [input], latent: rest.at(-1)!, encoder: hidden, decoder: [...hidden].reverse(), likelihood, seed: 3 };
};

type Values = ReadonlyMap<string, ArrayLike<number>>;

interface Trained {
  /** Per step, by term. */
  readonly terms: readonly Readonly<Record<string, number>>[];
  readonly parameters: Values;
}

/** The run in double precision, from the same first weights; it knows neither plans nor tiers. */
function trainExactly(network: OddNetwork, data: ArrayLike<number>, initial: Values): Trained {
  const architecture = architectureOf(parseConfig(optionsOf(network), "test"));
  const dtype = network.bytes ? "uint8" : "float32";
  const step = { rows: ROWS, dtype, batchSize: network.batch, shuffle: true, optimizer, optimizerStart: 0 } as const;
  const { terms = {}, updates = [] } = trainingGraph(architecture, step);
  const names = Object.keys(terms);
  const outputs = [...Object.values(terms), ...updates.map(([, next]) => next)];
  const values: Record<string, ArrayLike<number>> = { [DATA]: data, ...Object.fromEntries(initial) };
  for (const [state] of updates) values[String(state.attributes.name)] ??= new Float64Array(state.shape.reduce((a, b) => a * b, 1));
  const rows = Array.from({ length: STEPS }, (_, index) => {
    const results = evaluate(outputs, feedsByName(outputs, values), { seed: 3, step: index });
    updates.forEach(([state], i) => {
      values[String(state.attributes.name)] = results[names.length + i]!;
    });
    return Object.fromEntries(names.map((name, i) => [name, results[i]![0]!]));
  });
  return { terms: rows, parameters: new Map([...initial.keys()].map((name) => [name, values[name]!])) };
}

async function parametersOf(model: ReturnType<typeof vae>): Promise<Map<string, Float32Array>> {
  return new Map([...(await model.parameters())].map(([name, { data }]) => [name, data]));
}

/** The largest difference, in units of the larger of 1 and the largest magnitude of the tensor. */
function difference(actual: ArrayLike<number>, exact: ArrayLike<number>): number {
  expect(actual.length).toBe(exact.length);
  let [worst, scale] = [0, 1];
  for (let i = 0; i < exact.length; i++) {
    const error = Math.abs(actual[i]! - exact[i]!);
    worst = error > worst || Number.isNaN(error) ? error : worst;
    scale = Math.max(scale, Math.abs(exact[i]!));
  }
  return worst / scale;
}

describe.each(networks)("$widths, batch $batch, bytes $bytes", (network) => {
  const { widths, batch } = network;
  const unscaled = clusteredRows(ROWS, widths[0]);
  const data = network.bytes ? Uint8Array.from(unscaled, (value) => Math.round(255 * value)) : unscaled;
  let exact: Promise<Trained> | undefined;

  it.each(tiers)("%s", async (tier) => {
    const runs: Trained[] = [];
    for (const threads of [1, 2, 3]) {
      await using model = vae({ ...optionsOf(network), device: "cpu", tier, threads });
      // The first weights come from the device's own random numbers and logarithms: those of the first tier count for all.
      exact ??= parametersOf(model).then((initial) => trainExactly(network, data, initial));
      await exact;
      const terms = [];
      for await (const step of model.train(data, { steps: STEPS, every: 1, batchSize: batch, optimizer })) terms.push({ ...step.metrics });
      runs.push({ terms, parameters: await parametersOf(model) });
    }
    const [one, ...others] = runs as [Trained, ...Trained[]];
    for (const other of others) expect(other, "more threads than one").toEqual(one);
    const { terms, parameters } = await exact!;
    terms.forEach((row, index) => {
      for (const [name, value] of Object.entries(row)) {
        expect(difference([one.terms[index]![name]!], [value]), `${name} at step ${index}`).toBeLessThan(2e-6);
      }
    });
    for (const [name, values] of parameters) expect(difference(one.parameters.get(name)!, values), name).toBeLessThan(2e-6);
  });
});
