/** A dense VAE and how it is trained: float32, forward, backward and Adam, sum of BCE with logits + KL. */
export interface Workload {
  readonly name: string;
  /** Values per row. */
  readonly input: number;
  /** Widths of the hidden layers of the encoder, all ReLU; the decoder mirrors them. */
  readonly hidden: readonly number[];
  readonly latent: number;
  readonly batch: number;
}

/** The benchmark's own: the usual tutorial VAE on MNIST (Kingma & Welling 2014 with ReLU), small and large batch. */
export const workloads: Readonly<Record<string, Workload>> = {
  W1: { name: "W1", input: 784, hidden: [400], latent: 20, batch: 128 },
  W1b: { name: "W1b", input: 784, hidden: [400], latent: 20, batch: 1024 },
};

/** A linear layer, by its widths. */
export type DenseLayer = readonly [inputs: number, outputs: number];

/** Every product with a weight, in order: the encoder, the heads for mean and log-variance, the decoder. */
export function denseLayers({ input, hidden, latent }: Workload): DenseLayer[] {
  const widths = [input, ...hidden];
  const encoder = widths.slice(1).map((width, i): DenseLayer => [widths[i]!, width]);
  const head: DenseLayer = [widths.at(-1)!, latent];
  const decoder = encoder.map(([inputs, outputs]): DenseLayer => [outputs, inputs]).reverse();
  return [...encoder, head, head, [latent, widths.at(-1)!], ...decoder];
}

/**
 * Floating-point operations of one training step that any implementation has to make: a product of [batch, in] and
 * [in, out] costs 2 · batch · in · out, and each layer has three of them (forward, gradient of the weight, gradient of its
 * input), save that nobody needs the gradient of the data: 6 · batch · Σ in · out − 2 · batch · in₁ · out₁. Losses,
 * activations and Adam are left out: less than 2 % here, and no library's work is counted for it.
 */
export function stepOperations(workload: Workload): number {
  const products = denseLayers(workload).map(([inputs, outputs]) => inputs * outputs);
  const all = products.reduce((sum, product) => sum + product, 0);
  return workload.batch * (6 * all - 2 * products[0]!);
}

/** `784-400-20`, batch 128: input, hidden widths, latent; the decoder mirrors it. Throws RangeError on anything else. */
export function parseNetwork(network: string, batch: number): Workload {
  const widths = network.split("-").map(Number);
  if (widths.length < 3 || !widths.every((width) => Number.isInteger(width) && width > 0)) {
    throw new RangeError(`--network takes input, hidden widths and latent, as in 37-113-5; received ${network}`);
  }
  if (!Number.isInteger(batch) || batch < 1) throw new RangeError(`--batch takes a whole number of at least 1; received ${batch}`);
  const [input, ...rest] = widths as [number, ...number[]];
  return { name: `${network} batch ${batch}`, input, hidden: rest.slice(0, -1), latent: rest.at(-1)!, batch };
}
