// A classifier probe: a VAE whose latent also explains the class of a row. The encoder, learned from digits without classes, is frozen.
import assert from "node:assert";
import { beforeAll, describe, expect, it } from "vitest";
import { negate, reshapeTensor, softmaxCrossEntropy } from "../../../lib/graph/index.js";
import {
  adam,
  defineLikelihood,
  defineWiring,
  dense,
  familyOf,
  type Likelihood,
  repeatRows,
  type Trace,
  vae,
  type Wiring,
} from "../../../lib/index.js";
import { type Digits, digits, expectSameAfterLoad, PIXELS, sameBytes } from "../../support/digits.js";

type Categorical = Likelihood & { readonly classes: number };

defineLikelihood<Categorical>("compositions.categorical", {
  parse: (options) => ({ kind: "compositions.categorical", classes: options.number("classes", { minimum: 2, integer: true }) }),
  categories: ({ classes }) => Array.from({ length: classes }, (_, index) => `${index}`),
  headShape: ({ classes }) => [classes],
  distribution: (_, logits, { rows }) => ({
    family: "categorical",
    draw: () => assert.fail("classes are not drawn here"),
    logDensity: (value) => reshapeTensor(negate(softmaxCrossEntropy(logits!, reshapeTensor(value, [rows]))), [rows, 1]),
  }),
});

type Probe = Wiring & { readonly latent: number; readonly hidden: number; readonly classes: number };

const posterior = familyOf("posterior", "gaussian");
const prior = familyOf("prior", "standardNormal");
const pixels = familyOf("likelihood", "bernoulli");
const classesOf = ({ classes }: Probe) => familyOf("likelihood", { kind: "compositions.categorical", classes });

defineWiring<Probe>("compositions.probe", {
  parse: (options) => {
    const count = (name: string) => options.number(name, { minimum: 1, integer: true });
    return { kind: "compositions.probe", latent: count("latent"), hidden: count("hidden"), classes: count("classes") };
  },
  observations: (wiring) => ({ x: pixels.value, label: classesOf(wiring).value }),
  declare: ({ latent, hidden, classes }) => {
    const layers = [dense(hidden, { activation: "relu" })];
    return {
      networks: {
        encoder: { layers, input: [PIXELS], output: posterior.headShape([latent])! },
        decoder: { layers, input: [latent], output: [PIXELS] },
        classifier: { layers: [], input: [latent], output: [classes] },
      },
    };
  },
  trace: (wiring, { x, label }, scope, samples): Trace => {
    const head = repeatRows(scope.network("encoder")(x!), samples);
    const context = { event: [wiring.latent], rows: head.shape[0]!, scope };
    const q = posterior.distribution(head, context);
    const draw = q.draw(scope.noise);
    const seen = pixels.distribution(scope.network("decoder")(draw.value), { ...context, event: [PIXELS] });
    const named = classesOf(wiring).distribution(scope.network("classifier")(q.mean!), { ...context, event: [] });
    return {
      latents: { z: { posterior: q, prior: prior.distribution(undefined, context), draw } },
      observations: {
        x: { distribution: seen, value: repeatRows(x!, samples) },
        label: { distribution: named, value: repeatRows(label!, samples) },
      },
    };
  },
  generate: (wiring, latents, rows, scope) => {
    const context = { event: [wiring.latent], rows, scope };
    const z = latents.z ?? prior.distribution(undefined, context).draw(scope.noise).value;
    return { x: pixels.distribution(scope.network("decoder")(z), { ...context, event: [PIXELS] }) };
  },
});

const [LATENT, HIDDEN, CLASSES] = [16, 64, 10];
const layers = [dense(HIDDEN, { activation: "relu" })];
const placement = { device: "cpu", seed: 1 } as const;
const build = () =>
  vae({
    wiring: { kind: "compositions.probe", latent: LATENT, hidden: HIDDEN, classes: CLASSES },
    fields: { x: [PIXELS], label: [] },
    ...placement,
  });
const training = { steps: 400, batchSize: 50, optimizer: adam({ learningRate: 1e-2 }), freeze: ["encoder", "decoder"] };

/** The class of every row that the model finds likeliest: scores of a row differ by −log p(class) alone. */
async function classesRead(model: ReturnType<typeof build>, { x, label: { length: rows } }: Digits): Promise<Int32Array> {
  const scores: Float32Array[] = [];
  for (let label = 0; label < CLASSES; label++) scores.push(await model.score({ x, label: new Int32Array(rows).fill(label) }));
  return Int32Array.from({ length: rows }, (_, row) =>
    scores.reduce((best, each, label) => (each[row]! < scores[best]![row]! ? label : best), 0),
  );
}

