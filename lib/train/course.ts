// How many steps a training makes, and where its epochs end.
import { VaeError } from "../errors.js";

/** As a caller says it. */
export type StepPlan = { readonly epochs: number } | { readonly steps: number };

/** Steps and epochs of a training. */
export interface StepCourse {
  readonly steps: number;
  readonly epochs: number;
  /** The step at which an epoch ends, from 1 on. */
  readonly epochEnd: (epoch: number) => number;
}

/**
 * @param rows of an epoch; undefined for a stream of unknown length, which is one epoch of all its steps
 * @throws VaeError `"argument"` for epochs of unknown length
 */
export function planSteps(plan: StepPlan, rows: number | undefined, batchSize: number, operation: string): StepCourse {
  if (rows === undefined) {
    if ("steps" in plan) return { steps: plan.steps, epochs: 1, epochEnd: () => plan.steps };
    throw new VaeError({
      code: "argument",
      operation,
      problem: "how many rows an epoch of the stream has is not known",
      expected: "steps instead of epochs, or a stream that says its rows",
      hint: `${operation}(stream, { steps: 1000 }), or streamed(open, { rows: 60000 })`,
    });
  }
  const epochEnd = (epoch: number): number => Math.ceil((epoch * rows) / batchSize);
  const steps = "steps" in plan ? plan.steps : epochEnd(plan.epochs);
  // The last epoch is the first whose end the steps reach.
  return { steps, epochs: Math.floor(((steps - 1) * batchSize) / rows) + 1, epochEnd };
}
