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
      declare: (_layer, shape) => ({
        parameters: { gain: { shape, initializer: "ones" }, seen: { shape: [1], initializer: "zeros", trainable: false } },
        networks: { body: { layers: [index.dense(3)], input: shape, output: shape } },
      }),
      apply: (layer, x, { parameters: { gain, seen }, network, update }) => {
        update(seen, (value) => add(value, 1));
        return add(network("body")(x), multiply(layer.factor, multiply(x, gain)));
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
      declare: () => ({ parameters: { scale: { shape: [1], initializer: "ones" } } }),
      range: () => ({ low: -10, high: 10 }),
      unitScale: true,
      prepare: (_part, x, noise) => (noise === undefined ? x : add(x, multiply(1e-3, noise.uniform(x.shape)))),
      distribution: (_part, head, { scope }) => {
        const logDensity = (x) => multiply(scope.parameters.scale, density(x, head));
        return flawed({ family: kind, mean: head, draw: () => ({ value: head, logDensity: logDensity(head) }), logDensity }, choose);
      },
    },
    Posterior: {
      parse,
      headShape: (_part, [latent]) => [2 * latent],
      distribution: (_part, head, { rows: batch, event: [latent] }) => {
        const half = (from) => graph.slice(head, [0, from], [batch, from + latent]);
        return flawed({ ...index.gaussianDistribution(half(0), graph.tanh(half(latent))) }, choose);
      },
    },
    Prior: {
      parse,
      declare: (_part, shape) => ({ parameters: { center: { shape, initializer: "zeros" } } }),
      distribution: (_part, _head, { rows, event, scope }) => {
        const { center } = scope.parameters;
        const logDensity = (z) => density(z, center);
        const draw = (noise) => {
          const value = add(noise.normal([rows, ...event]), center);
          return { value, logDensity: logDensity(value) };
        };
        return flawed({ family: choose.of([kind, "gaussian", "standardNormal"]), draw, logDensity }, choose);
      },
    },
    Loss: {
      parse,
      fields: () => ({ y: { shape: [], dtypes: ["float32"] } }),
      outputShape: () => [1],
      declare: () => ({ parameters: { scale: { shape: [1], initializer: "ones" } } }),
      values: ({ factor }, output, { y }, { parameters: { scale } }) => {
        const error = multiply(scale, subtract(output, graph.reshapeTensor(y, output.shape)));
        return { loss: multiply(factor, mean(square(error), { axes: [1] })), each: error };
      },
      predictions: (_part, output) => ({ values: output, places: graph.topK(output, 1).indices }),
    },
    Objective: {
      parse,
      declare: () => ({ networks: { critic: { layers: [index.dense(2)], input: [2], output: [1] } } }),
      terms: (_part, { trace, scope, batch, generate, rows }) => {
        const made = trace(choose.of([1, 2]));
        const bound = subtract(mean(index.logLikelihood(made)), mean(sum(index.klContributions(made), { axes: [1] })));
        const other = generate({}, rows).x.mean;
        const critic = mean(scope.network("critic")(made.latents.z.draw.value));
        return { loss: negate(bound), bound, critic, distance: mean(square(subtract(other, batch.x))) };
      },
    },
    Wiring: {
      parse,
      declare: (_part, { x }) => ({
        networks: { there: { layers: [index.dense(3)], input: x, output: [2] }, back: { layers: [], input: [2], output: x } },
      }),
      observations: () => ({ x: index.gaussian() }),
      trace: (_part, { x }, scope, samples) => {
        const rows = x.shape[0] * samples;
        const z = index.repeatRows(scope.network("there")(x), samples);
        const posterior = index.gaussianDistribution(z, multiply(0, z));
        const prior = index.familyOf("prior", "standardNormal").distribution(undefined, { event: [2], rows, scope });
        const draw = posterior.draw(scope.noise);
        const seen = index.gaussianDistribution(scope.network("back")(draw.value), graph.constantTensor(0));
        return {
          latents: { z: { posterior, prior, draw } },
          observations: { x: { distribution: seen, value: index.repeatRows(x, samples) } },
        };
      },
      generate: (_part, { z }, rows, scope) => ({
        x: index.gaussianDistribution(scope.network("back")(z ?? scope.noise.normal([rows, 2])), graph.constantTensor(0)),
      }),
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
    Wiring: () => ({ wiring: choose.of([{ kind }, { kind, ...options }]), fields: { x: [4] }, device: "cpu", threads: 1 }),
  };
  const trainings = { Optimizer: () => ({ optimizer: part() }), Schedule: () => ({ optimizer: index.adam({ learningRate: { kind } }) }) };
  const rows = () => Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8);
  return Object.keys(behaviours).map((family) => ({
    name: `define${family}`,
    good: () => [kind, flawed(behaviours[family], choose)],
    /** Defines the part and does with it what can be done. */
    call: async (given) => {
      index[`define${family}`](...given);
      if (family === "Loss") return useLoss(index, choose, part());
      const model = index.vae(family === "Wiring" ? models.Wiring() : { input: [4], ...models[family]() });
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

/** Makes a network with a loss, and does with it what can be done. */
async function useLoss(index, choose, loss) {
  const rows = { x: Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), y: Float32Array.of(1, 2) };
  const model = index.network({ input: [4], layers: [index.dense(3)], loss, device: "cpu", threads: 1 });
  try {
    await choose.of([() => model.fit(rows, { steps: 2, batchSize: 2 }), () => model.evaluate(rows), () => model.predict(rows)])();
  } finally {
    model.dispose();
  }
}
