// Derivatives of derivatives through whole convolutional networks, against finite differences of the float64 evaluation.
import { describe, expect, test } from "vitest";
import {
  add,
  conv2d,
  convTranspose2d,
  evaluate,
  exp,
  grad,
  input,
  matmul,
  mean,
  multiply,
  reshape,
  sizeOf,
  softplus,
  square,
  subtract,
  sum,
  type Tensor,
  tanh,
} from "../lib/graph/index.js";
import { checkDerivatives, type Values, weights } from "./ops/gradients.js";

describe("a convolutional VAE", () => {
  /** A convolutional VAE of 4×4 pixels: 3×3 stride 2 down, two latents, and the way back. */
  const shapes = { down: [3, 3, 1, 2], mean: [8, 2], spread: [8, 2], up: [2, 8], out: [3, 3, 1, 2] } as const;
  type Weights = { readonly [Name in keyof typeof shapes]: Tensor };
  const x = input("x", [2, 4, 4, 1]);
  const noise = input("noise", [2, 2]);
  const parameters = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(name, shape)])) as Weights;
  const all = Object.values(parameters) as Tensor[];

  function negativeElbo(weight: Weights, images: Tensor): Tensor {
    const hidden = reshape(tanh(conv2d(images, weight.down, { stride: 2 })), [2, 8]);
    const [average, logVariance] = [matmul(hidden, weight.mean), matmul(hidden, weight.spread)];
    const z = add(average, multiply(exp(multiply(logVariance, 0.5)), noise));
    const logits = convTranspose2d(tanh(reshape(matmul(z, weight.up), [2, 2, 2, 2])), weight.out, { stride: 2 });
    const reconstruction = sum(subtract(softplus(logits), multiply(images, logits)));
    const kl = multiply(sum(subtract(add(square(average), exp(logVariance)), add(logVariance, 1))), 0.5);
    return multiply(add(reconstruction, kl), 0.5);
  }

  const values = (): Values =>
    new Map<Tensor, Float64Array>([
      [x, weights(32, 1).map((value) => (value + 1) / 2)],
      [noise, weights(4, 2)],
      ...all.map((tensor, i) => [tensor, weights(sizeOf(tensor.shape), 10 + i).map((value) => value / 2)] as const),
    ]);

  test("the loss", () => {
    const { first, second } = checkDerivatives(negativeElbo(parameters, x), all, values(), false);
    expect(first).toBeLessThan(1e-8);
    expect(second).toBeLessThan(1e-7);
  });

  test("a gradient-norm penalty, by weights and by pixels", () => {
    const loss = negativeElbo(parameters, x);
    const penalty = grad(loss, [...all, x])
      .map((gradient) => sum(square(gradient)))
      .reduce((total, part) => add(total, part));
    const { first, second } = checkDerivatives(add(loss, multiply(penalty, 0.1)), [...all, x], values(), false);
    expect(first).toBeLessThan(1e-7);
    expect(second).toBeLessThan(1e-6);
  });

  test("three inner steps of gradient descent, by the first weights, the rate and the data", () => {
    const rate = input("rate", []);
    const query = input("query", [2, 4, 4, 1]);
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
    const outer = negativeElbo(adapted, query);
    const feeds = values()
      .set(rate, Float64Array.of(0.1))
      .set(
        query,
        weights(32, 3).map((value) => (value + 1) / 2),
      );
    const by = [...all, rate, x];
    const { first, second } = checkDerivatives(outer, by, feeds, true);
    expect(first).toBeLessThan(1e-7);
    expect(second).toBeLessThan(1e-6);
    // Every weight and the rate by itself: the meta-gradient, not only its projection.
    const exact = evaluate(grad(outer, by), feeds);
    const worst = by.map((tensor, t) => {
      const data = feeds.get(tensor)!;
      return data.reduce((largest, value, i) => {
        const at = (offset: number) => evaluate([outer], new Map(feeds).set(tensor, data.with(i, value + offset)))[0]![0]!;
        return Math.max(largest, Math.abs((at(1e-5) - at(-1e-5)) / 2e-5 - exact[t]![i]!));
      }, 0);
    });
    expect(Math.max(...worst)).toBeLessThan(1e-7);
    // The steps did something: without them, the gradient is another one.
    const [unadapted] = evaluate(grad(negativeElbo(parameters, query), [parameters.down]), feeds);
    expect(Math.abs(unadapted![0]! - exact[0]![0]!)).toBeGreaterThan(1e-3);
  });
});

test("a depthwise layer followed by a grouped one", () => {
  const [depthwise, pointwise] = [input("depthwise", [3, 3, 1, 4]), input("pointwise", [1, 1, 2, 4])];
  const images = input("images", [1, 5, 4, 4]);
  const hidden = tanh(conv2d(images, depthwise, { groups: 4 }));
  const loss = mean(square(conv2d(hidden, pointwise, { groups: 2, stride: 2 })));
  const by = [images, depthwise, pointwise];
  const feeds: Values = new Map(by.map((tensor, i) => [tensor, weights(sizeOf(tensor.shape), 20 + i)]));
  const { first, second } = checkDerivatives(loss, by, feeds, false);
  expect(first).toBeLessThan(1e-8);
  expect(second).toBeLessThan(1e-7);
});
