import { describe, expect, test } from "vitest";
import {
  add,
  cast,
  clamp,
  constantTensor,
  evaluate,
  gather,
  grad,
  input,
  less,
  log,
  logsumexp,
  matmul,
  max,
  maximum,
  mean,
  multiply,
  print,
  relu,
  sigmoid,
  sizeOf,
  softplus,
  square,
  stopGradient,
  subtract,
  sum,
  type Tensor,
  tanh,
  topological,
  where,
} from "../../lib/graph/index.js";
import { checkDerivatives, type Values, weights } from "../support/gradients.js";

function filled(tensors: readonly Tensor[]): Values {
  return new Map(tensors.map((tensor, i) => [tensor, weights(sizeOf(tensor.shape), i)]));
}

describe("a small network", () => {
  const x = input("x", [5, 4]);
  const target = input("target", [5, 2]);
  const parameters = [input("w1", [4, 6]), input("b1", [6]), input("w2", [6, 2]), input("b2", [2])] as const;
  const [w1, b1, w2, b2] = parameters;
  const logits = add(matmul(tanh(add(matmul(x, w1), b1)), w2), b2);
  // The Bernoulli cross-entropy with logits, as a VAE's likelihood has it.
  const loss = mean(sum(subtract(softplus(logits), multiply(target, logits)), { axes: 1 }));
  const values = filled([x, target, ...parameters]);

  test("first and second derivatives by all parameters agree with finite differences", () => {
    const { first, second } = checkDerivatives(loss, parameters, values, false);
    expect(first).toBeLessThan(1e-8);
    expect(second).toBeLessThan(1e-7);
  });

  test("a Hessian-vector product is the difference of gradients along the vector", () => {
    const vector = input("vector", w1.shape);
    const direction = weights(sizeOf(w1.shape), 50);
    const [gradient] = grad(loss, [w1]);
    const [product] = grad(sum(multiply(gradient!, vector)), [w1]);
    const [exact] = evaluate([product!], new Map([...values, [vector, direction]]));
    const at = (h: number) => evaluate([gradient!], new Map([...values, [w1, values.get(w1)!.map((w, i) => w + h * direction[i]!)]]))[0]!;
    const [ahead, behind] = [at(1e-5), at(-1e-5)];
    exact!.forEach((value, i) => {
      expect(value).toBeCloseTo((ahead[i]! - behind[i]!) / 2e-5, 8);
    });
  });

  test("the Hessian is symmetric", () => {
    const [gradient] = grad(loss, [w2]);
    const rows = Array.from({ length: 12 }, (_, i) => {
      const unit = constantTensor({ data: Array.from({ length: 12 }, (_, j) => (i === j ? 1 : 0)), shape: [6, 2] });
      return grad(sum(multiply(gradient!, unit)), [w2])[0]!;
    });
    const hessian = evaluate(rows, values);
    for (let i = 0; i < 12; i++) for (let j = 0; j < i; j++) expect(hessian[i]![j]!).toBeCloseTo(hessian[j]![i]!, 12);
    expect(Math.abs(hessian[0]![0]!)).toBeGreaterThan(1e-4);
  });

  test("the gradient of a weight is one matrix product", () => {
    const [gradient] = grad(loss, [w1]);
    expect(gradient!.op).toBe("matmul");
    const batched = input("batched", [3, 5, 4]);
    const [shared] = grad(sum(square(matmul(batched, w1))), [w1]);
    expect(shared!.op).toBe("matmul");
    expect(shared!.inputs.map(({ shape }) => shape)).toEqual([
      [15, 4],
      [15, 6],
    ]);
  });
});

describe("meta-learning: the gradient through a step of gradient descent", () => {
  test("d loss(w - a loss'(w)) / dw of a quadratic is (1 - a c)² c w", () => {
    const w = input("w", []);
    const [c, rate] = [3, 0.1];
    const loss = (weight: Tensor) => multiply(square(weight), c / 2);
    const [slope] = grad(loss(w), [w]);
    const [outer] = grad(loss(subtract(w, multiply(slope!, rate))), [w]);
    expect(evaluate([outer!], new Map([[w, [2]]]))[0]![0]).toBeCloseTo((1 - rate * c) ** 2 * c * 2, 12);
  });
});

test("derivatives of any order", () => {
  const x = input("x", []);
  let value = multiply(square(square(x)), x); // x⁵
  const expected = [5 * 16, 20 * 8, 60 * 4, 120 * 2, 120, 0];
  for (const derivative of expected) {
    value = grad(value, [x])[0]!;
    expect(evaluate([value], new Map([[x, [2]]]))[0]![0]).toBeCloseTo(derivative, 10);
  }
});

