// jax-js on its WebAssembly backend: the whole step, Adam included, under one jit.
import { readFileSync } from "node:fs";
import { defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { type Contestant, compete, type Task } from "../protocol.js";
import { denseLayers } from "../workload.js";
import { randomRows, readFloats } from "./data.js";

type Parameters = Record<string, np.Array>;

await compete(async (task: Task): Promise<Contestant> => {
  await init("wasm");
  defaultDevice("wasm");
  const { input, hidden, latent, batch } = task.workload;
  const data = readFloats(task);
  const rows = data.length / input;
  const layers = denseLayers(task.workload);
  const names = layers.flatMap((_, index) => [`weight${index}`, `bias${index}`]);
  const zeros = (): Parameters =>
    Object.fromEntries(
      layers.flatMap(([inputs, outputs], i) => [
        [`weight${i}`, np.zeros([inputs, outputs])],
        [`bias${i}`, np.zeros([outputs])],
      ]),
    );

  let parameters: Parameters = Object.fromEntries(
    layers.flatMap(([inputs, outputs], i) => [
      [`weight${i}`, np.array(draws(inputs * outputs, uniform(Math.sqrt(1 / inputs)))).reshape([inputs, outputs])],
      [`bias${i}`, np.zeros([outputs])],
    ]),
  );
  let [first, second] = [zeros(), zeros()];
  let step = 0;

  // Every use of an array but the last takes a reference: jax-js frees an array with the operation that consumes it.
  function loss(p: Parameters, x: np.Array, noise: np.Array): np.Array {
    const layer = (h: np.Array, index: number) => np.matmul(h, p[`weight${index}`]!).add(p[`bias${index}`]!);
    let h = x.ref;
    for (let index = 0; index < hidden.length; index++) h = nn.relu(layer(h, index));
    const mean = layer(h.ref, hidden.length);
    const logVariance = layer(h, hidden.length + 1);
    h = mean.ref.add(noise.mul(np.exp(logVariance.ref.mul(0.5))));
    for (let index = hidden.length + 2; index < layers.length - 1; index++) h = nn.relu(layer(h, index));
    const logits = layer(h, layers.length - 1);
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
