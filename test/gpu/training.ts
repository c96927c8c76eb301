// Whole training runs on a CUDA device beside the same on the CPU, through the public API.
import { adam, conv2d, convTranspose2d, dense, reshape, type Vae, type VaeOptions, vae } from "../../lib/index.js";
import type { DeviceOptions } from "../../lib/runtime/device.js";
import { clusteredRows } from "../support/data.js";

type Precision = NonNullable<DeviceOptions["precision"]>;
type Place = Pick<DeviceOptions, "device" | "precision">;

const STEPS = 100;

const models: Readonly<Record<string, VaeOptions>> = {
  dense: {
    input: [28, 28, 1],
    latent: 20,
    encoder: [dense(100, { activation: "relu" })],
    decoder: [dense(100, { activation: "relu" })],
    likelihood: "bernoulli",
    seed: 7,
  },
  convolutional: {
    input: [12, 12, 1],
    latent: 5,
    encoder: [conv2d(8, 3, { stride: 2, activation: "relu" }), conv2d(12, 3, { stride: 2, activation: "relu" })],
    decoder: [
      dense(3 * 3 * 12, { activation: "relu" }),
      reshape([3, 3, 12]),
      convTranspose2d(8, 3, { stride: 2, activation: "relu" }),
      convTranspose2d(1, 3, { stride: 2 }),
    ],
    likelihood: "bernoulli",
    seed: 7,
  },
};

interface Run {
  readonly losses: readonly number[];
  readonly weights: ReadonlyMap<string, Float32Array>;
}

async function train(options: VaeOptions, place: Place, steps: number): Promise<Run> {
  const size = options.input.reduce((product, extent) => product * extent, 1);
  const data = Uint8Array.from(clusteredRows(500, size, 10), (value) => Math.round(255 * value));
  await using model: Vae = vae({ ...options, ...place });
  const losses: number[] = [];
  for await (const { metrics } of model.train(data, { steps, every: 1, batchSize: 32, optimizer: adam({ learningRate: 1e-3 }) })) {
    losses.push(metrics.loss!);
  }
  return { losses, weights: new Map([...(await model.parameters())].map(([name, { data: values }]) => [name, values])) };
}

/**
 * How far losses may be apart, relative, anywhere in 100 steps. Rounding differences grow slowly as the runs part: float32's
 * 1e-7 to about 1e-4; those of tf32 and bfloat16 are 2^-11 and 2^-8 to begin with.
 */
const LOSS_TOLERANCE: Readonly<Record<Precision, number>> = { float32: 1e-3, tf32: 5e-3, bfloat16: 2e-2 };

interface Outcome {
  readonly checked: number;
  readonly problems: readonly string[];
}

/** The same seed, data and steps on both devices give the same losses, within the precision's tolerance. */
export async function trainingAgreement(device: Place["device"], precision: Precision, steps = STEPS): Promise<Outcome> {
  const problems: string[] = [];
  for (const [name, options] of Object.entries(models)) {
    const cpu = await train(options, { device: "cpu" }, steps);
    const cuda = await train(options, { device: device!, precision }, steps);
    const apart = cpu.losses.map((loss, step) => Math.abs(cuda.losses[step]! - loss) / Math.abs(loss));
    const worst = Math.max(...apart);
    if (cuda.losses.length !== steps || !(worst <= LOSS_TOLERANCE[precision])) {
      problems.push(
        `${name}: losses differ by ${worst.toExponential(1)} at step ${apart.indexOf(worst)}, allowed ${LOSS_TOLERANCE[precision]}`,
      );
    }
    // Training did something: a backend that never updates would agree only with one that does not either.
    if (!(cuda.losses.at(-1)! < cuda.losses[0]!)) problems.push(`${name}: the loss went from ${cuda.losses[0]} to ${cuda.losses.at(-1)}`);
  }
  return { checked: Object.keys(models).length, problems };
}

/** One device, one run, the same bits: losses and weights. */
export async function trainingRepeats(device: Place["device"], steps = STEPS): Promise<Outcome> {
  const problems: string[] = [];
  for (const [name, options] of Object.entries(models)) {
    const [one, other] = [await train(options, { device: device! }, steps), await train(options, { device: device! }, steps)];
    if (one.losses.some((loss, step) => loss !== other.losses[step])) problems.push(`${name}: other losses`);
    for (const [parameter, values] of one.weights) {
      const again = other.weights.get(parameter)!;
      if (values.some((value, i) => !Object.is(value, again[i]))) problems.push(`${name}: other weights ${parameter}`);
    }
  }
  return { checked: Object.keys(models).length, problems };
}
