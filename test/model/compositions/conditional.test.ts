// A conditional VAE (Sohn et al. 2015) of digits by public options alone.
import { beforeAll, describe, expect, it } from "vitest";
import {
  adam,
  category,
  crossEntropy,
  dense,
  film,
  type Given,
  joinCondition,
  network,
  real,
  type VaeOptions,
  vae,
} from "../../../lib/index.js";
import { expectClose } from "../../support/arrays.js";
import { type Digits, digits, expectSameAfterLoad, meanImageBound, PIXELS, withLoaded } from "../../support/digits.js";

const CLASSES = 10;
const relu = dense(64, { activation: "relu" });
const conditions = { label: category(CLASSES) };
const options = { input: [PIXELS], latent: 2, encoder: [relu], decoder: [relu], likelihood: "bernoulli" } as const satisfies VaeOptions;
const build = (change: Partial<VaeOptions> = {}) => vae({ ...options, conditions, ...change, device: "cpu", seed: 1 });
const training = { steps: 500, batchSize: 50, optimizer: adam({ learningRate: 3e-3 }) };

const variants: readonly [name: string, change: Partial<VaeOptions>][] = [
  ["in both networks", {}],
  ["in the decoder alone", { conditions: { label: category(CLASSES, { at: "decoder" }) } }],
  ["by joinCondition", { encoder: [relu, joinCondition("label")], decoder: [joinCondition("label"), relu] }],
  ["by film", { encoder: [relu, film("label")], decoder: [relu, film("label")] }],
];

