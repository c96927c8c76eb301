// Groups of parameters: which optimizer, rate and loss each has, and which stay as they are.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mean, multiply, square, subtract } from "../../lib/graph/index.js";
import {
  adam,
  adamW,
  batchNorm,
  clipNorm,
  defineObjective,
  dense,
  dropout,
  type GradientTransform,
  klContributions,
  linear,
  load,
  logLikelihood,
  sgd,
  sumContributions,
  type TrainSettings,
  type Vae,
  VaeError,
  type VaeOptions,
  vae,
} from "../../lib/index.js";
import { Fields, type NamedParameter } from "../../lib/nn/index.js";
import { assign, matches, readGrouping } from "../../lib/train/groups.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 6;
const rows = clusteredRows(64, SIZE);
const options: VaeOptions = {
  input: [SIZE],
  latent: 2,
  encoder: [dense(8), batchNorm({ activation: "tanh" }), dropout(0.2)],
  decoder: [dense(8, { activation: "tanh" })],
  likelihood: "bernoulli",
};
const modelOf = (change: Partial<VaeOptions> = {}): Vae => vae({ ...options, ...change, device: "cpu", threads: 1 });
const batch = { batchSize: 16 };

type Weights = ReadonlyMap<string, Float32Array>;
async function weightsOf(model: Vae): Promise<Weights> {
  return new Map([...(await model.parameters())].map(([name, { data }]) => [name, data]));
}

/** The weights before and after a training of a new model. */
async function trained(
  training: TrainSettings & { readonly steps?: number },
  change: Partial<VaeOptions> = {},
): Promise<readonly [Weights, Weights]> {
  await using model = modelOf(change);
  const before = await weightsOf(model);
  await model.fit(rows, { ...batch, ...training });
  return [before, await weightsOf(model)];
}

const changed = (before: Weights, after: Weights): string[] =>
  [...before].filter(([name, data]) => data.some((value, i) => !Object.is(value, after.get(name)![i]))).map(([name]) => name);
const normOf = (before: Weights, after: Weights, prefix: string): number =>
  Math.hypot(
    ...[...before].flatMap(([name, data]) =>
      name.startsWith(prefix) && !name.includes("running") ? [...data].map((value, i) => after.get(name)![i]! - value) : [],
    ),
  );

const ENCODER = [
  "encoder.0.weight",
  "encoder.0.bias",
  "encoder.1.gain",
  "encoder.1.bias",
  "encoder.1.runningMean",
  "encoder.1.runningVariance",
  "encoder.head.weight",
  "encoder.head.bias",
];
const DECODER = ["decoder.0.weight", "decoder.0.bias", "decoder.head.weight", "decoder.head.bias"];

describe("a pattern", () => {
  const names = [...ENCODER, ...DECODER, "encoder.block.layers.0.weight", "encoder.01.weight", "likelihood.logScale", "headless"];
  const fitting = (pattern: string) => names.filter((name) => matches(pattern, name));
  it.each<[string, string[]]>([
    ["decoder", DECODER],
    ["encoder.0", ["encoder.0.weight", "encoder.0.bias"]],
    ["encoder.0.weight", ["encoder.0.weight"]],
    ["*.head", ["encoder.head.weight", "encoder.head.bias", "decoder.head.weight", "decoder.head.bias"]],
    ["**.bias", ["encoder.0.bias", "encoder.1.bias", "encoder.head.bias", "decoder.0.bias", "decoder.head.bias"]],
    ["encoder.*.weight", ["encoder.0.weight", "encoder.head.weight", "encoder.01.weight"]],
    ["encoder.**.weight", ["encoder.0.weight", "encoder.head.weight", "encoder.block.layers.0.weight", "encoder.01.weight"]],
    ["**.running*", ["encoder.1.runningMean", "encoder.1.runningVariance"]],
    ["**.layers", ["encoder.block.layers.0.weight"]],
    ["like*.log*", ["likelihood.logScale"]],
    ["**", names],
    ["*", names],
    ["head", []],
    ["*.*.*.*.*.*", []],
    ["encoder.0.weight.more", []],
    ["encode", []],
    ["decoder.?", []],
    ["encoder..0", []],
  ])("%s", (pattern, expected) => {
    expect(fitting(pattern)).toEqual(expected);
  });

  it("takes the signs of expressions for themselves", () => {
    expect(matches("a+(b)*", "a+(b)c.weight")).toBe(true);
    expect(matches("a+(b)", "aab.weight")).toBe(false);
    expect(matches("[ab]", "a.weight")).toBe(false);
  });
});

