import { adam, conv2d, convTranspose2d, type Dataset, datasets, dense, reshape, type Vae, type VaeOptions, vae } from "node-vae";
import { describeMachine } from "./machine.js";
import { table } from "./table.js";

export interface FashionOptions {
  /** Folder with Fashion-MNIST as IDX files. */
  readonly data: string;
  /** Training time of each model, in seconds. */
  readonly seconds: number;
  readonly threads: number;
  readonly seeds: readonly number[];
}

interface Result {
  readonly model: string;
  readonly seed: number;
  readonly parameters: number;
  readonly steps: number;
  readonly elbo: number;
  readonly reconstruction: number;
  readonly kl: number;
}

const LATENT = 16;

/**
 * A convolutional network that is cheap for what it can do: 4 × 4 kernels halve and double the image without a layer at full
 * resolution, and few filters leave the weights to a dense layer at 7 × 7.
 */
function convolutionalNetwork(): VaeOptions {
  const activation = "relu";
  const down = (filters: number) => conv2d(filters, 4, { stride: 2, padding: 1, activation });
  const up = (filters: number, last = false) =>
    convTranspose2d(filters, 4, { stride: 2, padding: 1, activation: last ? "linear" : activation });
  return {
    input: [28, 28, 1],
    latent: LATENT,
    encoder: [down(16), down(32), dense(128, { activation })],
    decoder: [dense(128, { activation }), dense(7 * 7 * 32, { activation }), reshape([7, 7, 32]), up(16), up(1, true)],
    likelihood: "bernoulli",
  };
}

/** Weights of the convolutional network, and of a dense network of width h: 2 (784 h) + 784 + (32 + 16) h + 2 h + 32. */
function denseWidth(parameters: number): number {
  return Math.ceil((parameters - 784 - 2 * LATENT) / (2 * 784 + 3 * LATENT + 2));
}

/** Whether a convolutional VAE is worth its time: test ELBO beside a dense one with as many parameters, after equal time. */
export async function fashion({ data, seconds, threads, seeds }: FashionOptions): Promise<void> {
  const [training, test] = await Promise.all([
    datasets.idx(`${data}/train-images-idx3-ubyte.gz`),
    datasets.idx(`${data}/t10k-images-idx3-ubyte.gz`),
  ]);
  const convolutional = convolutionalNetwork();
  const width = denseWidth(await parametersOf(convolutional));
  const layer = () => [dense(width, { activation: "relu" })];
  const models: Record<string, VaeOptions> = {
    convolutional,
    [`dense, width ${width}`]: { input: [28, 28, 1], latent: LATENT, encoder: layer(), decoder: layer(), likelihood: "bernoulli" },
  };
  const results: Result[] = [];
  for (const seed of seeds) {
    // In turns, so that a noisy machine is unkind to both.
    for (const [model, options] of Object.entries(models)) {
      results.push({ model, seed, ...(await trained({ ...options, seed, threads }, training, test, seconds)) });
    }
  }
  const { cpu } = describeMachine([]);
  console.log(`Fashion-MNIST, ${seconds} s of training each, ${threads} thread(s), batch 128, Adam 1e-3; ${cpu}`);
  const rows = results.map(({ model, seed, parameters, steps, elbo, reconstruction, kl }) => [
    model,
    ...[seed, parameters, steps].map(String),
    ...[elbo, reconstruction, kl].map((nats) => nats.toFixed(2)),
  ]);
  console.log(table(["model", "seed", "parameters", "steps", "test ELBO", "reconstruction", "KL"], rows));
}

async function parametersOf(options: VaeOptions): Promise<number> {
  using model = vae(options);
  return await countParameters(model);
}

async function countParameters(model: Vae): Promise<number> {
  return [...(await model.parameters()).values()].reduce((sum, { data }) => sum + data.length, 0);
}

async function trained(options: Parameters<typeof vae>[0], training: Dataset, test: Dataset, seconds: number) {
  using model = vae(options);
  const begin = performance.now();
  for await (const _ of model.train(training, { steps: 1e9, every: 20, batchSize: 128, optimizer: adam({ learningRate: 1e-3 }) })) {
    if (performance.now() - begin > 1000 * seconds) break;
  }
  const { elbo, reconstruction, kl } = await model.evaluate(test);
  return { parameters: await countParameters(model), steps: model.training.step, elbo, reconstruction, kl };
}
