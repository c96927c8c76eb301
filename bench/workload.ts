// What is trained: networks as lists of layers that every contestant builds in its own library.

/** A fully connected layer. */
export interface DenseLayer {
  readonly kind: "dense";
  readonly inputs: number;
  readonly outputs: number;
  /** Whether ReLU follows. */
  readonly relu: boolean;
}

/**
 * A convolution of square images, or a transposed one. A convolution has ⌈size / stride⌉ places, a transposed one
 * size · stride: `"same"` in TensorFlow's words, padding (kernel − 1) >> 1 in PyTorch's.
 */
export interface ConvolutionLayer {
  readonly kind: "conv" | "transposed";
  readonly kernel: number;
  readonly stride: number;
  /** Height and width of its input. */
  readonly size: number;
  readonly channels: number;
  readonly filters: number;
  readonly relu: boolean;
}

export type Layer = DenseLayer | ConvolutionLayer;

/**
 * A VAE and how it is trained: float32, forward, backward and Adam, sum of BCE with logits + KL. Where a dense layer meets a
 * convolution the values are reshaped, [height, width, channels].
 */
export interface Workload {
  readonly name: string;
  /** In words, for tables. */
  readonly network: string;
  /** Values per row. */
  readonly input: number;
  /** Height, width and channels of a row; only for networks with convolutions. */
  readonly image?: readonly [number, number, number];
  readonly latent: number;
  readonly batch: number;
  /** Up to the two heads, for mean and log-variance. */
  readonly encoder: readonly Layer[];
  /** From the latent to the logits. */
  readonly decoder: readonly Layer[];
}

interface DenseNetwork {
  readonly name: string;
  readonly input: number;
  /** Widths of the hidden layers of the encoder, all ReLU; the decoder mirrors them. */
  readonly hidden: readonly number[];
  readonly latent: number;
  readonly batch: number;
}

export function denseWorkload({ name, input, hidden, latent, batch }: DenseNetwork): Workload {
  const widths = [input, ...hidden];
  const last = widths.at(-1)!;
  const between = (from: number, to: number, relu = true): Layer => ({ kind: "dense", inputs: from, outputs: to, relu });
  const encoder = widths.slice(1).map((width, i) => between(widths[i]!, width));
  const decoder = widths.slice(1).map((width, i) => between(width, widths[i]!, i > 0));
  const network = `dense ${[...widths, latent].join("-")}`;
  return { name, network, input, latent, batch, encoder, decoder: [between(latent, last, hidden.length > 0), ...decoder.reverse()] };
}

function dense(inputs: number, outputs: number): Layer {
  return { kind: "dense", inputs, outputs, relu: true };
}

function conv(kernel: number, stride: number, size: number, channels: number, filters: number, relu = true): Layer {
  return { kind: "conv", kernel, stride, size, channels, filters, relu };
}

function transposed(kernel: number, stride: number, size: number, channels: number, filters: number, relu = true): Layer {
  return { kind: "transposed", kernel, stride, size, channels, filters, relu };
}

const W1 = { name: "W1", input: 784, hidden: [400], latent: 20, batch: 128 };

/**
 * The benchmark's own: the usual tutorial VAE on MNIST (Kingma & Welling 2014 with ReLU), small and large batch, and two
 * convolutional ones, the presets `image28` and `image64`.
 */
export const workloads: Readonly<Record<string, Workload>> = {
  W1: denseWorkload(W1),
  W1b: denseWorkload({ ...W1, name: "W1b", batch: 1024 }),
  W2: {
    name: "W2",
    network: "conv 28×28×1",
    input: 28 * 28,
    image: [28, 28, 1],
    latent: 16,
    batch: 128,
    encoder: [conv(3, 2, 28, 1, 32), conv(3, 2, 14, 32, 64)],
    decoder: [dense(16, 7 * 7 * 64), transposed(3, 2, 7, 64, 64), transposed(3, 2, 14, 64, 32), conv(3, 1, 28, 32, 1, false)],
  },
  W3: {
    name: "W3",
    network: "conv 64×64×3",
    input: 64 * 64 * 3,
    image: [64, 64, 3],
    latent: 10,
    batch: 64,
    encoder: [conv(4, 2, 64, 3, 32), conv(4, 2, 32, 32, 32), conv(4, 2, 16, 32, 64), conv(4, 2, 8, 64, 64), dense(4 * 4 * 64, 256)],
    decoder: [
      dense(10, 256),
      dense(256, 4 * 4 * 64),
      transposed(4, 2, 4, 64, 64),
      transposed(4, 2, 8, 64, 32),
      transposed(4, 2, 16, 32, 32),
      transposed(4, 2, 32, 32, 3, false),
    ],
  },
};