describe("a parameter", () => {
  const parameter = (name: string, trainable = true): NamedParameter => ({ name, shape: [], initializer: "zeros", trainable });
  const parameters = [
    parameter("encoder.0.weight"),
    parameter("encoder.0.mean", false),
    parameter("encoder.1.weight"),
    parameter("decoder.0.weight"),
  ];
  const assigned = (training: object) => {
    const { trained: moved, frozen } = assign(parameters, readGrouping(new Fields("fit", training)), "fit");
    return [
      moved.map(({ parameter: { name }, optimizer, rate, loss }) => `${name} ${optimizer?.kind ?? "-"} ${rate} ${loss}`),
      [...frozen],
    ];
  };

  it("belongs to the first group that selects it, to what is frozen before all others, and to none where none does", () => {
    expect(assigned({})).toEqual([["encoder.0.weight - 1 loss", "encoder.1.weight - 1 loss", "decoder.0.weight - 1 loss"], []]);
    const groups = [
      { select: ["encoder.0"], optimizer: sgd(), rate: 2 },
      { select: ["encoder", "decoder"], loss: "other" },
    ];
    expect(assigned({ groups })).toEqual([["encoder.0.weight sgd 2 loss", "encoder.1.weight - 1 other", "decoder.0.weight - 1 other"], []]);
    expect(assigned({ groups, freeze: ["encoder.0"] })).toEqual([
      ["encoder.1.weight - 1 other", "decoder.0.weight - 1 other"],
      ["encoder.0.weight", "encoder.0.mean"],
    ]);
    expect(assigned({ groups: [{ select: ["decoder"], optimizer: "frozen" }] })[1]).toEqual(["decoder.0.weight"]);
  });

  it("has the rate of its group times the first that fits its name; a rate of zero freezes it", () => {
    const rates = { "encoder.0": 0.5, encoder: 0.25, decoder: 0 };
    expect(assigned({ rates, groups: [{ select: ["**"], rate: 3 }] })).toEqual([
      ["encoder.0.weight - 1.5 loss", "encoder.1.weight - 0.75 loss"],
      ["decoder.0.weight"],
    ]);
  });
});

describe("freeze", () => {
  it("keeps weights and running statistics to the bit, and the others train", async () => {
    const [before, after] = await trained({ steps: 6, freeze: ["encoder"] });
    expect(changed(before, after).sort()).toEqual([...DECODER].sort());
  });

  it("of biases, of statistics and of one layer keeps just these", async () => {
    const [before, after] = await trained({ steps: 3, freeze: ["**.bias", "**.runningMean", "decoder.head"] });
    const kept = [...ENCODER, ...DECODER].filter(
      (name) => name.endsWith("bias") || name.endsWith("runningMean") || name.startsWith("decoder.head"),
    );
    expect(changed(before, after).sort()).toEqual([...ENCODER, ...DECODER].filter((name) => !kept.includes(name)).sort());
  });

  it("by a group or a rate of zero is the same, to the bit", async () => {
    const [, wanted] = await trained({ steps: 4, freeze: ["encoder.0"] });
    const [, byGroup] = await trained({ steps: 4, groups: [{ select: ["encoder.0"], optimizer: "frozen" }] });
    const [, byRate] = await trained({ steps: 4, rates: { "encoder.0": 0 } });
    expect(byGroup).toEqual(wanted);
    expect(byRate).toEqual(wanted);
  });

  it("of nothing changes nothing", async () => {
    const [, wanted] = await trained({ steps: 3 });
    expect((await trained({ steps: 3, freeze: [], groups: [], rates: {} }))[1]).toEqual(wanted);
  });

  it("holds no memory for the slots of what is frozen", async () => {
    await using model = modelOf();
    await model.fit(rows, { ...batch, steps: 1, freeze: ["encoder", "decoder.0"] });
    // Two moments of a weight [8, 6] and a bias [6], four bytes each.
    expect(model.memory().optimizer).toBe(2 * (8 * SIZE + SIZE) * 4);
  });
});

