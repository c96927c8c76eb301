// A network as something that can be trained, and the programs that it is asked with.
import { describe, type VaeError } from "../errors.js";
import { isRecord } from "../graph/arguments.js";
import { cast, type DType, input, isTensor, mean, multiply, type Shape, sizeOf, type Tensor } from "../graph/index.js";
import { isArray } from "../graph/kinds.js";
import { shapeInstead } from "../graph/tensor.js";
import { checkFieldName } from "../io/field.js";
import { type Declared, type NamedParameter, Noise, Pass, parametersIn, placeOf, type Scope, wrongResult } from "../nn/index.js";
import type { Program } from "../train/program.js";
import { summaryOf } from "../train/summary.js";
import type { Batch, FieldSpec, Terms, Trainable } from "../train/trainable.js";
import type { NetworkConfig } from "./config.js";
import { type Loss, losses } from "./losses.js";

/** A network before it has weights. */
export interface NetworkArchitecture extends Trainable {
  readonly config: NetworkConfig;
  readonly parameters: readonly NamedParameter[];
  /** Values in a row of x. */
  readonly size: number;
  /** What the loss predicts, by name. */
  readonly predictions: Readonly<Record<string, Outline>>;
  /** What it is evaluated by. */
  readonly values: Readonly<Record<string, Outline>>;
  readonly predict: Program;
  readonly evaluate: Program;
}

/** What the tensors of a result have for one row. */
export interface Outline {
  readonly dtype: DType;
  /** `[]` or `[k]`. */
  readonly shape: Shape;
}

/**
 * Infers shapes, adds the head, names the parameters, and looks at what the loss makes of a row.
 *
 * @throws VaeError where layers do not fit, or the loss gives what it should not
 */
export function networkArchitecture(config: NetworkConfig): NetworkArchitecture {
  const { loss } = config;
  const behaviour = losses.of(loss);
  const own = targetFields(loss);
  const x: FieldSpec = { shape: config.input, dtypes: ["float32", "uint8"], unitScale: true };
  const fields = { x, ...own };
  const declared: Declared = {
    networks: { layers: { layers: config.layers, input: config.input, output: outputShape(loss) } },
  };
  const lossDeclared = behaviour.declare?.(loss);
  const place = placeOf("", lossDeclared === undefined ? declared : { ...declared, parts: { loss: lossDeclared } }, "network");
  const shapesOf = (specs: Readonly<Record<string, FieldSpec>>): Readonly<Record<string, Shape>> =>
    Object.fromEntries(Object.entries(specs).map(([name, { shape }]) => [name, shape]));
  const predict = (batch: Batch, scope: Scope) => predictionsOf(loss, outputOf(batch, scope), lossScope(scope, lossDeclared));
  const values = (batch: Batch, scope: Scope) => valuesOf(loss, outputOf(batch, scope), batch, lossScope(scope, lossDeclared));
  // Once for a single row: what a loss gives is known, and refused if need be, before anything is trained.
  const inputs = Object.entries(fields).map(([name, { shape, dtypes }]) => [name, input(name, [1, ...shape], dtypes[0])] as const);
  const scope = new Pass("inference", new Noise("predict")).scope(place);
  const outlines = (tensors: Readonly<Record<string, Tensor>>): Readonly<Record<string, Outline>> =>
    Object.fromEntries(Object.entries(tensors).map(([name, { dtype, shape }]) => [name, { dtype, shape: shape.slice(1) }]));
  return {
    config,
    fields,
    place,
    parameters: parametersIn(place),
    size: sizeOf(config.input),
    terms: (batch, of) => meansOf(values(batch, of)),
    predictions: outlines(predict(Object.fromEntries(inputs), scope)),
    values: outlines(values(Object.fromEntries(inputs), scope)),
    predict: {
      name: "predict",
      inputs: shapesOf({ x }),
      build: (batch, of) => Object.fromEntries(Object.entries(predict(batch, of)).map(([name, tensor]) => [name, cast(tensor)])),
    },
    evaluate: { name: "evaluate", inputs: shapesOf(fields), build: values },
  };
}

