// A value of one family is not taken for one of another.
import { expect, expectTypeOf, test } from "vitest";
import {
  adam,
  category,
  cosine,
  dense,
  elbo,
  gaussian,
  gaussianPosterior,
  type Layer,
  type Likelihood,
  linear,
  type Objective,
  type Optimizer,
  type Posterior,
  type Prior,
  presets,
  real,
  residual,
  type Schedule,
  scheduledValue,
  sgd,
  standardNormal,
  type Tagged,
  vae,
  warmup,
} from "../../lib/index.js";
import { compileOnly } from "../support/compile-only.js";

const base = { input: [4], latent: 1, encoder: [dense(4)], decoder: [dense(4)], likelihood: "gaussian" } as const;

test("values are plain data: the families stand in the types alone", () => {
  for (const value of [dense(4), adam(), gaussian(), elbo(), standardNormal(), linear({ from: 0, to: 1, steps: 2 }), category(3)]) {
    expect(Object.getOwnPropertySymbols(value)).toEqual([]);
    expect(JSON.parse(JSON.stringify(value))).toEqual(value);
  }
});

test("each constructor gives a member of its own family", () => {
  expectTypeOf(dense).returns.toExtend<Layer>();
  expectTypeOf(adam).returns.toExtend<Optimizer>();
  expectTypeOf(linear).returns.toExtend<Schedule>();
  expectTypeOf(gaussian).returns.toExtend<Likelihood>();
  expectTypeOf(gaussianPosterior).returns.toExtend<Posterior>();
  expectTypeOf(standardNormal).returns.toExtend<Prior>();
  expectTypeOf(elbo).returns.toExtend<Objective>();
  for (const made of [dense, adam, linear, gaussian, gaussianPosterior, standardNormal, elbo, category]) {
    expectTypeOf(made).returns.toExtend<Tagged>();
  }
});

test("the families exclude each other", () => {
  expectTypeOf<Optimizer>().not.toExtend<Layer>();
  expectTypeOf<Likelihood>().not.toExtend<Layer>();
  expectTypeOf<Layer>().not.toExtend<Likelihood>();
  expectTypeOf<Layer>().not.toExtend<Schedule>();
  expectTypeOf<Layer>().not.toExtend<Objective>();
  expectTypeOf<Prior>().not.toExtend<Posterior>();
  expectTypeOf<Posterior>().not.toExtend<Likelihood>();
  expectTypeOf<Schedule>().not.toExtend<Optimizer>();
});

test("literals of kinds that a program defines go on compiling", () =>
  compileOnly(() => {
    vae({ ...base, posterior: gaussianPosterior(), prior: standardNormal(), likelihood: gaussian(), objective: elbo() });
    vae({ ...presets.image28({ latent: 4 }), objective: elbo({ beta: linear({ from: 0, to: 1, steps: 10 }) }) });
    // Literals of kinds that a program defines itself, with options of their own.
    vae({ ...base, encoder: [{ kind: "scale" }, dense(4), { kind: "noisy", name: "first", deviation: 0.1 }] });
    vae({ ...base, objective: { kind: "iwae", samples: 5 }, prior: { kind: "mixture", components: 10 }, likelihood: { kind: "laplace" } });
    vae({ wiring: { kind: "ladder", levels: 2 }, fields: { x: [4] }, conditions: { label: category(3), age: real() } });
    adam({ learningRate: { kind: "mine", from: 1 } });
    const layer: Layer = { kind: "scale", gain: 2 };
    residual([layer], { shortcut: [{ kind: "scale" }] });
    // What comes out of JSON has no family.
    const read = JSON.parse("{}") as Tagged;
    vae({ ...base, encoder: [read], likelihood: read });
  }));

test("members of other families do not compile", () =>
  compileOnly(() => {
    // @ts-expect-error a likelihood and an optimizer are no layers
    vae({ ...base, encoder: [gaussian(), adam()] });
    // @ts-expect-error nor is an objective
    vae({ ...base, decoder: [dense(4), elbo()] });
    // @ts-expect-error a layer is no likelihood
    vae({ ...base, likelihood: dense(4) });
    // @ts-expect-error a posterior is no likelihood
    vae({ ...base, likelihood: gaussianPosterior() });
    // @ts-expect-error a likelihood is no posterior
    vae({ ...base, posterior: gaussian() });
    // @ts-expect-error a posterior is no prior
    vae({ ...base, prior: gaussianPosterior() });
    // @ts-expect-error a schedule is no objective
    vae({ ...base, objective: cosine({ from: 1, steps: 10 }) });
    // @ts-expect-error a layer is no condition
    vae({ ...base, conditions: { label: dense(4) } });
    // @ts-expect-error a layer is no schedule
    adam({ learningRate: dense(4) });
    // @ts-expect-error nor is an optimizer
    warmup({ steps: 10, target: sgd() });
    // @ts-expect-error nor is an objective
    elbo({ beta: elbo() });
    // @ts-expect-error a schedule is no layer
    residual([linear({ from: 0, to: 1, steps: 2 })]);
    // @ts-expect-error a layer is no schedule
    scheduledValue(dense(4), undefined as never);
    // @ts-expect-error an objective is no wiring
    vae({ wiring: elbo(), fields: { x: [4] } });
    const model = vae(base);
    // @ts-expect-error a schedule is no optimizer
    model.fit(new Float32Array(4), { optimizer: linear({ from: 0, to: 1, steps: 2 }) });
    // @ts-expect-error nor is one of a group
    model.fit(new Float32Array(4), { groups: [{ select: ["encoder.**"], optimizer: dense(4) }] });
  }));