describe("rates", () => {
  it("scale the moves of plain SGD exactly, and only those that they name", async () => {
    const optimizer = sgd({ learningRate: 0.05 });
    const [before, plain] = await trained({ steps: 1, optimizer });
    const [, scaled] = await trained({
      steps: 1,
      optimizer,
      rates: { "encoder.0": 0.5 },
      groups: [{ select: ["encoder.0.weight", "decoder.head"], rate: 0.5 }],
    });
    const factors: Record<string, number> = {
      "encoder.0.weight": 0.25,
      "encoder.0.bias": 0.5,
      "decoder.head.weight": 0.5,
      "decoder.head.bias": 0.5,
    };
    for (const [name, data] of before) {
      const factor = factors[name] ?? 1;
      // Powers of two are exact in float32: what is compared is rounded once, as the weight itself.
      const expected = factor === 1 ? plain.get(name)! : data.map((value, i) => value + factor * Math.fround(plain.get(name)![i]! - value));
      expect(scaled.get(name), name).toEqual(expected);
    }
    expect(changed(before, plain)).toContain("encoder.0.weight");
  });

  it("scale what Adam takes as another learning rate does", async () => {
    const [before, fast] = await trained({ steps: 1, optimizer: adam({ learningRate: 4e-3 }) });
    const [, scaled] = await trained({ steps: 1, optimizer: adam({ learningRate: 1e-3 }), rates: { "**": 4 } });
    expect(changed(before, scaled)).toContain("decoder.0.weight");
    for (const [name, data] of fast) {
      for (const [i, value] of data.entries()) expect(Math.abs(scaled.get(name)![i]! - value), name).toBeLessThan(1e-6);
    }
  });
});

describe("groups with optimizers of their own", () => {
  const groups = [
    { select: ["encoder"], optimizer: adam({ learningRate: 2e-3 }) },
    { select: ["decoder"], optimizer: sgd({ learningRate: 0.1, momentum: 0.5 }) },
  ];

  it("move as they would in a training by that optimizer alone", async () => {
    const [, both] = await trained({ steps: 1, groups });
    const [, byAdam] = await trained({ steps: 1, optimizer: adam({ learningRate: 2e-3 }) });
    const [before, bySgd] = await trained({ steps: 1, optimizer: sgd({ learningRate: 0.1, momentum: 0.5 }) });
    for (const name of ENCODER) expect(both.get(name), name).toEqual(byAdam.get(name));
    for (const name of DECODER) expect(both.get(name), name).toEqual(bySgd.get(name));
    expect(changed(before, both).sort()).toEqual([...ENCODER, ...DECODER].sort());
  });

  it("keep their slots from training to training: two trainings are one of as many steps", async () => {
    const [, whole] = await trained({ steps: 8, groups });
    await using model = modelOf();
    await model.fit(rows, { ...batch, steps: 3, groups });
    await model.fit(rows, { ...batch, steps: 5, groups });
    expect(await weightsOf(model)).toEqual(whole);
  });

  it("leave the training's own optimizer to the rest", async () => {
    const training = { steps: 1, optimizer: sgd({ learningRate: 0.1, momentum: 0.5 }) };
    const [, both] = await trained({ ...training, groups: [groups[0]!] });
    expect(both).toEqual((await trained({ steps: 1, groups }))[1]);
  });

  it("begin slots of another kind with zeros, and the others go on", async () => {
    await using model = modelOf();
    await model.fit(rows, { ...batch, steps: 4, optimizer: adam() });
    await model.fit(rows, { ...batch, steps: 2, groups: [{ select: ["encoder.head"], optimizer: adamW() }] });
    expect(model.training.step).toBe(6);
    expect(model.training.slots).toEqual({
      "encoder.head.weight": { kind: "adamW", start: 4 },
      "encoder.head.bias": { kind: "adamW", start: 4 },
    });
    expect(model.training.optimizerStart).toBe(0);
  });

  it("have schedules that begin with the training", async () => {
    // A rate that is 0 from the first step on moves nothing; one that rises from 0 moves nothing in its first step.
    const rising = { select: ["encoder"], optimizer: sgd({ learningRate: linear({ from: 0, to: 1, steps: 2 }) }) };
    await using model = modelOf({ encoder: [dense(5)] });
    await model.fit(rows, { ...batch, steps: 3, optimizer: sgd() });
    const before = await weightsOf(model);
    await model.fit(rows, { ...batch, steps: 1, groups: [rising] });
    expect(changed(before, await weightsOf(model)).filter((name) => name.startsWith("encoder"))).toEqual([]);
    await model.fit(rows, { ...batch, steps: 2, groups: [rising] });
    expect(changed(before, await weightsOf(model)).filter((name) => name.startsWith("encoder"))).toHaveLength(4);
  });
});

