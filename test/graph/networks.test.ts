// Derivatives of derivatives through whole convolutional networks, against finite differences of the float64 evaluation.
import { describe, expect, test } from "vitest";
import { convolve2d, evaluate, grad, input, mean, sizeOf, square, tanh } from "../../lib/graph/index.js";
import { adaptedLoss, all, negativeElbo, parameters, penalized, query, rate, values, x } from "../support/convolutional-vae.js";
import { checkDerivatives, type Values, weights } from "../support/gradients.js";

describe("a convolutional VAE", () => {
  test("the loss", () => {
    const { first, second } = checkDerivatives(negativeElbo(parameters, x), [...all], values(), false);
    expect(first).toBeLessThan(1e-8);
    expect(second).toBeLessThan(1e-7);
  });

  test("a gradient-norm penalty, by weights and by pixels", () => {
    const { first, second } = checkDerivatives(penalized(), [...all, x], values(), false);
    expect(first).toBeLessThan(1e-7);
    expect(second).toBeLessThan(1e-6);
  });

  test("three inner steps of gradient descent, by the first weights, the rate and the data", () => {
    const outer = adaptedLoss();
    const feeds = values();
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
  const hidden = tanh(convolve2d(images, depthwise, { groups: 4 }));
  const loss = mean(square(convolve2d(hidden, pointwise, { groups: 2, stride: 2 })));
  const by = [images, depthwise, pointwise];
  const feeds: Values = new Map(by.map((tensor, i) => [tensor, weights(sizeOf(tensor.shape), 20 + i)]));
  const { first, second } = checkDerivatives(loss, by, feeds, false);
  expect(first).toBeLessThan(1e-8);
  expect(second).toBeLessThan(1e-7);
});
