// What users' families may get wrong.
import { describe, expect, it } from "vitest";
import {
  type Distribution,
  type FamilyBehaviour,
  type FamilyContext,
  gaussianDistribution,
  type Role,
} from "../../lib/distributions/index.js";
import { broadcastTo, constantTensor, input, reshapeTensor, sum, type Tensor } from "../../lib/graph/index.js";
import { defineDivergence, defineLikelihood, definePosterior, definePrior, VaeError, type VaeOptions, vae } from "../../lib/index.js";
import { Noise, Pass } from "../../lib/nn/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";
import { tensor } from "../support/distributions.js";
import { numbers } from "../support/feeds.js";

describe("what families of a user get wrong is told with their names", () => {
  const right = (given: Tensor, size: number): Distribution =>
    gaussianDistribution(reshapeTensor(given, [given.shape[0]!, size]), constantTensor(0));
  let count = 0;
  /** The terms of a model one of whose families is right but for this. */
  const build =
    (role: Role, behaviour: Partial<FamilyBehaviour>, change: Partial<VaeOptions> = {}) =>
    () => {
      const kind = `families.wrong${count++}`;
      const define = { posterior: definePosterior, prior: definePrior, likelihood: defineLikelihood }[role] as typeof defineLikelihood;
      define(kind, {
        parse: () => ({ kind }),
        ...(role === "prior" ? {} : { headShape: (_, event) => event }),
        distribution: (_, given, { event, rows }: FamilyContext) =>
          right(given ?? broadcastTo(constantTensor(0), [rows, event[0]!]), event[0]!),
        ...behaviour,
      });
      const options = { input: [3], latent: 2, encoder: [], decoder: [], likelihood: "bernoulli", ...change, [role]: kind };
      const architecture = architectureOf(parseConfig(options, "test"));
      return architecture.terms({ x: tensor(numbers(6), [2, 3]) }, new Pass("training", new Noise("training")).scope(architecture.place));
    };
  const giving = (part: object): Partial<FamilyBehaviour> => ({
    distribution: (_, given, { event, rows }) =>
      ({ ...right(given ?? broadcastTo(constantTensor(0), [rows, event[0]!]), event[0]!), ...part }) as Distribution,
  });
  const draws = (part: object): Partial<FamilyBehaviour> =>
    giving({ draw: () => ({ value: tensor([1, 2, 3, 4], [2, 2]), logDensity: tensor([1, 2], [2, 1]), ...part }) });
  const asked = "an object of family, draw, logDensity and, where known, mean and standardDeviation";

  it("but right ones are not refused", () => {
    for (const role of ["posterior", "prior", "likelihood"] as const) expect(Object.keys(build(role, {})())).toContain("loss");
    expect(Object.keys(build("posterior", draws({}))())).toContain("loss");
  });

  it.each<[string, () => unknown, string, RegExp]>([
    [
      "no distribution",
      build("posterior", { distribution: () => undefined as never }),
      "argument",
      new RegExp(`^posterior families\\.wrong\\d+: expected distribution to give ${asked}; received undefined`),
    ],
    [
      "a promise of one",
      build("prior", { distribution: (async () => ({})) as never }),
      "argument",
      /^prior families.*\n.*distribution must not be async/,
    ],
    [
      "one without a draw",
      build("posterior", giving({ draw: undefined })),
      "argument",
      /expected distribution to give an object of family, draw/,
    ],
    ["one without a family", build("likelihood", giving({ family: undefined })), "argument", /^likelihood families.*an object of family/],
    [
      "a mean of another shape",
      build("posterior", giving({ mean: constantTensor(0) })),
      "shape",
      /expected distribution\(\)\.mean to give a float32 tensor \[2, 2\]; received a float32 tensor \[\]/,
    ],
    ["a mean that is no tensor", build("likelihood", giving({ mean: 3 })), "argument", /distribution\(\)\.mean .*received 3/],
    [
      "a standard deviation of another type",
      build("posterior", giving({ standardDeviation: input("i", [2, 2], "int32") })),
      "dtype",
      /standardDeviation .*received a int32 tensor \[2, 2\]\n.*cast\(x\)/,
    ],
    [
      "no draw",
      build("posterior", giving({ draw: () => undefined })),
      "argument",
      /draw\(\)\.value to give a float32 tensor \[2, 2\]; received undefined/,
    ],
    [
      "a draw of another shape",
      build("posterior", draws({ value: tensor([1, 2], [2, 1]) })),
      "shape",
      /draw\(\)\.value .*received a float32 tensor \[2, 1\]/,
    ],
    [
      "a draw without a log-density",
      build("posterior", draws({ logDensity: undefined })),
      "argument",
      /draw\(\)\.logDensity to give a float32 tensor \[2, k\]/,
    ],
    [
      "a draw whose log-density is summed",
      build("posterior", draws({ logDensity: tensor([1, 2], [2]) })),
      "shape",
      /\[2, k\], contributions .*received a float32 tensor \[2\]\n.*leave out the sum over the last axis/,
    ],
    [
      "a log-density of too many rows",
      build("likelihood", giving({ logDensity: () => tensor([1, 2, 3], [3, 1]) })),
      "shape",
      /distribution\(\)\.logDensity to give a float32 tensor \[2, k\].*received a float32 tensor \[3, 1\]/,
    ],
    ["a log-density that is a number", build("likelihood", giving({ logDensity: () => 3 })), "argument", /logDensity .*received 3/],
    [
      "a head of half a value",
      build("posterior", { headShape: () => [0.5] }),
      "shape",
      /^posterior families.*expected headShape to give .*received \[0\.5\]/,
    ],
    ["a head without axes", build("likelihood", { headShape: () => [] }), "shape", /headShape to give a shape of at least one axis/],
    [
      "no head where a network must give one",
      build("likelihood", { headShape: () => undefined }),
      "shape",
      /headShape to give the shape of what the decoder must give; received undefined/,
    ],
    [
      "a prior that asks for a network",
      build("prior", { headShape: (_, event) => event }),
      "architecture",
      /^prior families.*this prior needs a network, and a flat model has none for it/,
    ],
    [
      "a declaration that is none",
      build("prior", { declare: () => 3 as never }),
      "argument",
      /prior.*declare to give an object \{ parameters\?, networks\?, parts\? \}; received 3/,
    ],
    [
      "prepared rows of another shape",
      build("likelihood", { prepare: (_, rows) => sum(rows) }),
      "shape",
      /^likelihood families.*prepare to give a float32 tensor \[2, 3\]; received a float32 tensor \[\]/,
    ],
  ])("%s", (_, make, code, message) => {
    expect(make).toThrow(VaeError);
    expect(make).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  it("a range that is none, where data are checked", async () => {
    defineLikelihood("families.range", {
      parse: () => ({ kind: "families.range" }),
      headShape: (_, event) => event,
      distribution: (_, given) => right(given!, 3),
      range: () => ({ low: 1, high: 0 }),
    });
    await using model = vae({
      input: [3],
      latent: 2,
      encoder: [],
      decoder: [],
      likelihood: { kind: "families.range" },
      device: "cpu",
      threads: 1,
    });
    await expect(model.evaluate(Float32Array.of(0, 1, 2))).rejects.toThrow(
      /^likelihood families\.range: expected range to give \{ low, high \}, two numbers; received/,
    );
  });

  it.each<[string, unknown, RegExp]>([
    [
      "no tensor",
      3,
      /^divergence of families\.odd and standardNormal: expected the function to give a float32 tensor \[2, k\].*received 3/,
    ],
    ["a sum", tensor([1, 2], [2]), /received a float32 tensor \[2\]\n.*leave out the sum/],
    ["a mean", tensor([1], [1, 1]), /received a float32 tensor \[1, 1\]/],
  ])("a divergence that gives %s", (_, value, message) => {
    defineDivergence("families.odd", "standardNormal", () => value as Tensor);
    expect(build("posterior", giving({ family: "families.odd" }))).toThrow(VaeError);
    expect(build("posterior", giving({ family: "families.odd" }))).toThrow(message);
  });

  it("a divergence that knows no closed form for these two is estimated", () => {
    defineDivergence("families.odd", "standardNormal", () => undefined);
    expect(Object.keys(build("posterior", giving({ family: "families.odd" }))())).toContain("kl");
  });
});
