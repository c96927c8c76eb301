// jax-js on its WebAssembly backend: the whole step, Adam included, under one jit.
import { readFileSync } from "node:fs";
import { defaultDevice, init, jit, lax, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { type Contestant, compete, type Task } from "../protocol.js";
import { fanIn, type Layer, layersOf } from "../workload.js";
import { randomRows, readFloats } from "./data.js";

type Parameters = Record<string, np.Array>;

await compete(async (task: Task): Promise<Contestant> => {
  await init("wasm");
  defaultDevice("wasm");
  const { input, image, encoder, latent, batch } = task.workload;
  const data = channelsFirst(readFloats(task), input, image?.[2] ?? 1);
  const rows = data.length / input;
  const layers = layersOf(task.workload);
  const names = layers.flatMap((_, index) => [`weight${index}`, `bias${index}`]);
  const zeros = (): Parameters =>
    Object.fromEntries(
      layers.flatMap((layer, i) => [
        [`weight${i}`, np.zeros(weightShape(layer))],
        [`bias${i}`, np.zeros(biasShape(layer))],
      ]),
    );

  let parameters: Parameters = Object.fromEntries(
    layers.flatMap((layer, i) => {
      const shape = weightShape(layer);
      const values = draws(
        shape.reduce((product, size) => product * size, 1),
        uniform(Math.sqrt(1 / fanIn(layer))),
      );
      return [
        [`weight${i}`, np.array(values).reshape(shape)],
        [`bias${i}`, np.zeros(biasShape(layer))],
      ];
    }),
  );
  let [first, second] = [zeros(), zeros()];
  let step = 0;

  // Every use of an array but the last takes a reference: jax-js frees an array with the operation that consumes it.
  function loss(p: Parameters, x: np.Array, noise: np.Array): np.Array {
    const apply = (h: np.Array, index: number): np.Array => {
      const layer = layers[index]!;
      const result = product(h, p[`weight${index}`]!, layer, batch).add(p[`bias${index}`]!);
      return layer.relu ? nn.relu(result) : result;
    };
    let h = x.ref;
    for (let index = 0; index < encoder.length; index++) h = apply(h, index);
    const mean = apply(h.ref, encoder.length);
    const logVariance = apply(h, encoder.length + 1);
    h = mean.ref.add(noise.mul(np.exp(logVariance.ref.mul(0.5))));
    for (let index = encoder.length + 2; index < layers.length; index++) h = apply(h, index);
    const logits = h.reshape([batch, input]);
    const crossEntropy = np.sum(nn.softplus(logits.ref).sub(logits.mul(x)));
    const kl = np.sum(logVariance.ref.add(1).sub(np.square(mean)).sub(np.exp(logVariance))).mul(-0.5);
    return crossEntropy.add(kl);
  }

  // Adam, Kingma & Ba 2015, with the bias corrections of this step handed in.
  const update = jit(
    (p: Parameters, m: Parameters, v: Parameters, x: np.Array, noise: np.Array, correction1: np.Array, correction2: np.Array) => {
      const [value, gradient] = valueAndGrad(loss)(tree.ref(p), x, noise);
      const [nextP, nextM, nextV]: [Parameters, Parameters, Parameters] = [{}, {}, {}];
      for (const name of names) {
        const mean = m[name]!.mul(0.9).add(gradient[name]!.ref.mul(0.1));
        const variance = v[name]!.mul(0.999).add(np.square(gradient[name]!).mul(0.001));
        const scale = np.sqrt(variance.ref.mul(correction2.ref)).add(1e-8);
        nextP[name] = p[name]!.sub(mean.ref.mul(correction1.ref).div(scale).mul(1e-3));
        nextM[name] = mean;
        nextV[name] = variance;
      }
      correction1.dispose();
      correction2.dispose();
      return [value, nextP, nextM, nextV] as [np.Array, Parameters, Parameters, Parameters];
    },
  );

  const manifest = new URL("../package.json", import.meta.resolve("@jax-js/jax"));
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return {
    library: `jax-js ${version} wasm`,
    async advance() {
      step++;
      const x = new Float32Array(batch * input);
      randomRows(rows, batch).forEach((row, i) => {
        x.set(data.subarray(row * input, (row + 1) * input), i * input);
      });
      const noise = np.array(draws(batch * latent, normal)).reshape([batch, latent]);
      const corrections = [0.9, 0.999].map((beta) => np.array(1 / (1 - beta ** step))) as [np.Array, np.Array];
      const result = update(parameters, first, second, np.array(x).reshape([batch, input]), noise, ...corrections);
      [, parameters, first, second] = result;
      return { steps: 1, loss: (await result[0].data())[0]! / batch };
    },
  };
});

/** The product of a layer, on values in PyTorch's order: a transposed convolution is one over the input spread by its stride. */
function product(h: np.Array, weight: np.Array, layer: Layer, batch: number): np.Array {
  if (layer.kind === "dense") return np.matmul(h.reshape([batch, layer.inputs]), weight);
  const { kind, kernel, stride, size, channels } = layer;
  const before = (kernel - 1) >> 1;
  const images = h.reshape([batch, channels, size, size]);
  if (kind === "conv") return lax.convGeneralDilated(images, weight, [stride, stride], pairs(before, before));
  const edge = kernel - 1 - before;
  return lax.convGeneralDilated(images, weight, [1, 1], pairs(edge, edge + stride + 2 * before - kernel), {
    lhsDilation: [stride, stride],
  });
}

function pairs(before: number, after: number): [number, number][] {
  return [
    [before, after],
    [before, after],
  ];
}

function weightShape(layer: Layer): number[] {
  return layer.kind === "dense" ? [layer.inputs, layer.outputs] : [layer.filters, layer.channels, layer.kernel, layer.kernel];
}

function biasShape(layer: Layer): number[] {
  return layer.kind === "dense" ? [layer.outputs] : [layer.filters, 1, 1];
}

/** Rows of pixels as rows of channels, which is what its convolutions take. */
function channelsFirst(rows: Float32Array, width: number, channels: number): Float32Array {
  if (channels === 1) return rows;
  const pixels = width / channels;
  return rows.map((_, i) => {
    const place = i % width;
    return rows[i - place + (place % pixels) * channels + Math.floor(place / pixels)]!;
  });
}

function draws(count: number, draw: () => number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, draw);
}

function uniform(bound: number): () => number {
  return () => (2 * Math.random() - 1) * bound;
}

/** Box & Muller 1958. */
function normal(): number {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