describe("unfreezing", () => {
  it("starts slots anew: the first step of Adam is a first step, whatever went before", async () => {
    const learningRate = 1e-3;
    await using model = modelOf({ encoder: [dense(8, { activation: "tanh" })] });
    await model.fit(rows, { ...batch, steps: 5, optimizer: adam({ learningRate }), freeze: ["encoder"] });
    const before = await weightsOf(model);
    await model.fit(rows, { ...batch, steps: 1 });
    const after = await weightsOf(model);
    // A first step is lr · g / (|g| + ε); corrections of a sixth step would make it about half of that.
    const moves = [...before.get("encoder.0.weight")!].map((value, i) => Math.abs(after.get("encoder.0.weight")![i]! - value));
    for (const move of moves) expect(Math.abs(move / learningRate - 1)).toBeLessThan(0.01);
    expect(model.training.slots).toEqual(
      Object.fromEntries(
        ["encoder.0.weight", "encoder.0.bias", "encoder.head.weight", "encoder.head.bias"].map((name) => [
          name,
          { kind: "adam", start: 5 },
        ]),
      ),
    );
    expect(model.training.optimizerStart).toBe(0);
  });

  it("goes on with the slots of what was trained before it was frozen", async () => {
    await using model = modelOf();
    await model.fit(rows, { ...batch, steps: 3 });
    const { optimizer } = model.memory();
    await model.fit(rows, { ...batch, steps: 2, freeze: ["encoder"] });
    expect(model.memory().optimizer).toBe(optimizer);
    await model.fit(rows, { ...batch, steps: 1 });
    expect(model.training.slots).toBeUndefined();
    expect(model.training.optimizerStart).toBe(0);
  });
});

