// Parts of models as users define them: right ones, whose functions now and then throw or give what they should not.
import { Own, spoiled, zoo } from "./zoo.mjs";

/** A behaviour of which one function may be replaced, or give something else than it should. */
function flawed(behaviour, choose) {
  if (choose.random() < 0.2) return behaviour;
  const name = choose.of(Object.keys(behaviour));
  const right = behaviour[name];
  const flaw = choose.of([
    () => choose.of(zoo)(),
    (...given) => spoiled(right(...given), choose),
    () => {
      throw new Own("from a caller's own part");
    },
    async (...given) => right(...given),
    (...given) => choose.of(given),
    () => undefined,
  ]);
  return { ...behaviour, [name]: typeof right === "function" ? flaw : choose.of(zoo)() };
}

/** Good behaviours by family, and the models that use them. */
export function partsOf(index, graph, choose) {
  const { add, multiply, square, subtract, sum, negate, mean, input: _ } = graph;
  const kind = "stress";
  const small = { latent: 2, encoder: [index.dense(3)], decoder: [index.dense(3)], likelihood: "gaussian", device: "cpu", threads: 1 };
  const options = { factor: 2 };
  const parse = (fields) => ({ kind, factor: fields.number("factor", { above: 0 }, 2) });
  const density = (a, b) => multiply(-0.5, square(subtract(a, b)));
  const behaviours = {
    Layer: {
      parse,
      outputShape: (_layer, shape) => shape,
      parameters: (_layer, shape) => ({ gain: { shape, initializer: "ones" }, seen: { shape: [1], initializer: "zeros", trained: false } }),
      apply: (layer, x, { gain, seen }, context) => {
        if (context.mode === "training") context.update(seen, (value) => add(value, 1));
        return multiply(layer.factor, multiply(x, gain));
      },
    },
    Optimizer: {
      parse,
      slots: () => ["velocity"],
      begin:
        ({ factor }) =>
        (parameter, gradient, { velocity }) => ({
          parameter: subtract(parameter, multiply(0.01 / factor, velocity)),
          slots: { velocity: add(velocity, gradient) },
        }),
    },
    Schedule: { parse, value: ({ factor }, step) => multiply(1e-3 * factor, graph.exp(negate(step))) },
    Likelihood: {
      parse,
      headShape: (_part, shape) => shape,
      parameters: () => ({ scale: { shape: [1], initializer: "ones" } }),
      range: () => ({ low: -10, high: 10 }),
      unitScale: true,
      prepare: (_part, x, noise) => (noise === undefined ? x : add(x, multiply(1e-3, noise.uniform(x.shape)))),
      logDensity: (_part, x, head, { scale }) => multiply(scale, density(x, head)),
      mean: (_part, head) => head,
    },
    Posterior: {
      parse,
      headShape: (_part, latent) => [2 * latent],
      distribution: (_part, head, latent) => {
        const [batch] = head.shape;
        const half = (from) => graph.slice(head, [0, from], [batch, from + latent]);
        return flawed({ ...index.gaussianDistribution(half(0), graph.tanh(half(latent))) }, choose);
      },
    },
    Prior: {
      parse,
      parameters: (_part, latent) => ({ center: { shape: [latent], initializer: "zeros" } }),
      logDensity: (_part, z, { center }) => density(z, center),
      sample: (_part, rows, latent, noise, { center }) => add(noise.normal([rows, latent]), center),
      kl: (_part, { mean: center }) => multiply(0.5, square(center)),
    },
    Objective: {
      parse,
      terms: (_part, context) => {
        const z = context.sample();
        const bound = subtract(mean(context.logLikelihood(z)), mean(sum(context.kl(z, "closed"), { axes: [1] })));
        return { loss: negate(bound), bound };
      },
    },
  };
  const part = () => choose.of([kind, { kind }, { kind, ...options }, { kind, factor: -1 }]);
  const models = {
    Layer: () => ({ ...small, encoder: [part(), index.dense(3)], decoder: [index.residual([part()])] }),
    Optimizer: () => small,
    Schedule: () => ({ ...small, objective: index.elbo({ beta: { kind } }) }),
    Likelihood: () => ({ ...small, likelihood: part() }),
    Posterior: () => ({ ...small, posterior: part() }),
    Prior: () => ({ ...small, prior: part() }),
    Objective: () => ({ ...small, objective: part() }),
  };
  const trainings = { Optimizer: () => ({ optimizer: part() }), Schedule: () => ({ optimizer: index.adam({ learningRate: { kind } }) }) };
  const rows = () => Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8);
  return Object.keys(behaviours).map((family) => ({
    name: `define${family}`,
    good: () => [kind, flawed(behaviours[family], choose)],
    /** Defines the part and does with it what can be done. */
    call: async (given) => {
      index[`define${family}`](...given);
      const model = index.vae({ input: [4], ...models[family]() });
      try {
        await choose.of([
          () => model.fit(rows(), { steps: 2, batchSize: 2, ...trainings[family]?.() }),
          () => model.evaluate(rows(), { importanceSamples: choose.below(2) }),
          () => model.score(rows(), { samples: choose.below(2) }),
          () => model.sample(2),
          () => model.reconstruct(rows()),
        ])();
      } finally {
        model.dispose();
      }
    },
  }));
}
