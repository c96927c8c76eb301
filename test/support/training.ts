import { expect } from "vitest";
import { evaluate, sizeOf } from "../../lib/graph/index.js";
import { type Optimizer, type PlacementOptions, type VaeOptions, vae } from "../../lib/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";
import { clusteredRows } from "./data.js";
import { feedsByName } from "./feeds.js";
import { DATA, trainingGraph } from "./graphs.js";

export interface Training {
  readonly rows: number;
  readonly batchSize: number;
  readonly steps: number;
  readonly optimizer: Optimizer;
}

/**
 * Trains a model natively and, from the same first weights, in float64 by evaluating the graph of its step. The terms of every
 * step and the last weights must agree.
 */
export async function expectTrainingAsEvaluated(
  options: VaeOptions,
  { rows, batchSize, steps, optimizer }: Training,
  placement: PlacementOptions = {},
): Promise<void> {
  const architecture = architectureOf(parseConfig(options, "test"));
  const data = clusteredRows(rows, architecture.size);
  await using model = vae({ ...options, device: "cpu", ...placement });
  let values: Record<string, ArrayLike<number>> = { [DATA]: data };
  for (const [name, { data: first }] of await model.parameters()) values[name] = first;
  const step = { rows, dtype: "float32", batchSize, shuffle: true, optimizer, optimizerStart: 0 } as const;
  const { terms = {}, updates = [] } = trainingGraph(architecture, step);
  const names = Object.keys(terms);
  const outputs = [...Object.values(terms), ...updates.map(([, next]) => next)];
  for (const [state] of updates) values[String(state.attributes.name)] ??= new Float32Array(sizeOf(state.shape));

  const trained = model.train(data, { steps, every: 1, batchSize, optimizer });
  for (let index = 0; index < steps; index++) {
    const expected = evaluate(outputs, feedsByName(outputs, values), { seed: 1, step: index });
    const { value } = await trained.next();
    names.forEach((name, term) => {
      const exact = expected[term]![0]!;
      expect(Math.abs(value!.metrics[name]! - exact), `${name} at step ${index}`).toBeLessThan(1e-4 * Math.max(1, Math.abs(exact)));
    });
    values = { ...values, ...Object.fromEntries(updates.map(([state], i) => [state.attributes.name, expected[names.length + i]!])) };
  }
  expect((await trained.next()).done).toBe(true);
  const parameters = await model.parameters();
  expect(parameters.size).toBeGreaterThan(0);
  for (const [name, { data: last }] of parameters) {
    last.forEach((value, index) => {
      expect(Math.abs(value - values[name]![index]!), `${name}[${index}]`).toBeLessThan(2e-4);
    });
  }
}
