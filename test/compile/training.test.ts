// What is fused in a training step is pinned: a change of the planner shows here, kernel by kernel.
import { describe, expect, it } from "vitest";
import { compile } from "../../lib/compile/index.js";
import { printPlan } from "../../lib/compile/print.js";
import { adam, dense, type Layer, sgd } from "../../lib/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";
import { trainingGraph } from "../support/graphs.js";

function planOf(input: readonly number[], layers: readonly Layer[], latent: number, batchSize: number, optimizer = adam()) {
  const options = { input, latent, encoder: layers, decoder: layers, likelihood: "bernoulli" as const };
  const step = { rows: 60_000, dtype: "uint8" as const, batchSize, shuffle: true, optimizer, optimizerStart: 0 };
  return compile(trainingGraph(architectureOf(parseConfig(options, "test")), step));
}

describe("the training step of the usual dense VAE (784-400-20, batch 128, Adam)", () => {
  const plan = planOf([28, 28, 1], [dense(400, { activation: "relu" })], 20, 128);

  it("is these kernels", () => {
    expect(printPlan(plan)).toMatchSnapshot();
  });

  it("has its eleven products carry everything that happens to their results", () => {
    const products = plan.steps.filter((step) => step.kernel === "matmul");
    expect(products).toHaveLength(11);
    // The gradient of a weight never goes to memory: its product ends in Adam's three stores into the states.
    const updating = products.filter((step) => step.program.filter((i) => i.op === "store").length === 3 && /sqrt/.test(step.label));
    expect(updating).toHaveLength(4);
    // The loss and its gradient, with the sums over rows and columns, happen on the tile of logits.
    const loss = products.find((step) => /softplus/.test(step.label));
    expect(loss?.label).toMatch(/sigmoid/);
    expect(loss?.program.filter((i) => i.op === "reduce_sum").length).toBeGreaterThanOrEqual(2);
  });

  it("updates nothing before its loss is known, and everything in place after it", () => {
    const writes = plan.steps.map((step) =>
      step.program.some((i) => i.op === "store" && "operand" in i && plan.buffers[step.operands[i.operand]!.buffer]!.kind === "resident"),
    );
    expect(writes.indexOf(true)).toBeGreaterThanOrEqual(plan.commit);
    expect(plan.steps.some((step) => step.label === "copy to state")).toBe(false);
  });

  it("needs an arena of little more than its activations", () => {
    // x, the gradient of the logits, the hidden layers, one gradient of theirs and what is as wide as the latents, in float32.
    expect(plan.arenaBytes).toBeLessThan(4 * 128 * (2 * 784 + 3 * 400 + 10 * 20));
  });
});

describe("the training step of a deep VAE", () => {
  it("keeps no gradient longer than the layer below needs it", () => {
    const [batch, width, depth] = [1024, 256, 8];
    const layers = Array.from({ length: depth }, () => dense(width, { activation: "relu" }));
    const { arenaBytes } = planOf([width], layers, 8, batch);
    // All hidden layers, x and three gradients: not one for every layer, waiting for the optimizer.
    expect(arenaBytes).toBeLessThan(4 * batch * width * (2 * depth + 4));
  });
});

describe("a smaller step", () => {
  it("with momentum", () => {
    expect(printPlan(planOf([6], [dense(4, { activation: "relu" })], 2, 3, sgd({ learningRate: 0.1, momentum: 0.9 })))).toMatchSnapshot();
  });
});
