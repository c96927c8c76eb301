import { describe, expect, test } from "vitest";
import { evaluate, grad, instantiate, type NamedCase, opCases, ops, rowOf, sizeOf, topological } from "../../lib/graph/index.js";
import { notDifferentiable, type OpRow } from "../../lib/graph/table.js";
import { checkDerivatives, projection, type Values } from "../support/gradients.js";

const cases = opCases();

function prepare(sample: NamedCase) {
  const { output, inputs, feeds } = instantiate(sample);
  const values: Values = new Map([...feeds].map(([tensor, data]) => [tensor, Float64Array.from(data)]));
  const by = inputs.map(({ tensor }) => tensor).filter(({ dtype }) => dtype === "float32");
  return { output, feeds, values, by };
}

test("every op but the fed leaves has cases, and titles are unique", () => {
  const without = Object.values(ops).filter((row) => row.cases.length === 0);
  expect(without.map(({ name }) => name)).toEqual(["input", "state"]);
  expect(new Set(cases.map(({ title }) => title)).size).toBe(cases.length);
  for (const [name, row] of Object.entries(ops)) expect(row.name).toBe(name);
});

test("each row's own cases contain its op", () => {
  for (const sample of cases.filter(({ op }) => op in ops)) {
    const used = topological([instantiate(sample).output]).map(({ op }) => op);
    expect(used, sample.title).toContain(sample.op);
  }
});

test("a case is the same on every call, and fits its types", () => {
  for (const sample of cases) {
    const [once, again] = [instantiate(sample), instantiate(sample)];
    once.inputs.forEach(({ tensor, data }, i) => {
      expect(data.length, sample.title).toBe(sizeOf(tensor.shape));
      expect(Buffer.from(data.buffer).equals(Buffer.from(again.inputs[i]!.data.buffer)), sample.title).toBe(true);
    });
    const [value] = evaluate([once.output], once.feeds);
    expect(value!.length, sample.title).toBe(sizeOf(once.output.shape));
  }
});

/** Beyond so many elements, all are moved at once: an error in any of them still shows along a random direction. */
const MOVED_ONE_BY_ONE = 80;

describe("derivatives of first and second order agree with finite differences", () => {
  const checked = cases.filter((sample) => sample.gradient !== false && sample.inputs.some(({ dtype }) => dtype === "float32"));
  test.each(checked.map((sample) => [sample.title, sample] as const))("%s", (_title, sample) => {
    const { output, values, by } = prepare(sample);
    const elements = by.reduce((total, { shape }) => total + sizeOf(shape), 0);
    const { first, second } = checkDerivatives(output, by, values, sample.large === true || elements > MOVED_ONE_BY_ONE);
    expect(first).toBeLessThan(1e-7);
    expect(second).toBeLessThan(1e-6);
  });
});

test("closure: first and second derivatives are made of ops whose derivatives fit their inputs", () => {
  const reached = new Set<string>();
  for (const sample of cases) {
    const { output, values, by } = prepare(sample);
    if (output.dtype !== "float32") continue;
    const gradients = grad(projection([output], values, 0), by);
    const second = gradients.length === 0 ? [] : grad(projection(gradients, values, 0), by);
    for (const tensor of topological([output, ...gradients, ...second])) {
      const { inputs, attributes, op } = tensor;
      reached.add(op);
      const shares = rowOf(op).derivative({ inputs, output: tensor, gradient: tensor, attributes });
      expect(shares.length, op).toBe(inputs.length);
      shares.forEach((share, i) => {
        if (share === null) return;
        expect(share.dtype, op).toBe("float32");
        expect(share.shape, `${op}, input ${i} in ${sample.title}`).toEqual(inputs[i]!.shape);
      });
    }
  }
  expect(Object.keys(ops).filter((op) => !reached.has(op))).toEqual(["state", "shuffled_indices", "sort_indices"]);
});

test("the ops without a derivative are the ones that are flat or have no float32 input", () => {
  const flat = Object.values<OpRow>(ops).filter((row) => row.derivative === notDifferentiable);
  expect(flat.map(({ name }) => name).sort()).toEqual(
    [
      ...["input", "state", "constant", "step", "uniform", "normal", "shuffled_indices"],
      ...["sign", "floor", "is_finite", "less", "less_equal", "equal"],
      ...["cast", "stop_gradient", "sort_values", "sort_indices"],
    ].sort(),
  );
});
