// Convolutional models: presets, heads, plans, training and inference modes, and derivatives of derivatives through them.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../lib/compile/index.js";
import { VaeError } from "../../lib/errors.js";
import {
  add,
  constantTensor,
  evaluate,
  grad,
  mean,
  multiply,
  negate,
  type Shape,
  slice,
  square,
  state,
  subtract,
  sum,
  type Tensor,
  topological,
} from "../../lib/graph/index.js";
import {
  adam,
  batchNorm,
  conv2d,
  convTranspose2d,
  defineObjective,
  dense,
  dropout,
  load,
  presets,
  reshape,
  sgd,
  vae,
} from "../../lib/index.js";
import { initialValue, Noise, NoNoise, Pass } from "../../lib/nn/index.js";
import { type Architecture, architectureOf, summarize } from "../../lib/vae/architecture.js";
import { parseConfig, type VaeOptions } from "../../lib/vae/config.js";
import { klContributions, logLikelihood, sumContributions } from "../../lib/vae/index.js";
import { feedsByName, numbers } from "../support/feeds.js";
import { DATA, encodeGraph, probeGraph, trainingGraph } from "../support/graphs.js";

const build = (options: VaeOptions): Architecture => architectureOf(parseConfig(options, "vae"));
const networksOf = ({ place }: Architecture) => ({ encoder: place.networks.encoder!, decoder: place.networks.decoder! });
const outputs = (architecture: Architecture): string[] => {
  const { encoder, decoder } = networksOf(architecture);
  return [...encoder.entries, ...decoder.entries].map(({ name, layer, output }) => `${name} ${layer.kind} ${output.join("x")}`);
};
const step = { rows: 8, dtype: "float32", batchSize: 4, shuffle: false, optimizer: adam(), optimizerStart: 0 } as const;

/** Values for all parameters of a model: small and all different. */
function drawn({ parameters }: Architecture): Record<string, ArrayLike<number>> {
  return Object.fromEntries(
    parameters.map((spec) => [spec.name, evaluate([initialValue(spec, new Noise(spec.name))], new Map(), { seed: 3, step: 9 })[0]!]),
  );
}

