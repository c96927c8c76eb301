// What the wirings of a user may get wrong.
import { describe, expect, it } from "vitest";
import { gaussianDistribution } from "../../lib/distributions/index.js";
import { constantTensor, reshapeTensor } from "../../lib/graph/index.js";
import { defineWiring, familyOf, type Likelihood, VaeError, type WiringBehaviour } from "../../lib/index.js";
import { Noise, Pass } from "../../lib/nn/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";

/** A model whose wiring is right but for this: three values of x, two latents, the likelihood's mean always 0. */
let count = 0;
const build = (part: Partial<WiringBehaviour>) => () => {
  const kind = `wirings.wrong${count++}`;
  const zeros = (rows: number, size: number) => constantTensor({ data: Array<number>(rows * size).fill(0), shape: [rows, size] });
  defineWiring(kind, {
    parse: () => ({ kind }),
    declare: () => ({
      parameters: { own: { shape: [], initializer: "ones" } },
      parts: { likelihood: familyOf("likelihood", "bernoulli").declare([3]) },
    }),
    observations: () => ({ x: familyOf("likelihood", "bernoulli").value }),
    trace: (_, { x }, scope, samples) => {
      const rows = x!.shape[0]! * samples;
      const posterior = gaussianDistribution(zeros(rows, 2), constantTensor(0));
      const distribution = familyOf("likelihood", "bernoulli").distribution(zeros(rows, 3), {
        event: [3],
        rows,
        scope: scope.part("likelihood"),
      });
      return {
        latents: { z: { posterior, prior: posterior, draw: posterior.draw(scope.noise) } },
        observations: { x: { distribution, value: x! } },
      };
    },
    generate: (_, __, rows, scope) => ({
      x: familyOf("likelihood", "bernoulli").distribution(zeros(rows, 3), { event: [3], rows, scope: scope.part("likelihood") }),
    }),
    ...part,
  });
  const architecture = architectureOf(parseConfig({ wiring: { kind }, fields: { x: [3] } }, "test"));
  const x = reshapeTensor(constantTensor({ data: [0, 1, 0, 1, 0, 1], shape: [6] }), [2, 3]);
  return architecture.terms({ x }, new Pass("training", new Noise("training")).scope(architecture.place));
};
const draw = { value: constantTensor({ data: [1, 2, 3, 4], shape: [2, 2] }), logDensity: constantTensor({ data: [1, 2], shape: [2, 1] }) };
const posterior = gaussianDistribution(draw.value, constantTensor(0));

describe("a wiring of a user", () => {
  it("that is right is not refused, and may name its likelihoods", () => {
    expect(Object.keys(build({})())).toEqual(["loss", "elbo", "reconstruction", "kl"]);
    expect(Object.keys(build({ observations: () => ({ x: "bernoulli" as unknown as Likelihood }) })())).toContain("loss");
  });

  it.each<[string, () => unknown, RegExp]>([
    [
      "no likelihoods",
      build({ observations: () => undefined as never }),
      /^wiring wirings.*expected observations to give likelihoods by the names of fields; received undefined/,
    ],
    [
      "a likelihood of another field",
      build({ observations: () => ({ y: { kind: "bernoulli" } }) }),
      /observations to give likelihoods of the fields x; received "y"/,
    ],
    [
      "an unknown likelihood",
      build({ observations: () => ({ x: { kind: "bernouli" } }) }),
      /observations\.x: unknown likelihood kind "bernouli"\n.*did you mean "bernoulli"/,
    ],
    ["a declaration that is none", build({ declare: () => 3 as never }), /^wiring wirings.*declare to give an object/],
    [
      "no trace",
      build({ trace: () => undefined as never }),
      /trace to give an object \{ latents, observations \} with at least one observation; received undefined/,
    ],
    ["a trace of nothing observed", build({ trace: () => ({ latents: {}, observations: {} }) }), /with at least one observation/],
    [
      "a latent without a prior",
      build({
        trace: () => ({
          latents: { z: { posterior, draw } as never },
          observations: { x: { distribution: posterior, value: draw.value } },
        }),
      }),
      /"z" as \{ posterior, prior, draw \}/,
    ],
    [
      "a latent whose draw has no density",
      build({
        trace: () => ({
          latents: { z: { posterior, prior: posterior, draw: { value: draw.value } as never } },
          observations: { x: { distribution: posterior, value: draw.value } },
        }),
      }),
      /latents\.z\.draw\.logDensity to give a float32 tensor \[2, k\]/,
    ],
    [
      "an observation without a distribution",
      build({ trace: () => ({ latents: {}, observations: { x: { value: draw.value } as never } }) }),
      /"x" as \{ distribution, value \}/,
    ],
  ])("that gives %s is refused by its name", (_, make, message) => {
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
  });
});