test("a tensor used several times collects all its gradients", () => {
  const x = input("x", [2]);
  const [gradient] = grad(sum(add(multiply(x, x), add(x, x))), [x]);
  expect([...evaluate([gradient!], new Map([[x, [3, -1]]]))[0]!]).toEqual([8, 0]);
});

test("with respect to an inner node, and to the output itself", () => {
  const x = input("x", [3]);
  const hidden = square(x);
  const output = sum(multiply(hidden, 2));
  const [dHidden, dX, dOutput] = grad(output, [hidden, x, output]);
  const values = evaluate([dHidden!, dX!, dOutput!], new Map([[x, [1, 2, 3]]]));
  expect(values.map((value) => [...value])).toEqual([[2, 2, 2], [4, 8, 12], [1]]);
});

test("what the output does not depend on gets zeros of its shape", () => {
  const [x, y] = [input("x", [3]), input("y", [2, 2])];
  const [, gradient] = grad(sum(x), [x, y]);
  expect(gradient!.shape).toEqual([2, 2]);
  expect([...evaluate([gradient!], new Map())[0]!]).toEqual([0, 0, 0, 0]);
});

test("stopGradient cuts: its value counts, its slope does not", () => {
  const x = input("x", []);
  const [gradient] = grad(multiply(stopGradient(square(x)), x), [x]);
  expect(evaluate([gradient!], new Map([[x, [3]]]))[0]![0]).toBe(9);
});

test("whole numbers pass no gradient on, and what comes from them still learns", () => {
  const table = input("table", [4, 2]);
  const labels = input("labels", [3], "int32");
  const [gradient] = grad(sum(multiply(gather(table, labels), cast(input("pixels", [3, 2], "uint8")))), [table]);
  const feeds = new Map<Tensor, number[]>([[labels, [1, 1, 3]]]);
  const pixels = topological([gradient!]).find(({ dtype }) => dtype === "uint8")!;
  feeds.set(pixels, [1, 2, 10, 20, 5, 6]);
  expect([...evaluate([gradient!], feeds)[0]!]).toEqual([0, 0, 11, 22, 0, 0, 5, 6]);
});

describe("at kinks", () => {
  const x = input("x", [4]);
  const slope = (output: Tensor, data: number[]) => [...evaluate(grad(sum(output), [x]), new Map([[x, data]]))[0]!];

  test("relu is flat at 0, maximum splits ties, max shares them", () => {
    expect(slope(relu(x), [-1, 0, 1, 2])).toEqual([0, 0, 1, 1]);
    expect(slope(maximum(x, 1), [0, 1, 2, 1])).toEqual([0, 0.5, 1, 0.5]);
    expect(slope(max(x), [3, 1, 3, 0])).toEqual([0.5, 0, 0.5, 0]);
  });

  test("clamp passes its bounds", () => {
    expect(slope(clamp(x, -1, 1), [-2, -1, 1, 2])).toEqual([0, 1, 1, 0]);
  });

  test("what where does not choose leaves no NaN behind", () => {
    const positive = less(0, x);
    const safe = where(positive, log(where(positive, x, 1)), 0);
    expect(slope(safe, [-1, 0, 1, 2])).toEqual([0, 0, 1, 0.5]);
  });

  test("logsumexp of a row of minus infinities is minus infinity with gradient 0", () => {
    const rows = input("rows", [2, 2]);
    const output = logsumexp(rows, { axes: 1 });
    const feeds = new Map([[rows, [-Infinity, -Infinity, 0, 0]]]);
    const [value, gradient] = evaluate([output, grad(sum(output), [rows])[0]!], feeds);
    expect([...value!]).toEqual([-Infinity, Math.log(2)]);
    expect([...gradient!]).toEqual([0, 0, 0.5, 0.5]);
  });
});

test("graphs of many thousand nodes do not overflow the stack", () => {
  const x = input("x", []);
  let value: Tensor = x;
  for (let i = 0; i < 20_000; i++) value = add(multiply(value, 0.5), 1);
  const [gradient] = grad(sigmoid(value), [x]);
  expect(evaluate([value, gradient!], new Map([[x, [7]]])).map(([v]) => v)).toEqual([2, 0]);
  expect(print(value).split("\n").length).toBeGreaterThan(60_000);
});

describe("errors", () => {
  const x = input("x", [3, 2]);

  test("an output that is no scalar", () => {
    expect(() => grad(x, [x])).toThrow(/grad: expected a scalar output; received \[3, 2\]\n {2}hint: sum or mean it first/);
  });

  test("a tensor of whole numbers to differentiate by", () => {
    expect(() => grad(sum(x), [input("i", [2], "int32")])).toThrow(/grad: expected float32; received int32 \[2\]/);
  });

  test("something else than an array of tensors", () => {
    expect(() => grad(sum(x), x as unknown as Tensor[])).toThrow(/grad: expected an array of tensors/);
  });
});