describe("presets", () => {
  it("image28 is a convolution of 32 and one of 64 filters, and their mirror image", () => {
    const architecture = build(presets.image28());
    expect(outputs(architecture)).toEqual([
      "encoder.0 conv2d 14x14x32",
      "encoder.1 conv2d 7x7x64",
      "encoder.head dense 32",
      "decoder.0 dense 3136",
      "decoder.1 reshape 7x7x64",
      "decoder.2 convTranspose2d 14x14x64",
      "decoder.3 convTranspose2d 28x28x32",
      "decoder.head conv2d 28x28x1",
    ]);
    expect(networksOf(architecture).decoder.entries.at(-1)!.layer).toEqual(conv2d(1, 3));
    expect(summarize(architecture)).toMatch(/total +228,193$/);
    expect(presets.image({ size: [28, 28, 1] })).toEqual(presets.image28());
  });

  it("image64 is four convolutions and a dense layer, and their mirror image", () => {
    expect(outputs(build(presets.image64()))).toEqual([
      "encoder.0 conv2d 32x32x32",
      "encoder.1 conv2d 16x16x32",
      "encoder.2 conv2d 8x8x64",
      "encoder.3 conv2d 4x4x64",
      "encoder.4 dense 256",
      "encoder.head dense 20",
      "decoder.0 dense 256",
      "decoder.1 dense 1024",
      "decoder.2 reshape 4x4x64",
      "decoder.3 convTranspose2d 8x8x64",
      "decoder.4 convTranspose2d 16x16x32",
      "decoder.5 convTranspose2d 32x32x32",
      "decoder.6 convTranspose2d 64x64x3",
    ]);
    expect(networksOf(build(presets.image64())).encoder.entries[0]!.layer).toEqual(
      conv2d(32, 4, { stride: 2, padding: 1, activation: "relu" }),
    );
  });

  it.each<[Shape]>([[[28, 28, 1]], [[28, 20, 1]], [[17, 23, 3]], [[5, 5, 2]], [[1, 40, 1]], [[101, 9, 4]], [[32, 32]], [[96, 96, 3]]])(
    "image fits %j: no dense head, every layer the size of its counterpart",
    (size) => {
      const { encoder, decoder } = networksOf(build(presets.image({ size, latent: 3 })));
      expect(decoder.output).toEqual([...size.slice(0, 2), size[2] ?? 1]);
      expect(decoder.entries.at(-1)!.layer.kind).toBe("conv2d");
      const places = (entries: typeof encoder.entries, pick: "input" | "output") =>
        entries.filter(({ layer }) => layer.kind.startsWith("conv")).map((entry) => entry[pick].slice(0, 2));
      const up = decoder.entries.slice(0, -1);
      expect(places(up, "output")).toEqual(places(encoder.entries, "input").reverse());
      expect(Math.max(...encoder.entries.at(-2)!.output.slice(0, 2))).toBeLessThanOrEqual(7);
    },
  );

  it("take filters, hidden units and activations, and can be changed like any options", () => {
    const options = presets.image({ size: [16, 16, 3], filters: [8, 16], hidden: 20, activation: "silu", latent: 2 });
    expect(options.encoder).toEqual([
      conv2d(8, 3, { stride: 2, activation: "silu" }),
      conv2d(16, 3, { stride: 2, activation: "silu" }),
      dense(20, { activation: "silu" }),
    ]);
    expect(build({ ...presets.image28({ latent: 5, channels: 3 }), likelihood: "gaussian", seed: 4 }).config).toMatchObject({
      input: [28, 28, 3],
      latent: 5,
      seed: 4,
      likelihood: { kind: "gaussian" },
    });
    expect(outputs(build(presets.table({ columns: 9, hidden: [12], latent: 2 })))).toEqual([
      "encoder.0 dense 12",
      "encoder.head dense 4",
      "decoder.0 dense 12",
      "decoder.head dense 9",
    ]);
  });

  it.each<[string, () => unknown, RegExp]>([
    ["a row", () => presets.image({ size: [784] }), /presets\.image: expected size[\s\S]*presets\.table\(\{ columns: 784 \}\)/],
    ["four axes", () => presets.image({ size: [2, 3, 4, 5] }), /\[height, width, channels\]/],
    ["no filters", () => presets.image({ size: [8, 8], filters: [] }), /at least one number of filters/],
    ["no columns", () => presets.table({} as { columns: number }), /columns/],
    ["a misspelled option", () => presets.image28({ latents: 3 } as object), /did you mean "latent"/],
    ["half a channel", () => presets.image64({ channels: 0.5 }), /channels/],
  ])("refuse %s", (_, make, message) => {
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
  });

  it.each([presets.image28(), presets.image64(), presets.image({ size: [13, 10, 3] })])("compile to plans of %#", (options) => {
    const architecture = build(options);
    expect(parseConfig(JSON.parse(JSON.stringify(architecture.config)), "load")).toEqual(architecture.config);
    const kernels = (graph: Parameters<typeof compile>[0]) => {
      const { steps } = compile(graph);
      // No step is left over whose value others compute by themselves.
      expect(steps.filter(({ kernel, program }) => kernel === "map" && program.length === 0)).toEqual([]);
      return steps.map(({ kernel }) => kernel);
    };
    const training = kernels(trainingGraph(architecture, { ...step, dtype: "uint8", rows: 100 }));
    const { encoder, decoder } = networksOf(architecture);
    const convolutions = [...encoder.entries, ...decoder.entries].filter(({ layer }) => layer.kind.startsWith("conv"));
    // Every convolution has a forward pass, a weight gradient and, but for the first, an input gradient.
    expect(training.filter((kernel) => kernel.startsWith("conv2d"))).toHaveLength(3 * convolutions.length - 1);
    expect(training.filter((kernel) => kernel === "conv2d_weight_gradient")).toHaveLength(convolutions.length);
    expect(kernels(encodeGraph(architecture, 16, "uint8")).some((kernel) => kernel === "conv2d")).toBe(true);
  });
});

const tiny: VaeOptions = {
  input: [4, 4, 1],
  latent: 2,
  encoder: [conv2d(2, 3, { stride: 2, activation: "tanh" })],
  decoder: [dense(8, { activation: "tanh" }), reshape([2, 2, 2]), convTranspose2d(2, 3, { stride: 2, activation: "softplus" })],
  likelihood: "bernoulli",
};
const pixels = numbers(8 * 16);

