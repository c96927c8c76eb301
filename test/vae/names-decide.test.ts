// Names decide numbers: what is added to a model changes no initial value and no noise of what was there.
import { describe, expect, test } from "vitest";
import { input, mean, sum } from "../../lib/graph/index.js";
import {
  bernoulli,
  category,
  defineObjective,
  defineWiring,
  dense,
  dropout,
  familyOf,
  gaussian,
  klContributions,
  logLikelihood,
  sumContributions,
  type Vae,
  type VaeOptions,
  vae,
} from "../../lib/index.js";
import { Noise, Pass } from "../../lib/nn/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";
import { prepared } from "../../lib/vae/prepare.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 6;
const rows = clusteredRows(24, SIZE);
const options: VaeOptions = {
  input: [SIZE],
  latent: 2,
  encoder: [dense(8, { activation: "tanh", name: "body" }), dropout(0.3, { name: "drop" })],
  decoder: [dense(8, { activation: "tanh" })],
  likelihood: "bernoulli",
  seed: 9,
};

/** The ELBO, with a network of its own that is recorded beside it and drawn for. */
defineObjective("names.watched", {
  parse: () => ({ kind: "names.watched" }),
  declare: () => ({ networks: { critic: { layers: [dense(4)], input: [2], output: [1] } } }),
  terms: (_, { trace, scope }) => {
    const made = trace();
    const loss = mean(sumContributions(klContributions(made)));
    const noise = sum(scope.noise.normal([3]));
    return { loss, reconstruction: mean(logLikelihood(made)), critic: mean(scope.network("critic")(made.latents.z!.draw.value)), noise };
  },
});

async function initialOf(model: Vae): Promise<ReadonlyMap<string, Float32Array>> {
  return new Map([...(await model.parameters())].map(([name, { data }]) => [name, data]));
}

describe("what is added changes nothing else", () => {
  test.each<[string, Partial<VaeOptions>]>([
    ["layers before named ones", { encoder: [dense(SIZE), ...options.encoder] }],
    ["another likelihood with a parameter", { likelihood: gaussian({ scale: "learned" }) }],
    ["an objective with a network", { objective: { kind: "names.watched" } }],
    ["a condition of the decoder", { conditions: { label: category(2, { at: "decoder" }) } }],
  ])("initial values, by %s", async (_name, change) => {
    await using plain = vae({ ...options, device: "cpu" } as VaeOptions);
    await using more = vae({ ...options, ...change, device: "cpu" } as VaeOptions);
    const [before, after] = [await initialOf(plain), await initialOf(more)];
    const same = [...before].filter(([name, values]) => after.get(name)?.length === values.length);
    expect(same.length).toBeGreaterThanOrEqual(change.conditions === undefined ? 6 : 7);
    for (const [name, values] of same) expect(after.get(name), name).toEqual(values);
  });

  test("noise, by terms and networks of an objective", async () => {
    const likelihoods = async (objective: VaeOptions["objective"]) => {
      await using model = vae({ ...options, objective, device: "cpu" } as VaeOptions);
      const { value } = await model.train(rows, { steps: 1, every: 1, batchSize: 8 }).next();
      return (value!.metrics as Readonly<Record<string, number>>).reconstruction;
    };
    // The first step's log p(x|z): the same dropout, the same draw of z, the same rows.
    expect(await likelihoods({ kind: "names.watched" })).toBe(await likelihoods("elbo"));
  });
});

test("two likelihoods that binarize at random draw different noise, each its field's own", () => {
  defineWiring("names.two", {
    parse: () => ({ kind: "names.two" }),
    declare: () => ({ networks: { encoder: { layers: [], input: [4], output: [4] }, decoder: { layers: [], input: [2], output: [4] } } }),
    observations: () => ({ x: bernoulli({ binarize: "stochastic" }), y: bernoulli({ binarize: "stochastic" }) }),
    trace: (_, { x, y }, scope) => {
      const event = [2];
      const q = familyOf("posterior", "gaussian").distribution(scope.network("encoder")(x!), { event, rows: x!.shape[0]!, scope });
      const p = familyOf("prior", "standardNormal").distribution(undefined, { event, rows: x!.shape[0]!, scope });
      const draw = q.draw(scope.noise);
      const seen = familyOf("likelihood", "bernoulli").distribution(scope.network("decoder")(draw.value), {
        event: [4],
        rows: x!.shape[0]!,
        scope,
      });
      return {
        latents: { z: { posterior: q, prior: p, draw } },
        observations: { x: { distribution: seen, value: x! }, y: { distribution: seen, value: y! } },
      };
    },
    generate: (_, { z }, count, scope) => ({
      x: familyOf("likelihood", "bernoulli").distribution(scope.network("decoder")(z!), { event: [4], rows: count, scope }),
    }),
  });
  const architecture = architectureOf(parseConfig({ wiring: { kind: "names.two" }, fields: { x: [4], y: [4] } }, "test"));
  const pass = new Pass("training", new Noise("training"));
  const root = pass.scope(architecture.place);
  const { batch } = prepared(architecture, { x: input("x", [3, 4]), y: input("y", [3, 4]) }, root, root.noise.within("data"));
  const streamOf = (field: string): unknown => {
    const [noise] = batch[field]!.inputs.flatMap((tensor) =>
      tensor.op === "uniform" ? [tensor] : tensor.inputs.filter(({ op }) => op === "uniform"),
    );
    return (noise!.attributes as { stream?: unknown }).stream;
  };
  expect(streamOf("x")).toBeTypeOf("number");
  expect(streamOf("x")).not.toBe(streamOf("y"));
});
