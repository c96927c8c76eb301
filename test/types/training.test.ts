// Trainings: how long they last, and what they record.
import { expect, expectTypeOf, test } from "vitest";
import {
  adam,
  type Elbo,
  type Evaluation,
  elbo,
  type FitOptions,
  type History,
  type IterateOptions,
  type MetricsOf,
  type Objective,
  type Progress,
  presets,
  type TrainOptions,
  type Vae,
  vae,
} from "../../lib/index.js";
import { compileOnly } from "../support/compile-only.js";

declare const model: Vae;
declare const rows: Float32Array;

test("epochs or steps", () => {
  expectTypeOf<{ epochs: number }>().toExtend<TrainOptions>();
  expectTypeOf<{ steps: number }>().toExtend<TrainOptions>();
  expectTypeOf<Record<never, never>>().toExtend<FitOptions>();
  expectTypeOf<{ epochs: number; steps: number }>().not.toExtend<FitOptions>();
  expectTypeOf<{ epochs: number; steps: number }>().not.toExtend<IterateOptions>();
  expectTypeOf<FitOptions<Evaluation>>().toExtend<TrainOptions>();
});

test("either of them, and options put together", () =>
  compileOnly(async () => {
    await model.fit(rows);
    await model.fit(rows, {
      epochs: 2,
      batchSize: 4,
      onEpoch: ({ validation }) => void expectTypeOf(validation).toEqualTypeOf<Evaluation | undefined>(),
    });
    await model.fit(rows, { steps: 2, onProgress: ({ step }) => void expectTypeOf(step).toBeNumber() });
    for await (const { step } of model.train(rows, { steps: 2, every: 1 })) expectTypeOf(step).toBeNumber();
    const { epochs, steps, shared }: { epochs: number; steps: number | undefined; shared: FitOptions } = undefined as never;
    await model.fit(rows, { ...(steps === undefined ? { epochs } : { steps }), batchSize: 4, optimizer: adam() });
    model.train(rows, { ...(steps === undefined ? { epochs } : { steps }), every: 4 });
    await model.fit(rows, { ...shared, batchSize: 4 });
    const { epochs: _, ...others } = shared;
    await model.fit(rows, { ...others, steps: 4 });
  }));

test("not both", () =>
  compileOnly(() => {
    // @ts-expect-error two lengths
    model.fit(rows, { epochs: 2, steps: 10 });
    // @ts-expect-error two lengths
    model.train(rows, { epochs: 2, steps: 10, every: 5 });
    // @ts-expect-error misspelt
    model.fit(rows, { epoch: 2 });
    // @ts-expect-error belongs to train
    model.fit(rows, { steps: 2, every: 1 });
  }));

const base = { input: [4], latent: 1, encoder: [], decoder: [], likelihood: "gaussian", device: "cpu" } as const;

test("what is recorded goes by the objective", async () => {
  expectTypeOf<MetricsOf<Elbo>["kl"]>().toBeNumber();
  expectTypeOf<MetricsOf<Objective>["loss"]>().toBeNumber();
  using model = vae(base);
  const history = await model.fit(new Float32Array(8), { steps: 2, batchSize: 2 });
  const { loss, elbo: bound, reconstruction, kl, other } = history.epochs[0]!.metrics;
  for (const known of [loss, bound, reconstruction, kl]) {
    expectTypeOf(known).toEqualTypeOf<number>();
    expect(known).toBeTypeOf("number");
  }
  expectTypeOf(other).toEqualTypeOf<number | undefined>();
  expect(other).toBeUndefined();
});

test("of every objective the loss is recorded, of others whatever their terms are called", () =>
  compileOnly(async () => {
    const warm = vae({ ...presets.image28(), objective: elbo({ beta: 2 }) });
    await warm.fit(rows, { onProgress: ({ metrics }) => void expectTypeOf(metrics.kl).toEqualTypeOf<number>() });
    for await (const { metrics } of warm.train(rows)) expectTypeOf(metrics.reconstruction).toEqualTypeOf<number>();
    const other = vae({ ...base, objective: { kind: "iwae", samples: 5 } });
    const [record] = (await other.fit(rows)).epochs;
    expectTypeOf(record!.metrics.loss).toEqualTypeOf<number>();
    expectTypeOf(record!.metrics.elbo).toEqualTypeOf<number | undefined>();
    expectTypeOf(vae({ wiring: { kind: "mine" }, fields: { x: [4] } }).config.objective).toEqualTypeOf<Elbo>();
    expectTypeOf(other.config.objective).toEqualTypeOf<Objective>();
    const any: Vae = vae(base);
    expectTypeOf((await any.fit(rows)).epochs[0]!.metrics.bound).toEqualTypeOf<number | undefined>();
    // Callbacks that take any metrics.
    const show = ({ metrics }: Progress): void => void metrics.loss;
    await warm.fit(rows, { onProgress: show });
    const history: History = await warm.fit(rows);
    return history;
  }));
