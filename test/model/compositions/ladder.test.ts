// A two-level hierarchical VAE (Sønderby et al. 2016) as a wiring of one's own.
import { beforeAll, describe, expect, test } from "vitest";
import { concatenate, type Tensor } from "../../../lib/graph/index.js";
import {
  adam,
  defineWiring,
  dense,
  type FamilyContext,
  familyOf,
  repeatRows,
  type Scope,
  type Trace,
  vae,
  type Wiring,
} from "../../../lib/index.js";
import { expectClose } from "../../support/arrays.js";
import { type Digits, digits, expectSameAfterLoad, meanImageBound, PIXELS } from "../../support/digits.js";

interface Ladder extends Wiring {
  readonly kind: "compositions.ladder";
  readonly top: number;
  readonly bottom: number;
  readonly hidden: number;
}

// A Gaussian of predicted mean and variance serves as both posteriors, and as the prior of the lower latent.
const normal = familyOf("posterior", "gaussian");
const standard = familyOf("prior", "standardNormal");
const pixels = familyOf("likelihood", "bernoulli");
const context = (scope: Scope, size: number, rows: number): FamilyContext => ({ event: [size], rows, scope });

/** p(z1|z2) and p(x|z1). */
const below = ({ bottom }: Ladder, z2: Tensor, scope: Scope) =>
  normal.distribution(scope.network("prior1")(z2), context(scope, bottom, z2.shape[0]!));
const observed = (z1: Tensor, scope: Scope) => pixels.distribution(scope.network("decoder")(z1), context(scope, PIXELS, z1.shape[0]!));

defineWiring<Ladder>("compositions.ladder", {
  parse: (options) => {
    const size = (name: "top" | "bottom" | "hidden") => options.number(name, { minimum: 1, integer: true });
    return { kind: "compositions.ladder", top: size("top"), bottom: size("bottom"), hidden: size("hidden") };
  },
  observations: () => ({ x: pixels.value }),
  declare: ({ top, bottom, hidden }) => {
    const layers = [dense(hidden, { activation: "relu" })];
    const head = (size: number) => normal.headShape([size])!;
    return {
      networks: {
        up: { layers, input: [PIXELS] },
        posterior2: { layers, input: [hidden], output: head(top) },
        posterior1: { layers, input: [hidden + top], output: head(bottom) },
        prior1: { layers, input: [top], output: head(bottom) },
        decoder: { layers, input: [bottom], output: pixels.headShape([PIXELS])! },
      },
    };
  },
  trace: (wiring, { x }, scope, samples): Trace => {
    const { top, bottom } = wiring;
    const up = repeatRows(scope.network("up")(x!), samples);
    const rows = up.shape[0]!;
    const q2 = normal.distribution(scope.network("posterior2")(up), context(scope, top, rows));
    const z2 = q2.draw(scope.noise.within("z2"));
    const q1 = normal.distribution(scope.network("posterior1")(concatenate([up, z2.value], 1)), context(scope, bottom, rows));
    const z1 = q1.draw(scope.noise.within("z1"));
    return {
      latents: {
        z2: { posterior: q2, prior: standard.distribution(undefined, context(scope, top, rows)), draw: z2 },
        z1: { posterior: q1, prior: below(wiring, z2.value, scope), draw: z1 },
      },
      observations: { x: { distribution: observed(z1.value, scope), value: repeatRows(x!, samples) } },
    };
  },
  generate: (wiring, latents, rows, scope) => {
    const z2 = latents.z2 ?? standard.distribution(undefined, context(scope, wiring.top, rows)).draw(scope.noise.within("z2")).value;
    return { x: observed(latents.z1 ?? below(wiring, z2, scope).draw(scope.noise.within("z1")).value, scope) };
  },
});

const [TOP, BOTTOM] = [3, 8];
const build = () =>
  vae({
    wiring: { kind: "compositions.ladder", top: TOP, bottom: BOTTOM, hidden: 64 },
    fields: { x: [PIXELS] },
    device: "cpu",
    seed: 1,
  });
const training = { steps: 400, batchSize: 50, optimizer: adam({ learningRate: 3e-3 }) };

describe("a ladder of two latents", () => {
  let [train, held]: Digits[] = [];
  let model: ReturnType<typeof build>;

  beforeAll(async () => {
    [train, held] = await Promise.all([digits(400), digits(200, "test")]);
    model = build();
    await model.fit(train!.x, training);
    return () => model.dispose();
  });

  test("explains held-out digits 30 nats better than their mean image does, and uses both latents", async () => {
    await using untrained = build();
    const { elbo, kl, klPerDimension, negativeLogLikelihood } = await model.evaluate(held!.x, { importanceSamples: 20 });
    expect(elbo).toBeGreaterThan(meanImageBound(train!, held!) + 30);
    expect(elbo).toBeGreaterThan((await untrained.evaluate(held!.x)).elbo + 300);
    expect(klPerDimension).toHaveLength(TOP + BOTTOM);
    const [top, bottom] = [klPerDimension.subarray(0, TOP), klPerDimension.subarray(TOP)].map((part) => part.reduce((a, b) => a + b));
    expect(top! + bottom!).toBeCloseTo(kl, 6);
    expect(top).toBeGreaterThan(0.3);
    expect(bottom).toBeGreaterThan(5);
    expect(-negativeLogLikelihood!).toBeGreaterThan(elbo + 1);
  });

  test("gives both latents beside each other, and decodes both", async () => {
    const { mean, standardDeviation } = await model.encode(held!.x);
    expect([mean.length, standardDeviation.length]).toEqual([200 * (TOP + BOTTOM), 200 * (TOP + BOTTOM)]);
    expectClose(await model.decode(mean), await model.reconstruct(held!.x));
    const [from, to] = [held!.x.subarray(0, PIXELS), held!.x.subarray(PIXELS, 2 * PIXELS)];
    const path = await model.interpolate(from, to, 5);
    expect(path).toHaveLength(5 * PIXELS);
    expect(path.slice(0, PIXELS)).toEqual(await model.decode(mean.subarray(0, TOP + BOTTOM)));
    await expect(model.decode(new Float32Array(TOP))).rejects.toMatchObject({ code: "shape" });
  });

  test("samples from the top down: what samples depend on are the lower prior and the decoder", async () => {
    const [before, parameters] = [await model.sample(8, { seed: 3 }), await model.parameters()];
    const without = async (part: string): Promise<Float32Array> => {
      const other = build();
      const zeros = [...parameters].map(([name, { data }]) => [name, { data: name.startsWith(part) ? data.map(() => 0) : data }] as const);
      await other.setParameters(new Map(zeros));
      return other.sample(8, { seed: 3 }).finally(() => other.dispose());
    };
    for (const part of ["up.", "posterior2.", "posterior1."]) expect(await without(part)).toEqual(before);
    for (const part of ["prior1.", "decoder."]) expect(await without(part)).not.toEqual(before);
    // Without noise all samples are one: the middle of the upper prior, of the lower one there, and what is decoded from that.
    const [first, second] = await model.sample(2, { temperature: 0 }).then((both) => [both.slice(0, PIXELS), both.slice(PIXELS)]);
    expect(first).toEqual(second);
    expect(first).not.toEqual(await model.decode(new Float32Array(TOP + BOTTOM)));
  });

  test("saves and loads", async () => {
    await expectSameAfterLoad(model, held!.x);
    expect(model.summary()).toMatch(/posterior1\.head .* 16/);
  });
});
