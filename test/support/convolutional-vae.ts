// A convolutional VAE of 4×4 pixels, small enough for finite differences: 3×3 stride 2 down, two latents, and the way back.
import {
  add,
  convolve2d,
  convolveTransposed2d,
  evaluate,
  exp,
  grad,
  input,
  matmul,
  multiply,
  reshapeTensor,
  sizeOf,
  softplus,
  square,
  subtract,
  sum,
  type Tensor,
  tanh,
} from "../../lib/graph/index.js";
import type { Device } from "../../lib/runtime/device.js";
import { difference } from "./conformance.js";
import { type Values, weights } from "./gradients.js";

const shapes = { down: [3, 3, 1, 2], mean: [8, 2], spread: [8, 2], up: [2, 8], out: [3, 3, 1, 2] } as const;
export type Weights = { readonly [Name in keyof typeof shapes]: Tensor };

export const x = input("x", [2, 4, 4, 1]);
/** Another batch, which adapted weights are judged on. */
export const query = input("query", [2, 4, 4, 1]);
/** The inner steps' learning rate. */
export const rate = input("rate", []);
const noise = input("noise", [2, 2]);
export const parameters = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(name, shape)])) as Weights;
export const all: readonly Tensor[] = Object.values(parameters);

export function negativeElbo(weight: Weights, images: Tensor): Tensor {
  const hidden = reshapeTensor(tanh(convolve2d(images, weight.down, { stride: 2 })), [2, 8]);
  const [average, logVariance] = [matmul(hidden, weight.mean), matmul(hidden, weight.spread)];
  const z = add(average, multiply(exp(multiply(logVariance, 0.5)), noise));
  const logits = convolveTransposed2d(tanh(reshapeTensor(matmul(z, weight.up), [2, 2, 2, 2])), weight.out, { stride: 2 });
  const reconstruction = sum(subtract(softplus(logits), multiply(images, logits)));
  const kl = multiply(sum(subtract(add(square(average), exp(logVariance)), add(logVariance, 1))), 0.5);
  return multiply(add(reconstruction, kl), 0.5);
}

/** The loss with a tenth of its gradient's squared norm, by weights and by pixels (as WGAN-GP's of its critic). */
export function penalized(): Tensor {
  const loss = negativeElbo(parameters, x);
  const penalty = grad(loss, [...all, x])
    .map((gradient) => sum(square(gradient)))
    .reduce((total, part) => add(total, part));
  return add(loss, multiply(penalty, 0.1));
}

/** The loss on the query after three steps of gradient descent on x: MAML's outer loss (Finn et al. 2017, eq. 1). */
export function adaptedLoss(): Tensor {
  let adapted = parameters;
  for (let step = 0; step < 3; step++) {
    const names = Object.keys(shapes) as (keyof Weights)[];
    const gradients = grad(
      negativeElbo(adapted, x),
      names.map((name) => adapted[name]),
    );
    const moved = names.map((name, i) => [name, subtract(adapted[name], multiply(gradients[i]!, rate))] as const);
    adapted = Object.fromEntries(moved) as unknown as Weights;
  }
  return negativeElbo(adapted, query);
}

export function values(): Values {
  const pixels = (seed: number) => weights(32, seed).map((value) => (value + 1) / 2);
  return new Map<Tensor, Float64Array>([
    [x, pixels(1)],
    [query, pixels(3)],
    [rate, Float64Array.of(0.1)],
    [noise, weights(4, 2)],
    ...all.map((tensor, i) => [tensor, weights(sizeOf(tensor.shape), 10 + i).map((value) => value / 2)] as const),
  ]);
}

/** What derivatives of derivatives are taken of, and by what. */
export const higherOrder: readonly (readonly [string, readonly Tensor[], () => Tensor])[] = [
  ["a gradient-norm penalty", [...all, x], penalized],
  ["three unrolled steps of gradient descent", [...all, rate, x], adaptedLoss],
];

/**
 * The function, its gradient, and the gradient of its squared norm (third derivatives of the ELBO and beyond) on a device,
 * against the float64 evaluation; what is wrong, a line each.
 */
export async function higherOrderConformance(device: Device, by: readonly Tensor[], build: () => Tensor): Promise<readonly string[]> {
  const value = build();
  const first = grad(value, by);
  const norm = first.map((gradient) => sum(square(gradient))).reduce((a, b) => add(a, b));
  const outputs = [value, ...first, ...grad(norm, by)];
  const feeds = values();
  const expected = evaluate(outputs, feeds);
  using session = device.session({ outputs: Object.fromEntries(outputs.map((tensor, i) => [String(i), tensor])) });
  const data = Object.fromEntries([...feeds].map(([tensor, numbers]) => [String(tensor.attributes.name), Float32Array.from(numbers)]));
  const inputs = Object.fromEntries(session.plan.inputs.map(({ name }) => [name, data[name]!]));
  const result = await session.run({ inputs });
  return expected.flatMap((exact, i) => {
    const problem = difference(result.outputs[i]!, exact, i <= first.length ? 1e-5 : 1e-4);
    // Derivatives that vanish would agree with anything.
    const vanishes = i > 0 && !(Math.max(...exact.map(Math.abs)) > 1e-6);
    return [...(problem === undefined ? [] : [`output ${i}: ${problem}`]), ...(vanishes ? [`output ${i} vanishes`] : [])];
  });
}
