// The graph of a training step: gather a batch, forward, backward, update; one row of terms.
import { VaeError } from "../errors.js";
import { suggestion } from "../graph/arguments.js";
import { type DType, gather, grad, reshapeTensor, sizeOf, state, step, subtract, type Tensor } from "../graph/index.js";
import { isArray } from "../graph/kinds.js";
import { drawIndices } from "../graph/random.js";
import {
  BATCH_ORDER,
  clipNorm,
  type GradientOf,
  type GradientTransform,
  Noise,
  type Optimizer,
  optimizerUpdates,
  Pass,
} from "../nn/index.js";
import type { SessionGraph } from "../runtime/session.js";
import type { Course, Courses } from "./state.js";
import type { Batch, Terms, Trainable } from "./trainable.js";
import { rowsState, slotState } from "./weights.js";

/** What a training step is built for. */
export interface TrainingStep {
  /** Rows that are resident, and how their fields are stored. */
  readonly rows: number;
  readonly dtypes: Readonly<Record<string, DType>>;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly courses: Courses;
  /** What changes gradients before the optimizers' own clipping. */
  readonly transforms: readonly GradientTransform[];
}

/** One training step. */
export function trainingGraph(trainable: Trainable, options: TrainingStep): SessionGraph {
  const { courses, frozen } = options.courses;
  const { terms, pass } = batchTerms(trainable, options);
  const losses = groupBy(courses, ({ loss }) => loss);
  const updates = [...losses].flatMap(([loss, trained]) => updatesOf(lossOf(terms, loss), trained, pass, options.transforms));
  const statistics = pass.updates.filter(([tensor]) => !frozen.has(nameOf(tensor)));
  return { terms, updates: [...updates, ...statistics] };
}

function nameOf(tensor: Tensor): string {
  const { name } = tensor.attributes as { readonly name?: string };
  return name ?? "";
}

function lossOf(terms: Terms, name: string): Tensor {
  if (Object.hasOwn(terms, name)) return terms[name]!;
  const names = Object.keys(terms);
  throw new VaeError({
    code: "argument",
    operation: "groups",
    problem: `there is no term "${name}" to minimise`,
    hint: `${suggestion(name, names)}terms: ${names.join(", ")}`,
  });
}

/** The updates of the parameters of one loss: parameters of one optimizer share its scalars and the norm that it clips to. */
function updatesOf(loss: Tensor, courses: readonly Course[], pass: Pass, transforms: readonly GradientTransform[]) {
  const tensors = courses.map(({ parameter }) => pass.tensor(parameter));
  const raw = grad(loss, tensors).map(
    (gradient, index): GradientOf => ({ name: courses[index]!.parameter.name, parameter: tensors[index]!, gradient }),
  );
  const gradients = new Map(transformed(raw, transforms).map((each) => [each.name, each]));
  const byOptimizer = groupBy(courses, ({ optimizer }) => optimizer);
  return [...byOptimizer].flatMap(([optimizer, own]) => {
    const mine = own.map(({ parameter }) => gradients.get(parameter.name)!);
    const clipped = new Map(transformed(mine, clipping(optimizer)).map((each) => [each.name, each]));
    const byStart = groupBy(own, ({ start, scheduleStart }) => `${start} ${scheduleStart}`);
    return [...byStart.values()].flatMap((together) => {
      const { start, scheduleStart } = together[0]!;
      const rates = new Map(together.map(({ parameter, rate }) => [parameter.name, rate]));
      return optimizerUpdates(
        optimizer,
        together.map(({ parameter }) => clipped.get(parameter.name)!),
        (parameter, slot, shape) => state(slotState(parameter, slot), shape),
        subtract(step(), start),
        subtract(step(), scheduleStart),
        (name) => rates.get(name)!,
      );
    });
  });
}

function groupBy<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item)) ?? [];
    group.push(item);
    groups.set(keyOf(item), group);
  }
  return groups;
}

function clipping({ clipNorm: limit }: Optimizer): readonly GradientTransform[] {
  return limit === undefined ? [] : [clipNorm(limit)];
}

function transformed(gradients: readonly GradientOf[], transforms: readonly GradientTransform[]): readonly GradientOf[] {
  return transforms.reduce<readonly GradientOf[]>((all, transform) => {
    const result = transform(all, step());
    const names = new Set(isArray(result) ? (result as readonly GradientOf[]).map(({ name }) => name) : []);
    if (all.every(({ name }) => names.has(name))) return result;
    throw new VaeError({
      code: "argument",
      operation: "gradient transform",
      expected: "the gradients of all parameters that it was given",
    });
  }, gradients);
}

/** The terms that a training step would see, and nothing else. */
export function probeGraph(trainable: Trainable, options: TrainingStep): SessionGraph {
  return { terms: batchTerms(trainable, options).terms };
}

function batchTerms(trainable: Trainable, { rows, dtypes, batchSize, shuffle }: TrainingStep) {
  const indices = drawIndices({ rows, batch: batchSize, shuffle, stream: BATCH_ORDER });
  const fields = Object.entries(trainable.fields).map(([name, { shape }]) => {
    const size = shape.length === 0 ? [] : [sizeOf(shape)];
    const stored = gather(state(rowsState(name), [rows, ...size], dtypes[name]!), indices);
    return [name, shape.length <= 1 ? stored : reshapeTensor(stored, [batchSize, ...shape])] as const;
  });
  const pass = new Pass("training", new Noise("training"));
  const terms = trainable.terms(Object.fromEntries(fields) as Batch, pass.scope(trainable.place));
  return { terms, pass };
}
