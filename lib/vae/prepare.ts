// Rows as they are stored to rows as the model sees them.
import { likelihoods, tensorOf } from "../distributions/index.js";
import { cast, multiply, reshapeTensor, sizeOf, type Tensor } from "../graph/index.js";
import type { NoiseSource, Scope } from "../nn/index.js";
import type { Architecture } from "./architecture.js";
import { conditionKinds } from "./conditions.js";
import { preparations } from "./preparations.js";
import type { Batch } from "./wiring.js";

/** A batch in a model's scope. */
export interface Prepared {
  /** Observed fields as rows `[rows, size]`. */
  readonly batch: Batch;
  /** With the conditions. */
  readonly scope: Scope;
}

/**
 * Observed fields are scaled and changed as their likelihoods say, conditions encoded. Fields that are not in the batch are left out.
 *
 * @param noise for likelihoods that change rows at random, each field its own; without it they do not
 */
export function prepared(architecture: Architecture, stored: Batch, scope: Scope, noise?: NoiseSource): Prepared {
  const { conditions, fields } = architecture;
  const batch: Record<string, Tensor> = {};
  const encoded: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(stored)) {
    const condition = conditions[name];
    if (condition !== undefined) encoded[name] = conditionKinds.of(condition).encode(condition, tensor);
    else if (Object.hasOwn(fields, name)) batch[name] = observed(architecture, name, tensor, scope, noise?.within(name));
  }
  return { batch, scope: scope.with({ conditions: encoded }) };
}

function observed(architecture: Architecture, name: string, stored: Tensor, scope: Scope, noise: NoiseSource | undefined): Tensor {
  const { likelihoods: all, fields, config } = architecture;
  const size = sizeOf(fields[name]!.shape);
  const rows = stored.shape.length === 2 && stored.shape[1] === size ? stored : reshapeTensor(stored, [stored.shape[0]!, size]);
  if (rows.dtype === "int32") return rows; // tokens and categories: numbers that stand for something
  const own = rows.dtype === "uint8" ? multiply(cast(rows), 1 / 255) : rows;
  const { prepare } = config;
  const scaled =
    prepare === undefined || name !== "x" ? own : preparations.of(prepare).apply(prepare, own, scope.part("prepare").parameters);
  const likelihood = all[name];
  const behaviour = likelihood === undefined ? undefined : likelihoods.of(likelihood);
  if (behaviour?.prepare === undefined) return scaled;
  const asked = { family: "likelihood", part: likelihood!.kind, method: "prepare" };
  return tensorOf(asked, behaviour.prepare(likelihood!, scaled, noise), scaled.shape);
}

/** What a model gives for x, in the units of its rows. */
export function restored({ config: { prepare } }: Architecture, x: Tensor, scope: Scope): Tensor {
  return prepare === undefined ? x : preparations.of(prepare).invert(prepare, x, scope.part("prepare").parameters);
}
