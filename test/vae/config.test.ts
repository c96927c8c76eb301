import { describe, expect, it } from "vitest";
import { bernoulli, gaussian, gaussianPosterior, standardNormal } from "../../lib/distributions/index.js";
import { VaeError } from "../../lib/errors.js";
import { adam, dense, linear, parametersIn, reshape } from "../../lib/nn/index.js";
import { checkParameters } from "../../lib/train/check-weights.js";
import { architectureOf, summarize } from "../../lib/vae/architecture.js";
import { parseConfig, type VaeConfig, type VaeOptions } from "../../lib/vae/config.js";
import { elbo } from "../../lib/vae/index.js";

const digits: VaeOptions = {
  input: [28, 28, 1],
  latent: 20,
  encoder: [dense(400, { activation: "relu" })],
  decoder: [dense(400, { activation: "relu" })],
  likelihood: "bernoulli",
};

describe("a configuration", () => {
  it("is complete, frozen and goes through JSON", () => {
    const config = parseConfig(digits, "vae") as VaeConfig;
    expect(config).toMatchObject({
      posterior: { kind: "gaussian", logVarianceRange: [-30, 20] },
      prior: { kind: "standardNormal" },
      likelihood: { kind: "bernoulli", binarize: "none" },
      objective: { kind: "elbo", beta: 1, kl: "closed" },
      seed: 1,
    });
    expect(Object.isFrozen(config.encoder)).toBe(true);
    expect(parseConfig(JSON.parse(JSON.stringify(config)), "load")).toEqual(config);
  });

  it("takes every part as a value", () => {
    const config = parseConfig(
      {
        ...digits,
        posterior: gaussianPosterior({ logVarianceRange: [-10, 10] }),
        prior: standardNormal(),
        likelihood: gaussian({ scale: "learned" }),
        objective: elbo({ beta: linear({ from: 0, to: 1, steps: 100 }), kl: "monteCarlo" }),
      },
      "vae",
    );
    expect(parseConfig(JSON.parse(JSON.stringify(config)), "load")).toEqual(config);
  });

  it.each<[string, object, RegExp]>([
    ["negative latent", { latent: -1 }, /latent to be a whole number of at least 1; received -1/],
    ["fractional latent", { latent: 2.5 }, /latent/],
    ["latent that is not a number", { latent: "20" }, /latent/],
    ["negative input", { input: [28, -28] }, /input to be a shape of whole numbers of at least 1; received \[28,-28\]/],
    ["fractional input", { input: [1.5] }, /input/],
    ["scalar input", { input: [] }, /at least one axis/],
    ["no likelihood", { likelihood: undefined }, /likelihood to be one of/],
    ["unknown likelihood", { likelihood: "bernouli" }, /did you mean "bernoulli"/],
    ["unknown posterior", { posterior: "gausian" }, /did you mean "gaussian"/],
    ["unknown prior", { prior: { kind: "standard" } }, /unknown prior kind "standard"/],
    ["unknown objective", { objective: "elb" }, /did you mean "elbo"/],
    ["an optimizer as a layer", { encoder: [adam()] }, /encoder\[0\]: unknown layer kind "adam"/],
    ["a layer without a list", { encoder: dense(3) }, /encoder to be an array of layers/],
    ["no encoder", { encoder: undefined }, /encoder to be an array of layers/],
    ["fractional units", { decoder: [{ kind: "dense", units: 1.5 }] }, /decoder\[0\]: dense: expected units/],
    ["negative β", { objective: { kind: "elbo", beta: -1 } }, /beta/],
    ["σ of zero", { likelihood: { kind: "gaussian", scale: 0 } }, /scale/],
    ["turned range", { posterior: { kind: "gaussian", logVarianceRange: [1, -1] } }, /logVarianceRange/],
    ["fractional seed", { seed: 0.5 }, /seed/],
    ["unknown option", { latnet: 3 }, /unknown option "latnet"[\s\S]*did you mean "latent"/],
  ])("is refused: %s", (_, change, message) => {
    const make = () => parseConfig({ ...digits, ...change }, "vae");
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
  });
});

describe("an architecture", () => {
  it("derives the heads and names the parameters", () => {
    const architecture = architectureOf(parseConfig(digits, "vae"));
    expect(architecture.parameters.map(({ name, shape }) => `${name} ${shape.join("x")}`)).toEqual([
      "encoder.0.weight 784x400",
      "encoder.0.bias 400",
      "encoder.head.weight 400x40",
      "encoder.head.bias 40",
      "decoder.0.weight 20x400",
      "decoder.0.bias 400",
      "decoder.head.weight 400x784",
      "decoder.head.bias 784",
    ]);
    expect(summarize(architecture)).toMatch(/total +652,824$/);
    expect(summarize(architecture)).toMatch(/encoder\.0 +dense +28 × 28 × 1 +400 +314,000/);
  });

  it("takes layer lists that end in the right shape by themselves", () => {
    const { encoder, decoder } = architectureOf(
      parseConfig({ ...digits, encoder: [dense(40)], decoder: [dense(784), reshape([28, 28, 1])] }, "vae"),
    ).place.networks;
    expect(encoder!.entries.map(({ name }) => name)).toEqual(["encoder.0"]);
    expect(decoder!.entries.map(({ name }) => name)).toEqual(["decoder.0", "decoder.1"]);
  });

  it("has parameters of likelihoods too", () => {
    const names = (scale: "learned" | "perDimension") =>
      parametersIn(architectureOf(parseConfig({ ...digits, likelihood: gaussian({ scale }) }, "vae")).place.parts.likelihood!).map(
        ({ name, shape }) => [name, shape],
      );
    expect(names("learned")).toEqual([["likelihood.logScale", []]]);
    expect(names("perDimension")).toEqual([["likelihood.logScale", [784]]]);
  });

  it("refuses the weights of another one", () => {
    const small = architectureOf(parseConfig({ ...digits, input: [4], encoder: [], decoder: [], latent: 1 }, "vae"));
    const weights = new Map<string, { data: ArrayLike<number> }>(
      small.parameters.map(({ name, shape }) => [name, { data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }]),
    );
    expect(() => checkParameters(small.parameters, weights, "load")).not.toThrow();
    expect(() => checkParameters(small.parameters, new Map([...weights, ["extra", { data: [] }]]), "load")).toThrow(
      /unknown weights "extra"/,
    );
    expect(() => checkParameters(small.parameters, new Map([...weights, ["encoder.head.bias", { data: [1] }]]), "load")).toThrow(
      /2 values/,
    );
    expect(() => checkParameters(small.parameters, new Map([...weights].slice(1)), "load")).toThrow(
      /missing weights "encoder.head.weight"/,
    );
  });

  it("makes bernoulli options data", () => {
    expect(bernoulli({ binarize: "stochastic" })).toEqual({ kind: "bernoulli", binarize: "stochastic" });
    expect(() => bernoulli({ binarize: "yes" as "none" })).toThrow(/binarize/);
  });
});
