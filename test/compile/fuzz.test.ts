// Graphs that nobody would write by hand: whatever is composed of the ops, natively it is what its definition says.
import { afterAll, expect, test } from "vitest";
import * as graph from "../../lib/graph/index.js";
import { Device } from "../../lib/runtime/device.js";

const device = Device.open({ device: "cpu", threads: 1 });
afterAll(() => device.dispose());

/** Lehmer's generator: the graphs are the same on every machine. */
function randomOf(seed: number) {
  let state = seed;
  const uniform = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  const from = (low: number, high: number) => low + Math.floor(uniform() * (high - low + 1));
  const pick = <T>(choices: readonly T[]): T => choices[from(0, choices.length - 1)]!;
  return { uniform, from, pick };
}
type Random = ReturnType<typeof randomOf>;

const unary = [graph.relu, graph.tanh, graph.exp, graph.square, graph.negate, graph.sigmoid, graph.softplus, graph.absolute];
const binary = [graph.add, graph.subtract, graph.multiply, graph.maximum, graph.minimum];

const compositions: readonly ((random: Random, a: graph.Tensor, b: graph.Tensor) => graph.Tensor)[] = [
  ({ pick }, a) => pick(unary)(a),
  ({ pick }, a, b) => pick(binary)(a, b),
  ({ uniform }, a) => graph.sum(a, { axes: a.shape.map((_, d) => d).filter(() => uniform() < 0.5), keepDimensions: uniform() < 0.5 }),
  ({ uniform }, a) => graph.max(a, { axes: a.shape.map((_, d) => d).filter(() => uniform() < 0.5) }),
  ({ uniform }, a) => {
    const order = a.shape.map((_, d) => [uniform(), d] as const).sort(([x], [y]) => x - y);
    return graph.transpose(
      a,
      order.map(([, d]) => d),
    );
  },
  ({ from }, a) =>
    graph.slice(
      a,
      a.shape.map(() => 0),
      a.shape.map((extent) => from(1, extent)),
    ),
  ({ uniform }, a) => graph.reshapeTensor(a, uniform() < 0.5 ? [-1] : [...a.shape, 1]),
  ({ from }, a) => graph.concatenate([a, a], from(0, a.shape.length - 1)),
  ({ from, uniform }, a) =>
    graph.pad(
      a,
      a.shape.map(() => [from(0, 1), from(0, 1)]),
      uniform(),
    ),
];

function randomGraph(random: Random) {
  const inputs = Array.from({ length: random.from(1, 3) }, (_, i) =>
    graph.input(
      `x${i}`,
      Array.from({ length: random.from(1, 4) }, () => random.from(1, 4)),
    ),
  );
  const made: graph.Tensor[] = [...inputs];
  for (let i = random.from(3, 12); i > 0; i--) {
    const compose = random.pick(compositions);
    try {
      const next = compose(random, random.pick(made), random.pick(made));
      if (graph.sizeOf(next.shape) < 3000) made.push(next);
    } catch {
      // Shapes that do not fit: graph time refuses them, which other tests look at.
    }
  }
  const last = made.at(-1)!;
  const gradients = graph.grad(graph.sum(last), inputs);
  return { inputs, outputs: { last, ...Object.fromEntries(gradients.map((gradient, i) => [`gradient${i}`, gradient])) } };
}

test.each(Array.from({ length: 20 }, (_, i) => i + 1))("random graphs of seed %i and their gradients", async (seed) => {
  const random = randomOf(seed);
  for (let trial = 0; trial < 20; trial++) {
    const { inputs, outputs } = randomGraph(random);
    const data = inputs.map((x) => Float32Array.from({ length: graph.sizeOf(x.shape) }, () => random.uniform() * 2 - 1));
    const expected = graph.evaluate(Object.values(outputs), new Map(inputs.map((x, i) => [x, data[i]!])));
    const session = await device.session({ outputs });
    const read = new Set(session.plan.inputs.map(({ name }) => name));
    const given = Object.fromEntries(inputs.map((_, i) => [`x${i}`, data[i]!] as const).filter(([name]) => read.has(name)));
    const { outputs: actual } = await session.run({ inputs: given });
    session.dispose();
    Object.keys(outputs).forEach((name, i) => {
      const values = [...expected[i]!],
        scale = Math.max(1, ...values.map(Math.abs));
      if (!(scale < 1e20)) return; // exponentials of exponentials
      const wrong = values.findIndex((value, j) => !(Math.abs(value - actual[name]![j]!) <= 3e-4 * scale));
      expect(wrong, `trial ${trial}, ${name}[${wrong}]: ${actual[name]![wrong]} for ${values[wrong]}`).toBe(-1);
    });
  }
});