/** The layers with their shapes and parameter counts as a table to print. */
export function summarizeNetwork({ place, config }: NetworkArchitecture): string {
  return summaryOf(place, { part: () => config.loss.kind, own: config.loss.kind });
}

const DTYPES: readonly unknown[] = ["float32", "int32", "uint8"] satisfies DType[];

/** The fields of a loss, under names that rows can have. */
function targetFields(loss: Loss): Readonly<Record<string, FieldSpec>> {
  const fields: unknown = losses.of(loss).fields(loss);
  if (!isRecord(fields)) throw wrong(loss, "fields", "the fields that it reads by name: { y: { shape: [], dtypes } }", fields);
  for (const [name, field] of Object.entries(fields)) {
    checkFieldName(name, `loss ${loss.kind}`);
    if (name === "x") throw wrong(loss, "fields", "fields beside x", name);
    const { shape, dtypes }: Partial<Record<keyof FieldSpec, unknown>> = isRecord(field) ? field : {};
    const isRight =
      shapeInstead(shape) === undefined && isArray(dtypes) && dtypes.length > 0 && dtypes.every((one) => DTYPES.includes(one));
    if (!isRight) throw wrong(loss, "fields", `${describe(name)} as { shape, dtypes }`, field);
  }
  return fields as Readonly<Record<string, FieldSpec>>;
}

function outputShape(loss: Loss): Shape {
  const shape: unknown = losses.of(loss).outputShape(loss);
  if (shapeInstead(shape) === undefined && (shape as Shape).length > 0) return shape as Shape;
  throw wrong(loss, "outputShape", "a shape with at least one axis", shape);
}

/** What the layers make of rows. Bytes stand for value / 255. */
function outputOf({ x }: Batch, scope: Scope): Tensor {
  return scope.network("layers")(x!.dtype === "uint8" ? multiply(cast(x!), 1 / 255) : x!);
}

function lossScope(scope: Scope, declared: Declared | undefined): Scope {
  return declared === undefined ? scope.with({ noise: scope.noise.within("loss") }) : scope.part("loss");
}

function valuesOf(loss: Loss, output: Tensor, batch: Batch, scope: Scope): Readonly<Record<string, Tensor>> {
  const { x: _, ...own } = batch;
  const values = checkedTensors(loss, "values", losses.of(loss).values(loss, output, own, scope), output.shape[0]!, ["float32"]);
  if ("rows" in values) throw wrong(loss, "values", 'other names than "rows", which evaluate gives itself', "rows");
  if (values.loss?.shape.length === 1) return values;
  throw wrong(loss, "values", `a tensor "loss" [${output.shape[0]}]`, values.loss);
}

function predictionsOf(loss: Loss, output: Tensor, scope: Scope): Readonly<Record<string, Tensor>> {
  return checkedTensors(loss, "predictions", losses.of(loss).predictions(loss, output, scope), output.shape[0]!, ["float32", "int32"]);
}

/** Tensors `[rows]` or `[rows, k]` by name. */
function checkedTensors(loss: Loss, method: string, given: unknown, rows: number, dtypes: readonly DType[]) {
  const expected = `tensors [${rows}] or [${rows}, k] by name, ${dtypes.join(" or ")}`;
  if (!isRecord(given)) throw wrong(loss, method, expected, given);
  // Read once: getters may give something else the next time.
  const tensors = { ...given };
  for (const tensor of Object.values(tensors)) {
    const isRight = isTensor(tensor) && tensor.shape[0] === rows && tensor.shape.length <= 2 && dtypes.includes(tensor.dtype);
    if (!isRight) throw wrong(loss, method, expected, tensor);
  }
  return tensors as Readonly<Record<string, Tensor>>;
}

function wrong({ kind }: Loss, method: string, expected: string, value: unknown): VaeError {
  return wrongResult({ family: "loss", part: kind, method }, "argument", expected, value);
}

/** What a training step records: the means of what is one number per row. */
function meansOf(values: Readonly<Record<string, Tensor>>): Terms {
  const numbers = Object.entries(values).filter(([, { shape }]) => shape.length === 1);
  return Object.fromEntries(numbers.map(([name, tensor]) => [name, mean(tensor)]));
}