/** Those of the benchmark on a GPU: small ones are bound by launches, large ones by arithmetic or memory. */
export const gpuWorkloads: Readonly<Record<string, Workload>> = {
  ...workloads,
  W3b: { ...workloads.W3!, name: "W3b", batch: 1024 },
  W4: {
    name: "W4",
    network: "conv 64×64×3, large",
    input: 64 * 64 * 3,
    image: [64, 64, 3],
    latent: 256,
    batch: 256,
    encoder: [conv(4, 2, 64, 3, 128), conv(4, 2, 32, 128, 256), conv(4, 2, 16, 256, 512), conv(4, 2, 8, 512, 1024)],
    decoder: [
      dense(256, 4 * 4 * 1024),
      transposed(4, 2, 4, 1024, 512),
      transposed(4, 2, 8, 512, 256),
      transposed(4, 2, 16, 256, 128),
      transposed(4, 2, 32, 128, 3, false),
    ],
  },
};

/** Height and width of a convolution's result. */
export function outputSize({ kind, size, stride }: ConvolutionLayer): number {
  return kind === "conv" ? Math.ceil(size / stride) : size * stride;
}

/** Values that a layer gives for one row. */
export function outputsOf(layer: Layer): number {
  return layer.kind === "dense" ? layer.outputs : outputSize(layer) ** 2 * layer.filters;
}

/** Inputs that meet in one output of a layer. */
export function fanIn(layer: Layer): number {
  return layer.kind === "dense" ? layer.inputs : layer.kernel ** 2 * layer.channels;
}

/** One of the two heads. */
export function headOf({ encoder, latent }: Workload): DenseLayer {
  return { kind: "dense", inputs: outputsOf(encoder.at(-1)!), outputs: latent, relu: false };
}

/** Weights and biases. */
export function parameterCount(workload: Workload): number {
  return layersOf(workload).reduce((sum, layer) => sum + weightsOf(layer), 0);
}

function weightsOf(layer: Layer): number {
  return layer.kind === "dense" ? (layer.inputs + 1) * layer.outputs : (fanIn(layer) + 1) * layer.filters;
}

/** Every layer with weights, in order: the encoder, the heads for mean and log-variance, the decoder. */
export function layersOf(workload: Workload): readonly Layer[] {
  const head = headOf(workload);
  return [...workload.encoder, head, head, ...workload.decoder];
}

/**
 * Products of a weight and a value for one row: in · out of a dense layer, places² · kernel² · channels · filters of a
 * convolution, with its output's places, or a transposed one, with its input's.
 */
export function products(layer: Layer): number {
  if (layer.kind === "dense") return layer.inputs * layer.outputs;
  const { kind, kernel, channels, filters, size } = layer;
  return (kind === "conv" ? outputSize(layer) : size) ** 2 * kernel ** 2 * channels * filters;
}

/**
 * Floating-point operations of one training step that any implementation has to make. A product costs 2 and each layer has
 * three passes of them (forward, gradient of the weight, gradient of its input), save that nobody needs the gradient of the
 * data: batch · (6 · Σ products − 2 · products of the first layer). Losses, activations and Adam are left out: less than 2 %
 * here, and no library's work is counted for it.
 */
export function stepOperations(workload: Workload): number {
  const all = layersOf(workload).map(products);
  return workload.batch * (6 * all.reduce((sum, count) => sum + count, 0) - 2 * all[0]!);
}

/** `784-400-20`, batch 128: input, hidden widths, latent; the decoder mirrors it. Throws RangeError on anything else. */
export function parseNetwork(network: string, batch: number): Workload {
  const widths = network.split("-").map(Number);
  if (widths.length < 3 || !widths.every((width) => Number.isInteger(width) && width > 0)) {
    throw new RangeError(`--network takes input, hidden widths and latent, as in 37-113-5; received ${network}`);
  }
  if (!Number.isInteger(batch) || batch < 1) throw new RangeError(`--batch takes a whole number of at least 1; received ${batch}`);
  const [input, ...rest] = widths as [number, ...number[]];
  return denseWorkload({ name: `${network} batch ${batch}`, input, hidden: rest.slice(0, -1), latent: rest.at(-1)!, batch });
}
