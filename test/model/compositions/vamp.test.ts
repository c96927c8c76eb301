// A VampPrior (Tomczak & Welling 2018): the prior is the mixture of the posteriors at pseudo-inputs, which are learned.
import { beforeAll, describe, expect, it } from "vitest";
import {
  add,
  constantTensor,
  equal,
  exp,
  floor,
  logsumexp,
  matmul,
  multiply,
  reshapeTensor,
  sigmoid,
  subtract,
  sum,
  type Tensor,
} from "../../../lib/graph/index.js";
import {
  adam,
  type Distribution,
  defineWiring,
  dense,
  familyOf,
  type GaussianDistribution,
  gaussianDistribution,
  repeatRows,
  type Scope,
  type Trace,
  vae,
  type Wiring,
} from "../../../lib/index.js";
import { expectClose } from "../../support/arrays.js";
import { type Digits, digits, expectSameAfterLoad, meanImageBound, PIXELS, sameBytes } from "../../support/digits.js";
import { opened } from "../../support/opened.js";

interface Vamp extends Wiring {
  readonly kind: "compositions.vamp";
  readonly latent: number;
  readonly components: number;
  readonly hidden: number;
}

const normal = familyOf("posterior", "gaussian");
const pixels = familyOf("likelihood", "bernoulli");
const encoded = ({ latent }: Vamp, x: Tensor, scope: Scope, samples = 1): GaussianDistribution => {
  const head = repeatRows(scope.network("encoder")(x), samples);
  return normal.distribution(head, { event: [latent], rows: head.shape[0]!, scope }) as GaussianDistribution;
};
const decoded = (z: Tensor, scope: Scope): Distribution =>
  pixels.distribution(scope.network("decoder")(z), { event: [PIXELS], rows: z.shape[0]!, scope });

/** (1/K) Σ q(z|uₖ), for so many rows. */
function vampPrior(wiring: Vamp, rows: number, scope: Scope): Distribution {
  const { latent, components } = wiring;
  const { mean, logVariance } = encoded(wiring, sigmoid(scope.parameters.pseudoInputs!), scope);
  const [means, variances] = [reshapeTensor(mean, [1, components, latent]), reshapeTensor(logVariance, [1, components, latent])];
  const logDensity = (z: Tensor): Tensor => {
    const each = sum(gaussianDistribution(means, variances).logDensity(reshapeTensor(z, [rows, 1, latent])), { axes: [2] });
    return reshapeTensor(subtract(logsumexp(each, { axes: [1] }), Math.log(components)), [rows, 1]);
  };
  const draw: Distribution["draw"] = (noise) => {
    const numbers = constantTensor({ data: Array.from({ length: components }, (_, k) => k), shape: [1, components] });
    const chosen = equal(floor(multiply(noise.uniform([rows, 1]), components)), numbers);
    const value = add(matmul(chosen, mean), multiply(exp(multiply(0.5, matmul(chosen, logVariance))), noise.normal([rows, latent])));
    return { value, logDensity: logDensity(value) };
  };
  return { family: "vamp", draw, logDensity };
}

defineWiring<Vamp>("compositions.vamp", {
  parse: (options) => {
    const count = (name: "latent" | "components" | "hidden") => options.number(name, { minimum: 1, integer: true });
    return { kind: "compositions.vamp", latent: count("latent"), components: count("components"), hidden: count("hidden") };
  },
  observations: () => ({ x: pixels.value }),
  declare: ({ latent, components, hidden }) => ({
    parameters: { pseudoInputs: { shape: [components, PIXELS], initializer: "fanInUniform" } },
    networks: {
      encoder: { layers: [dense(hidden, { activation: "relu" })], input: [PIXELS], output: normal.headShape([latent])! },
      decoder: { layers: [dense(hidden, { activation: "relu" })], input: [latent], output: pixels.headShape([PIXELS])! },
    },
  }),
  trace: (wiring, { x }, scope, samples): Trace => {
    const posterior = encoded(wiring, x!, scope, samples);
    const draw = posterior.draw(scope.noise);
    return {
      latents: { z: { posterior, prior: vampPrior(wiring, draw.value.shape[0]!, scope), draw } },
      observations: { x: { distribution: decoded(draw.value, scope), value: repeatRows(x!, samples) } },
    };
  },
  generate: (wiring, { z }, rows, scope) => ({ x: decoded(z ?? vampPrior(wiring, rows, scope).draw(scope.noise).value, scope) }),
});

