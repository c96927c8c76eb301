// A model's own graph, to be evaluated in float64: an objective is given all of it.
import { evaluate, mean, negate, type Tensor, topological } from "../../lib/graph/index.js";
import { defineObjective, logLikelihood, type ObjectiveContext, type Vae, type WiredConfig } from "../../lib/index.js";

let last: ObjectiveContext | undefined;

defineObjective("opened", {
  parse: () => ({ kind: "opened" }),
  terms: (_, context) => {
    last = context;
    return { loss: negate(mean(logLikelihood(context.trace()))) };
  },
});

/** A model whose training step is at hand. */
export interface Opened {
  /** What the objective of the step was given. */
  readonly context: ObjectiveContext;
  /** Evaluates tensors with the model's weights and with other values for given tensors. */
  evaluate(outputs: readonly Tensor[], given: ReadonlyMap<Tensor, ArrayLike<number>>): Float64Array[];
}

/** Opens a model of the objective `"opened"` by one step over `rows`, all of them in one batch. */
export async function opened(model: Vae | Vae<WiredConfig>, rows: Float32Array, batchSize: number): Promise<Opened> {
  await model.fit(rows, { steps: 1, batchSize });
  const parameters = await model.parameters();
  return {
    context: last!,
    evaluate: (outputs, given) => {
      const weights = topological(outputs).flatMap((tensor): [Tensor, ArrayLike<number>][] => {
        const own = tensor.op === "state" ? parameters.get(String(tensor.attributes.name)) : undefined;
        return own === undefined ? [] : [[tensor, own.data]];
      });
      return evaluate(outputs, new Map([...weights, ...given]));
    },
  };
}