describe("training and inference", () => {
  const normalizing: VaeOptions = {
    ...tiny,
    encoder: [conv2d(2, 3, { stride: 2, bias: false }), batchNorm({ activation: "tanh" }), dropout(0.5)],
    decoder: [dense(8, { activation: "tanh" }), dropout(0.2), reshape([2, 2, 2]), convTranspose2d(2, 3, { stride: 2 }), batchNorm()],
  };

  it("the optimizer leaves running statistics alone; the layers move them", () => {
    const architecture = build(normalizing);
    const names = trainingGraph(architecture, step).updates!.map(([tensor]) => String(tensor.attributes.name));
    const running = ["encoder.1", "decoder.4"].flatMap((layer) => [`${layer}.runningMean`, `${layer}.runningVariance`]);
    expect(names.filter((name) => name.includes("running"))).toEqual(running);
    expect(new Set(names).size).toBe(names.length);
    const trained = architecture.parameters.filter(({ trainable }) => trainable !== false);
    expect(trained.map(({ name }) => name).filter((name) => name.includes("running"))).toEqual([]);
    expect(architecture.parameters.map(({ name }) => name)).toEqual(expect.arrayContaining(running));
    // Two moments for every trained parameter, and all parameters themselves.
    expect(names).toHaveLength(trained.length * 3 + running.length);
  });

  it("running statistics follow the batches, and inference then uses them", () => {
    const architecture = build({ ...normalizing, encoder: [batchNorm({ momentum: 0.5 })], decoder: [] });
    const { updates } = trainingGraph(architecture, { ...step, optimizer: sgd({ learningRate: 0 }) });
    const means = updates!.find(([tensor]) => tensor.attributes.name === "encoder.0.runningMean")!;
    let values: Record<string, ArrayLike<number>> = { ...drawn(architecture), [DATA]: pixels };
    const batchMean = (first: number) => pixels.slice(64 * first, 64 * first + 64).reduce((a, b) => a + b) / 64;
    let expected = 0;
    for (const index of [0, 1, 2]) {
      const next = evaluate([means[1]], feedsByName([means[1]], values), { seed: 1, step: index })[0]!;
      // Two batches of four rows are an epoch.
      expected = 0.5 * expected + 0.5 * batchMean(index % 2);
      expect(next[0]).toBeCloseTo(expected, 10);
      values = { ...values, "encoder.0.runningMean": next };
    }
    const { mean: encoded } = encodeGraph(architecture, 1, "float32").outputs!;
    const at = (change: Record<string, number[]>) =>
      evaluate([encoded!], feedsByName([encoded!], { ...values, x: pixels.slice(0, 16), ...change }))[0]!;
    expect(at({ "encoder.0.runningMean": [expected + 1] })).not.toEqual(at({}));
  });

  it("noise of dropout is in training graphs only, and does not move the posterior's", () => {
    const streamsOf = (roots: readonly Tensor[], op: string) =>
      topological(roots)
        .filter((tensor) => tensor.op === op)
        .map(({ attributes }) => attributes.stream);
    const architecture = build(normalizing);
    const training = Object.values(trainingGraph(architecture, step).terms!);
    expect(streamsOf(training, "uniform")).toHaveLength(2);
    expect(streamsOf(training, "normal")).toEqual(streamsOf(Object.values(trainingGraph(build(tiny), step).terms!), "normal"));
    expect(streamsOf(Object.values(encodeGraph(architecture, 4, "float32").outputs!), "uniform")).toEqual([]);
    // The probe sees what the step after would see.
    const values = { ...drawn(architecture), [DATA]: pixels };
    const loss = (terms: Readonly<Record<string, Tensor>>) =>
      evaluate([terms.loss!], feedsByName([terms.loss!], values), { seed: 1, step: 2 })[0]![0];
    expect(loss(probeGraph(architecture, step).terms!)).toBe(loss(trainingGraph(architecture, step).terms!));
  });

  it("running statistics are saved, loaded and trained on, bit for bit", async () => {
    const folder = await mkdtemp(join(tmpdir(), "node-vae-"));
    try {
      const options: VaeOptions = {
        input: [6],
        latent: 2,
        encoder: [dense(8), batchNorm({ activation: "relu" }), dropout(0.1)],
        decoder: [dense(8, { activation: "relu" }), batchNorm()],
        likelihood: "bernoulli",
      };
      const data = Float32Array.from(numbers(64 * 6));
      const training = { steps: 7, batchSize: 16 };
      await using whole = vae({ ...options, device: "cpu" });
      await whole.fit(data, training);
      const path = join(folder, "model.vae");
      await whole.save(path);
      await using again = await load(path, { device: "cpu" });
      const [saved, loaded] = [await whole.parameters(), await again.parameters()];
      expect(loaded).toEqual(saved);
      const variance = [...saved.get("encoder.1.runningVariance")!.data];
      expect(variance.every((value) => value > 0 && value !== 1)).toBe(true);
      expect(await again.encode(data)).toEqual(await whole.encode(data));
      // One row alone is encoded as among others: nothing depends on the batch.
      const [alone, all] = [await again.encode(data.subarray(0, 6)), await again.encode(data)];
      alone.mean.forEach((value, i) => {
        expect(value).toBeCloseTo(all.mean[i]!, 5);
      });
      await whole.fit(data, training);
      await again.fit(data, training);
      expect(await again.parameters()).toEqual(await whole.parameters());
      expect(again.memory().optimizer).toBe(whole.memory().optimizer);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

/** Compares a scalar's gradient with central differences, for some elements of every parameter. */
function expectGradients(scalar: Tensor, parameters: ReadonlyMap<string, Tensor>, values: Record<string, ArrayLike<number>>): void {
  const entries = [...parameters];
  const gradients = grad(
    scalar,
    entries.map(([, tensor]) => tensor),
  );
  const at = (tensors: readonly Tensor[], change: Record<string, ArrayLike<number>> = {}) =>
    evaluate(tensors, feedsByName(tensors, { ...values, ...change }), { seed: 2, step: 1 });
  const exact = at(gradients);
  const largest = Math.max(...exact.flatMap((gradient) => [...gradient].map(Math.abs)));
  expect(largest).toBeGreaterThan(1e-3);
  entries.forEach(([name], parameter) => {
    const base = Array.from(values[name]!);
    for (let index = 0; index < base.length; index += Math.max(1, Math.floor(base.length / 4))) {
      const moved = (delta: number) => at([scalar], { [name]: base.map((value, i) => (i === index ? value + delta : value)) })[0]![0]!;
      const difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
      expect(exact[parameter]![index], `${name}[${index}]`).toBeCloseTo(difference, 5);
    }
  });
}

describe("derivatives of derivatives through a convolutional model", () => {
  it("a gradient-norm penalty as a user's objective", () => {
    // The mean squared norm of ∂ log p(x|z(x)) / ∂x (as WGAN-GP's of its critic), beside the ELBO.
    defineObjective("test.smooth", {
      parse: (options) => ({ kind: "test.smooth", weight: options.number("weight", { minimum: 0 }, 1) }),
      terms: ({ weight }: { kind: string; weight: number }, { batch, trace }) => {
        const all = trace();
        const reconstruction = logLikelihood(all);
        const [slope] = grad(sum(reconstruction), [batch.x!]);
        const penalty = mean(sum(square(slope!), { axes: [1] }));
        const bound = subtract(mean(reconstruction), mean(sumContributions(klContributions(all))));
        return { loss: add(negate(bound), multiply(weight, penalty)), bound, penalty };
      },
    });
    const architecture = build({ ...tiny, objective: { kind: "test.smooth", weight: 0.5 } });
    const pass = new Pass("inference", new Noise("test"));
    const x = constantTensor({ data: pixels.slice(0, 32), shape: [2, 4, 4, 1] });
    const { loss, penalty } = architecture.terms({ x }, pass.scope(architecture.place));
    const parameters = new Map(architecture.parameters.map((parameter) => [parameter.name, pass.tensor(parameter)]));
    const values = drawn(architecture);
    expect(evaluate([penalty!], feedsByName([penalty!], values))[0]![0]).toBeGreaterThan(1e-3);
    expectGradients(loss!, parameters, values);
    // The whole training step, with the second derivatives in it, is a plan.
    expect(compile(trainingGraph(architecture, step)).terms.names).toEqual(["loss", "bound", "penalty"]);
  });

  it("three unrolled steps of gradient descent", () => {
    const architecture = build(tiny);
    const x = constantTensor({ data: pixels.slice(0, 32), shape: [2, 4, 4, 1] });
    const start = new Map(architecture.parameters.map(({ name, shape }) => [name, state(name, shape)]));
    const loss = (parameters: ReadonlyMap<string, Tensor>): Tensor => {
      const pass = new Pass("inference", new NoNoise());
      for (const [name, tensor] of parameters) pass.substitute(name, tensor);
      const { encoder, decoder } = networksOf(architecture);
      const head = pass.apply(encoder, x, {});
      const decoded = pass.apply(decoder, slice(head, [0, 0], [2, 2]), {});
      return add(mean(square(subtract(decoded, x))), multiply(0.1, mean(square(head))));
    };
    let parameters: ReadonlyMap<string, Tensor> = start;
    for (let inner = 0; inner < 3; inner++) {
      const names = [...parameters.keys()];
      const gradients = grad(
        loss(parameters),
        names.map((name) => parameters.get(name)!),
      );
      parameters = new Map(names.map((name, i) => [name, subtract(parameters.get(name)!, multiply(0.2, gradients[i]!))]));
    }
    expectGradients(loss(parameters), start, drawn(architecture));
  });
});