const [LATENT, COMPONENTS, HIDDEN] = [8, 30, 64];
const placement = { device: "cpu", seed: 1 } as const;
const wiring = { kind: "compositions.vamp", latent: LATENT, components: COMPONENTS, hidden: HIDDEN };
const layers = [dense(HIDDEN, { activation: "relu" })];
const training = { steps: 500, batchSize: 50, optimizer: adam({ learningRate: 3e-3 }) };

describe("a VampPrior", () => {
  let [train, held]: Digits[] = [];
  const model = vae({ wiring, fields: { x: [PIXELS] }, ...placement });
  let bound = Number.NaN;

  beforeAll(async () => {
    [train, held] = await Promise.all([digits(1000), digits(500, "test")]);
    const before = await model.parameters();
    bound = (await model.fit(train.x, training)).epochs.at(-1)!.metrics.elbo!;
    const after = await model.parameters();
    expect(sameBytes(before.get("pseudoInputs")!.data, after.get("pseudoInputs")!.data)).toBe(false);
    return () => model.dispose();
  });

  it("explains digits better than a standard normal prior with the same networks: 1.5 nats held out, 3 in training", async () => {
    await using control = vae({ input: [PIXELS], latent: LATENT, encoder: layers, decoder: layers, likelihood: "bernoulli", ...placement });
    const { epochs } = await control.fit(train!.x, training);
    expect(bound).toBeGreaterThan(epochs.at(-1)!.metrics.elbo! + 3);
    const [own, usual] = [await model.evaluate(held!.x, { importanceSamples: 20 }), await control.evaluate(held!.x)];
    expect(own.elbo).toBeGreaterThan(usual.elbo + 1.5);
    expect(-own.negativeLogLikelihood!).toBeGreaterThan(own.elbo + 1);
    expect(own.elbo).toBeGreaterThan(meanImageBound(train!, held!) + 30);
    expect(own.klPerDimension).toHaveLength(1); // a mixture has no contributions of dimensions
  });

  it("has a prior that is a density", async () => {
    const rows = 401;
    await using small = vae({
      wiring: { ...wiring, latent: 1, components: 3 },
      fields: { x: [PIXELS] },
      objective: { kind: "opened" },
      ...placement,
    });
    const { context, evaluate } = await opened(small, train!.x.subarray(0, rows * PIXELS), rows);
    const { prior, draw } = context.trace().latents.z!;
    const [low, high] = [-8, 8];
    const grid = Float64Array.from({ length: rows }, (_, index) => low + ((high - low) * index) / (rows - 1));
    const [logs] = evaluate([prior.logDensity(draw.value)], new Map([[draw.value, grid]]));
    const total = logs!.reduce((sum, log) => sum + (Math.exp(log) * (high - low)) / (rows - 1), 0);
    expect(total).toBeCloseTo(1, 6);
  });

  it("samples from the posteriors at its pseudo-inputs", async () => {
    const [before, parameters] = [await model.sample(16, { seed: 3 }), await model.parameters()];
    await using other = vae({ wiring, fields: { x: [PIXELS] }, ...placement });
    // One pseudo-input in the place of all: without noise all samples are its reconstruction.
    const first = parameters.get("pseudoInputs")!.data.subarray(0, PIXELS);
    const alike = Float32Array.from({ length: COMPONENTS * PIXELS }, (_, index) => first[index % PIXELS]!);
    await other.setParameters(new Map<string, { data: Float32Array }>(parameters).set("pseudoInputs", { data: alike }));
    expect(await other.sample(16, { seed: 3 })).not.toEqual(before);
    const shown = first.map((value) => 1 / (1 + Math.exp(-value)));
    const reconstruction = await other.reconstruct(shown);
    const samples = await other.sample(3, { temperature: 0 });
    for (let row = 0; row < 3; row++) expectClose(samples.subarray(row * PIXELS, (row + 1) * PIXELS), reconstruction, 1e-4);
    const various = await model.sample(16, { temperature: 0 });
    expect(sameBytes(various.subarray(0, PIXELS), various.subarray(PIXELS, 2 * PIXELS))).toBe(false);
  });

  it("saves and loads", async () => {
    await expectSameAfterLoad(model, held!.x.subarray(0, 100 * PIXELS));
    expect(model.summary()).toMatch(/pseudoInputs .* 23,520/);
  });
});