describe("a model that was trained in groups", () => {
  it("is saved and loaded, and goes on with the very same run, bit for bit", async () => {
    const folder = await mkdtemp(join(tmpdir(), "node-vae-"));
    try {
      const training = {
        ...batch,
        steps: 5,
        groups: [
          { select: ["encoder.0", "encoder.1"], optimizer: sgd({ learningRate: 0.05, momentum: 0.9 }) },
          { select: ["decoder.0"], rate: 0.5 },
          { select: ["encoder.head.bias"], optimizer: adamW({ learningRate: 1e-2 }) },
        ],
        freeze: ["decoder.head", "**.runningVariance"],
      };
      await using whole = modelOf();
      await whole.fit(rows, training);
      const path = join(folder, "groups.vae");
      await whole.save(path);
      await using again = await load(path, { device: "cpu", threads: 1 });
      expect(again.training).toEqual(whole.training);
      expect(again.training.slots).toMatchObject({
        "encoder.0.weight": { kind: "sgd", start: 0 },
        "encoder.head.bias": { kind: "adamW", start: 0 },
      });
      expect(await weightsOf(again)).toEqual(await weightsOf(whole));
      expect(again.memory().optimizer).toBe(whole.memory().optimizer);
      for (const model of [whole, again]) await model.fit(rows, training);
      expect(await weightsOf(again)).toEqual(await weightsOf(whole));
      // As one training of ten steps, and on without groups.
      expect(await weightsOf(again)).toEqual((await trained({ ...training, steps: 10 }))[1]);
      for (const model of [whole, again]) await model.fit(rows, { ...batch, steps: 3 });
      expect(await weightsOf(again)).toEqual(await weightsOf(whole));
      expect(again.training).toEqual(whole.training);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("losses of groups", () => {
  defineObjective("groups.two", {
    parse: () => ({ kind: "groups.two" }),
    declare: () => ({ parameters: { own: { shape: [], initializer: "ones" } } }),
    terms: (_, { trace, scope }) => {
      const all = trace();
      const elbo = subtract(mean(logLikelihood(all)), mean(sumContributions(klContributions(all))));
      return { loss: multiply(-1, elbo), ownLoss: square(subtract(scope.parameters.own!, 3)) };
    },
  });
  const objective = { kind: "groups.two" } as const;

  it("move only the group's parameters, and these by nothing else", async () => {
    const optimizer = sgd({ learningRate: 0.25 });
    const [, both] = await trained({ steps: 1, optimizer, groups: [{ select: ["objective"], loss: "ownLoss" }] }, { objective });
    // 1 − ¼ · 2 (1 − 3)
    expect([...both.get("objective.own")!]).toEqual([2]);
    const [, without] = await trained({ steps: 1, optimizer });
    for (const [name, data] of without) expect(both.get(name), name).toEqual(data);
  });

  it("that are no terms are refused", async () => {
    const groups = [{ select: ["objective"], loss: "ownLos" }];
    await expect(trained({ steps: 1, groups }, { objective })).rejects.toThrow(
      /there is no term "ownLos" to minimise\n.*did you mean "ownLoss"\? terms: loss, ownLoss/,
    );
  });
});

describe("clipping", () => {
  const optimizer = (limit?: number) => sgd({ learningRate: 1, ...(limit === undefined ? {} : { clipNorm: limit }) });
  const close = (value: number, expected: number) => expect(Math.abs(value / expected - 1)).toBeLessThan(1e-3);

  it("by an optimizer's clipNorm bounds the move of all its parameters together", async () => {
    const [before, after] = await trained({ steps: 1, optimizer: optimizer(0.01) });
    close(normOf(before, after, ""), 0.01);
    const [, unclipped] = await trained({ steps: 1, optimizer: optimizer(1e9) });
    expect(normOf(before, unclipped, "")).toBeGreaterThan(0.1);
    expect(unclipped).toEqual((await trained({ steps: 1, optimizer: optimizer() }))[1]);
  });

  it("is each group's own where groups have optimizers of their own", async () => {
    const groups = [
      { select: ["encoder"], optimizer: optimizer(0.01) },
      { select: ["decoder"], optimizer: optimizer(0.02) },
    ];
    const [before, after] = await trained({ steps: 1, groups });
    close(normOf(before, after, "encoder"), 0.01);
    close(normOf(before, after, "decoder"), 0.02);
  });

  it("as a transform comes before the optimizers and spans all of them", async () => {
    const gradientTransforms = [clipNorm(0.01)];
    const [before, after] = await trained({ steps: 1, optimizer: optimizer(), gradientTransforms });
    expect(after).toEqual((await trained({ steps: 1, optimizer: optimizer(0.01) }))[1]);
    const groups = [{ select: ["encoder"], optimizer: optimizer() }];
    const [, inGroups] = await trained({ steps: 1, optimizer: optimizer(), groups, gradientTransforms });
    close(normOf(before, inGroups, ""), 0.01);
    const both = await trained({ steps: 1, optimizer: optimizer(0.005), gradientTransforms });
    close(normOf(...both, ""), 0.005);
  });

  it("by a transform of a user's sees every trained parameter by name, and what is frozen not", async () => {
    const seen: string[] = [];
    const reversed: GradientTransform = (gradients) => {
      seen.push(...gradients.map(({ name }) => name));
      return [...gradients].reverse().map((each) => ({ ...each, gradient: multiply(each.gradient, 0.5) }));
    };
    const [, after] = await trained({ steps: 1, optimizer: optimizer(), gradientTransforms: [reversed], freeze: ["encoder"] });
    expect([...new Set(seen)].sort()).toEqual([...DECODER].sort());
    expect(after).toEqual((await trained({ steps: 1, optimizer: sgd({ learningRate: 0.5 }), freeze: ["encoder"] }))[1]);
  });
});

describe("refused", () => {
  it.each<[string, object, RegExp]>([
    [
      "a pattern that fits nothing",
      { freeze: ["encodr"] },
      /^fit: no parameter fits the pattern "encodr"\n.*did you mean "encoder"\?.*parameters\(\): /,
    ],
    ["one in a group", { groups: [{ select: ["encoder", "*.heads"] }] }, /no parameter fits the pattern "\*\.heads"/],
    ["one of a rate", { rates: { "encoder.9": 0.5 } }, /no parameter fits the pattern "encoder\.9"/],
    ["everything frozen", { freeze: ["**"] }, /^fit: every parameter is frozen; expected at least one that is trained/],
    ["patterns that are no list", { freeze: "encoder" }, /^fit: expected freeze to be patterns of names, such as .*received "encoder"/],
    ["an empty pattern", { freeze: [""] }, /freeze to be patterns of names/],
    ["a group without a pattern", { groups: [{ select: [] }] }, /fit groups\[0\]: expected select to be patterns of names/],
    ["a group without select", { groups: [{ rate: 1 }] }, /fit groups\[0\]: expected select to be patterns/],
    ["groups that are no list", { groups: { select: ["encoder"] } }, /groups to be an array of groups/],
    ["a hole in the list", { groups: Array(1) }, /groups\[0\]/],
    [
      "an unknown option of a group",
      { groups: [{ select: ["encoder"], optimiser: adam() }] },
      /groups\[0\]: unknown option "optimiser"[\s\S]*did you mean "optimizer"/,
    ],
    [
      "an unknown optimizer",
      { groups: [{ select: ["encoder"], optimizer: "frosen" }] },
      /groups\[0\] optimizer: unknown optimizer kind "frosen"/,
    ],
    [
      "a negative rate",
      { groups: [{ select: ["encoder"], rate: -1 }] },
      /groups\[0\]: expected rate to be a finite number of at least 0; received -1/,
    ],
    ["a negative factor", { rates: { encoder: -0.5 } }, /fit rates: expected encoder to be a finite number of at least 0; received -0\.5/],
    ["a factor that is no number", { rates: { encoder: "1" } }, /fit rates: expected encoder to be .*received "1"/],
    ["factors in a list", { rates: [0.5] }, /rates to be factors by patterns of names/],
    ["a loss that is no name", { groups: [{ select: ["encoder"], loss: 3 }] }, /groups\[0\]: expected loss to be the name of a term/],
    [
      "a loss that is no term",
      { groups: [{ select: ["encoder"], loss: "kll" }] },
      /there is no term "kll" to minimise\n.*did you mean "kl"/,
    ],
    [
      "a transform that loses a gradient",
      { gradientTransforms: [(all: unknown[]) => all.slice(1)] },
      /gradient transform: expected the gradients of all parameters/,
    ],
    [
      "a transform that gives nothing",
      { gradientTransforms: [() => undefined] },
      /gradient transform: expected the gradients of all parameters/,
    ],
  ])("%s, and the model stays as it was", async (_, training, message) => {
    await using model = modelOf();
    const before = await weightsOf(model);
    const error = await model.fit(rows, { ...batch, steps: 1, ...training } as TrainSettings).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(VaeError);
    expect((error as VaeError).message).toMatch(message);
    expect(model.training).toMatchObject({ step: 0, optimizer: null });
    expect(await weightsOf(model)).toEqual(before);
    await expect(model.fit(rows, { ...batch, steps: 1 })).resolves.toMatchObject({ steps: 1 });
  });
});