const accuracy = (read: Int32Array, { label }: Digits): number => read.filter((value, row) => value === label[row]).length / read.length;

describe("a probe on a frozen encoder", () => {
  let [train, held]: Digits[] = [];
  const model = build();
  const unlabelled = vae({ input: [PIXELS], latent: LATENT, encoder: layers, decoder: layers, likelihood: "bernoulli", ...placement });
  /** The encoder and the decoder, by their names, from a model that saw no classes. */
  const takeOver = async (probe: typeof model) =>
    probe.setParameters(new Map([...(await probe.parameters()), ...(await unlabelled.parameters())]));

  beforeAll(async () => {
    [train, held] = await Promise.all([digits(1000), digits(500, "test")]);
    await unlabelled.fit(train.x, { steps: 500, batchSize: 50, optimizer: adam({ learningRate: 3e-3 }) });
    await takeOver(model);
    return () => {
      model.dispose();
      unlabelled.dispose();
    };
  });

  it("reads held-out digits far above chance, and better than on an encoder that has learned nothing", async () => {
    const before = (await model.evaluate(held!)).reconstruction;
    await model.fit(train!, training);
    // A class costs log 10 = 2.3 nats where nothing is known of it.
    expect((await model.evaluate(held!)).reconstruction).toBeGreaterThan(before + 1.2);
    const own = accuracy(await classesRead(model, held!), held!);
    expect(own).toBeGreaterThan(0.7);
    await using untrained = build();
    await untrained.fit(train!, training);
    expect(own).toBeGreaterThan(accuracy(await classesRead(untrained, held!), held!) + 0.15);
    await using shuffled = build();
    await takeOver(shuffled);
    await shuffled.fit({ x: train!.x, label: train!.label.map((_, row) => train!.label[(7 * row + 3) % 1000]!) }, training);
    expect(accuracy(await classesRead(shuffled, held!), held!)).toBeLessThan(0.25);
  });

  it("leaves the encoder and the decoder as they were, to the bit", async () => {
    const [after, learned] = [await model.parameters(), await unlabelled.parameters()];
    expect([...after.keys()].filter((name) => !learned.has(name))).toEqual(["classifier.head.weight", "classifier.head.bias"]);
    for (const [name, { data }] of learned) expect(sameBytes(data, after.get(name)!.data), name).toBe(true);
    const [own, other] = [await model.encode(held!), await unlabelled.encode(held!.x)];
    expect(sameBytes(own.mean, other.mean)).toBe(true);
  });

  it("takes classes as bytes or texts, matches their names, and refuses those that it does not know", async () => {
    const { x, label } = held!;
    const scores = await model.score({ x, label });
    expect(await model.score({ x, label: Uint8Array.from(label) })).toEqual(scores);
    // Other numbers for the same names: numbered in the order in which they appear.
    expect(await model.score({ x, label: Array.from(label, String) })).toEqual(scores);
    const unknown = (value: number) => ({ x, label: label.map((known, row) => (row === 4 ? value : known)) });
    for (const value of [10, -1]) {
      const refused = { code: "data", message: expect.stringMatching(new RegExp(`unknown category ${value} of label in row 4`)) };
      await expect(model.score(unknown(value))).rejects.toMatchObject(refused);
      await expect(model.fit(unknown(value), training)).rejects.toMatchObject(refused);
    }
    await expect(model.evaluate(x)).rejects.toMatchObject({ code: "data", message: expect.stringMatching(/no field "label"/) });
    await expect(model.score({ x, label: label.subarray(1) })).rejects.toMatchObject({ code: "shape" });
  });

  it("encodes and reconstructs rows that have no class: neither depends on it", async () => {
    const { x, label } = held!;
    expect(await model.encode(x)).toEqual(await model.encode(held!));
    expect(await model.reconstruct(x)).toEqual(await model.reconstruct(held!));
    const [from, to] = [x.subarray(0, PIXELS), x.subarray(PIXELS, 2 * PIXELS)];
    expect(await model.interpolate(from, to, 3)).toHaveLength(3 * PIXELS);
    // A class that is there is looked at all the same.
    const unknown = { x, label: label.map((known, row) => (row === 4 ? 10 : known)) };
    await expect(model.encode(unknown)).rejects.toMatchObject({ code: "data", message: expect.stringMatching(/unknown category 10/) });
  });

  it("saves and loads", async () => {
    await expectSameAfterLoad(model, held!, { freeze: training.freeze });
  });
});