describe("a conditional VAE", () => {
  let [train, held]: Digits[] = [];
  let [control, read] = [Number.NaN, async (_: Float32Array, __: Int32Array): Promise<number> => Number.NaN];
  const model = build();

  beforeAll(async () => {
    [train, held] = await Promise.all([digits(1000), digits(500, "test")]);
    await model.fit(train, training);
    await using unconditional = build({ conditions: {} });
    await unconditional.fit(train.x, training);
    control = (await unconditional.evaluate(held.x)).elbo;
    const recogniser = network({
      input: [PIXELS],
      layers: [dense(100, { activation: "relu" })],
      loss: crossEntropy(CLASSES),
      device: "cpu",
    });
    await recogniser.fit(train, { steps: 300, batchSize: 50 });
    read = async (x, label) => (await recogniser.evaluate({ x, label })).accuracy;
    return () => {
      model.dispose();
      recogniser.dispose();
    };
  });

  it.each(variants)(
    "told the digit %s explains it 10 nats better than one that is not, and samples what it is asked for",
    async (_, change) => {
      await using own = build(change);
      await own.fit(train!, training);
      expect(control).toBeGreaterThan(meanImageBound(train!, held!) + 10);
      expect((await own.evaluate(held!)).elbo).toBeGreaterThan(control + 10);
      const label = Int32Array.from({ length: 200 }, (_, row) => row % CLASSES);
      expect(await read(held!.x, held!.label)).toBeGreaterThan(0.8);
      expect(await read(await own.sample(200, { seed: 3, given: { label } }), label)).toBeGreaterThan(0.8);
      await expectSameAfterLoad(own, held!, {}, { label: 7 });
    },
  );

  it("takes one condition for all samples or one for each, by number and by name", async () => {
    const sample = (label: Given[string], count = 3) => model.sample(count, { seed: 3, given: { label } });
    const [threes, fours] = [await sample(3), await sample(4)];
    expect(threes).not.toEqual(fours);
    for (const same of ["3", [3], [3, 3, 3], ["3", 3, "3"], Int32Array.of(3, 3, 3), Float32Array.of(3, 3, 3)])
      expect(await sample(same)).toEqual(threes);
    const mixed = await sample([3, 4, 3]);
    expect(mixed.slice(0, PIXELS)).toEqual(threes.slice(0, PIXELS));
    expect(mixed.slice(PIXELS, 2 * PIXELS)).toEqual(fours.slice(PIXELS, 2 * PIXELS));
  });

  it("decodes and interpolates under a condition, its own or another", async () => {
    const rows = { x: held!.x.subarray(0, 4 * PIXELS), label: held!.label.subarray(0, 4) };
    const { mean } = await model.encode(rows);
    expectClose(await model.decode(mean, { given: { label: rows.label } }), await model.reconstruct(rows));
    const asFives = await model.decode(mean, { given: { label: 5 } });
    expect(await read(asFives, new Int32Array(4).fill(5))).toBeGreaterThanOrEqual(0.75);
    const end = (row: number) => ({ x: rows.x.subarray(row * PIXELS, (row + 1) * PIXELS), label: rows.label.subarray(row, row + 1) });
    const path = await model.interpolate(end(0), end(1), 5, { given: { label: 5 } });
    expectClose(path.subarray(0, PIXELS), asFives.subarray(0, PIXELS));
    expectClose(path.subarray(4 * PIXELS), asFives.subarray(PIXELS, 2 * PIXELS));
  });

  it("scores a digit better under its own label than under another", async () => {
    const { x, label } = held!;
    const [right, wrong] = [await model.score(held!), await model.score({ x, label: label.map((digit) => (digit + 5) % CLASSES) })];
    expect(right.filter((score, row) => score < wrong[row]!).length).toBeGreaterThan(0.9 * label.length);
  });

  it("matches categories by name, whatever their numbers in the data", async () => {
    const names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    await using named = build({ conditions: { label: category(names) } });
    await named.setParameters(await model.parameters());
    const texts = { x: held!.x, label: Array.from(held!.label, (digit) => names[digit]!) };
    expect(await named.score(texts)).toEqual(await model.score(held!));
    expect(await named.sample(2, { seed: 1, given: { label: "seven" } })).toEqual(await model.sample(2, { seed: 1, given: { label: 7 } }));
    await expect(named.sample(1, { given: { label: "sevn" } })).rejects.toThrow(
      /10 categories, by name or number; received "sevn"\n.*"seven"/,
    );
    const other = { ...texts, label: texts.label.with(3, "ten") };
    await expect(named.score(other)).rejects.toThrow(/unknown category "ten" of label in row 3/);
    await withLoaded(named, async (loaded) => expect(await loaded.score(texts)).toEqual(await named.score(texts)));
  });

  it("encodes rows that are not told what the decoder alone is told", async () => {
    await using own = build({ conditions: { label: category(CLASSES, { at: "decoder" }) } });
    const rows = held!.x.subarray(0, 3 * PIXELS);
    const { mean } = await own.encode(rows);
    expect(mean).toEqual((await own.encode({ x: rows, label: [1, 2, 3] })).mean);
    expectClose(await own.decode(mean, { given: { label: [1, 2, 3] } }), await own.reconstruct({ x: rows, label: [1, 2, 3] }));
    await expect(own.reconstruct(rows)).rejects.toMatchObject({ code: "data", message: expect.stringMatching(/no field "label"/) });
  });

  it("refuses a buffer that was transferred, and numbers that float32 does not hold", async () => {
    const gone = Int32Array.of(1, 2, 3);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    await expect(model.sample(3, { given: { label: gone } })).rejects.toMatchObject({ code: "detached" });
    await using aged = build({ conditions: { age: real() } });
    for (const age of [1e39, Number.NaN, "7" as never]) {
      const message = expect.stringMatching(/given\.age to hold finite numbers/);
      await expect(aged.sample(2, { given: { age } })).rejects.toMatchObject({ code: "argument", message });
    }
  });

  it.each<[string, (own: typeof model) => Promise<unknown>, string, RegExp]>([
    ["sampling without it", (own) => own.sample(2), "argument", /expected given\.label: the model asks for it.*\n.*given: \{ label/],
    ["decoding without it", (own) => own.decode([[0, 0]]), "argument", /expected given\.label/],
    ["a misspelt one", (own) => own.sample(1, { given: { labl: 3 } }), "argument", /received "labl"\n.*"label"/],
    [
      "one too many",
      (own) => own.sample(1, { given: { label: 3, site: 1 } }),
      "argument",
      /the model's conditions, label; received "site"/,
    ],
    ["an unknown category", (own) => own.sample(1, { given: { label: 10 } }), "argument", /10 categories, by name or number; received 10/],
    ["half a category", (own) => own.sample(1, { given: { label: 0.5 } }), "argument", /received 0\.5/],
    ["an unknown name", (own) => own.sample(1, { given: { label: "ten" } }), "argument", /received "ten"/],
    [
      "too few of them",
      (own) => own.sample(3, { given: { label: [1, 2] } }),
      "argument",
      /one value, or as 3 for 3 rows; received 2 values/,
    ],
    ["no record", (own) => own.sample(3, { given: 3 as never }), "argument", /given as values of conditions by name/],
    ["null", (own) => own.sample(3, { given: { label: null as never } }), "argument", /given\.label/],
    ["true", (own) => own.sample(3, { given: { label: true as never } }), "argument", /given\.label as one value.*received true/],
    ["a symbol", (own) => own.sample(1, { given: { label: [Symbol("3")] as never } }), "argument", /10 categories/],
    ["a nothing", (own) => own.sample(1, { given: { label: [Object.create(null)] as never } }), "argument", /10 categories/],
    ["an object", (own) => own.sample(3, { given: { label: {} as never } }), "argument", /given\.label/],
    ["rows without it", (own) => own.fit(new Float32Array(PIXELS)), "data", /no field "label".*\n.*\n?.*fit\(\{ x, label/],
    ["rows to encode without it", (own) => own.encode(new Float32Array(PIXELS)), "data", /no field "label"/],
    [
      "rows with an unknown one",
      (own) => own.fit({ x: new Float32Array(PIXELS), label: [10] }),
      "data",
      /unknown category 10 of label in row 0/,
    ],
    ["rows with fewer than rows", (own) => own.fit({ x: new Float32Array(2 * PIXELS), label: [1] }), "shape", /label/],
  ])("refuses %s", async (_, call, code, message) => {
    await expect(call(model)).rejects.toMatchObject({ name: "VaeError", code, message: expect.stringMatching(message) });
  });
});
