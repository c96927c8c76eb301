// A configuration with every shape inferred and every parameter named.
import { categoriesOf, type Likelihood, likelihoods, rangeOf } from "../distributions/index.js";
import { VaeError } from "../errors.js";
import { type Shape, sizeOf, step } from "../graph/index.js";
import { type Declared, Fields, type NamedParameter, parametersIn, placeOf, type Scope } from "../nn/index.js";
import { summaryOf } from "../train/summary.js";
import type { FieldSpec, Terms, Trainable } from "../train/trainable.js";
import { type Condition, conditionKinds, conditionShape } from "./conditions.js";
import { type VaeConfig, type WiredConfig, wiringOf } from "./config.js";
import { type ObjectiveContext, objectives, termsOf } from "./objectives.js";
import { type Preparation, preparations } from "./preparations.js";
import { prepared } from "./prepare.js";
import { repeatRows, type Trace } from "./trace.js";
import { type Batch, generated, observationsOf, traceOf, type Wiring, wirings } from "./wiring.js";

/** A model before it has weights: what it is made of, and what is trained of it. */
export interface Architecture extends Trainable {
  readonly config: VaeConfig | WiredConfig;
  readonly wiring: Wiring;
  readonly conditions: Readonly<Record<string, Condition>>;
  /** The likelihoods of the observed fields, by name. */
  readonly likelihoods: Readonly<Record<string, Likelihood>>;
  readonly parameters: readonly NamedParameter[];
  /** Values in a row of x. */
  readonly size: number;
}

/** Infers shapes, derives the heads and names the parameters; throws `VaeError` where layers do not fit. */
export function architectureOf(config: VaeConfig | WiredConfig): Architecture {
  const wiring = wiringOf(config);
  const behaviour = wirings.of(wiring);
  const { objective, conditions = {}, prepare } = config;
  const shapes: Readonly<Record<string, Shape>> = "wiring" in config ? config.fields : { x: config.input };
  const declared = behaviour.declare(wiring, shapes);
  const objectiveDeclared = objectives.of(objective).declare?.(objective, shapes);
  const parts = {
    ...(objectiveDeclared === undefined ? {} : { objective: objectiveDeclared }),
    ...(prepare === undefined ? {} : { prepare: { parameters: preparations.of(prepare).statistics(prepare, shapes.x!) } }),
  };
  const all: Declared = Object.keys(parts).length === 0 ? declared : { ...declared, parts: { ...declared.parts, ...parts } };
  const conditionShapes = Object.fromEntries(Object.entries(conditions).map(([name, condition]) => [name, conditionShape(condition)]));
  const place = placeOf("", all, wiring.kind === "flat" ? "model" : `wiring ${wiring.kind}`, conditionShapes);
  const observed = observationsOf(wiring, shapes);
  const fields: Record<string, FieldSpec> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    fields[name] = observedField(shape, observed[name], name === "x" ? prepare : undefined);
  }
  for (const [name, condition] of Object.entries(conditions)) {
    const { dtype, ...field } = conditionKinds.of(condition).field(condition);
    fields[name] = { ...field, dtypes: [dtype] };
  }
  const architecture: Architecture = {
    config,
    wiring,
    conditions,
    likelihoods: observed,
    fields,
    place,
    parameters: parametersIn(place),
    size: sizeOf(shapes.x!),
    terms: (batch, scope) => termsIn(architecture, batch, scope),
    ...(prepare === undefined
      ? {}
      : {
          fit: (rows) =>
            Object.fromEntries(
              Object.entries(preparations.of(prepare).fit(prepare, rows)).map(([name, values]) => [`prepare.${name}`, values]),
            ),
        }),
  };
  return architecture;
}

function observedField(shape: Shape, likelihood: Likelihood | undefined, preparation: Preparation | undefined): FieldSpec {
  if (likelihood === undefined) return { shape, dtypes: ["float32", "uint8", "int32"] };
  if (preparation !== undefined) {
    const range = rangeOf(likelihood);
    if (range === undefined) return { shape, dtypes: ["float32", "uint8"] };
    const problem = `rows prepared by ${preparation.kind} have any values, and the likelihood ${likelihood.kind} takes those in [${range.low}, ${range.high}]`;
    throw new VaeError({ code: "architecture", operation: "prepare", problem, hint: "use a gaussian likelihood, or leave prepare out" });
  }
  const names = categoriesOf(likelihood);
  if (names !== undefined) return { shape, dtypes: ["int32"], names };
  const unitScale = likelihoods.of(likelihood).unitScale === true;
  return { shape, dtypes: ["float32", "uint8", "int32"], range: () => rangeOf(likelihood), ...(unitScale ? { unitScale } : {}) };
}

/** The objective's terms of a batch as it is stored. */
function termsIn(architecture: Architecture, stored: Batch, root: Scope): Terms {
  const { wiring, config } = architecture;
  const { batch, scope } = prepared(architecture, stored, root, root.noise.within("data"));
  const rows = batch.x!.shape[0]!;
  const own = "objective" in architecture.place.parts ? scope.part("objective") : scope.with({ noise: scope.noise.within("objective") });
  const context: ObjectiveContext = {
    rows,
    step: step(),
    batch,
    scope: own,
    trace: (samples = 1): Trace => {
      const given = new Fields("trace", { samples });
      return traceOf(wiring, batch, scope, given.number("samples", { minimum: 1, integer: true }));
    },
    generate: (latents, count = rows) => generated(wiring, latents, count, forRows(scope, rows, count)),
  };
  return termsOf(config.objective.kind, objectives.of(config.objective).terms(config.objective, context));
}

/** The scope with each row's conditions for every one of its rows, where these are several for each. */
function forRows(scope: Scope, rows: number, count: number): Scope {
  const entries = Object.entries(scope.conditions);
  if (count === rows || entries.length === 0) return scope;
  if (count % rows === 0)
    return scope.with({ conditions: Object.fromEntries(entries.map(([name, x]) => [name, repeatRows(x, count / rows)])) });
  const expected = `a multiple of the batch's ${rows} rows, whose conditions are repeated`;
  throw new VaeError({ code: "argument", operation: "generate", expected, received: `${count} rows` });
}

/** The layers with their shapes and parameter counts as a table to print. */
export function summarize({ config, wiring, place }: Architecture): string {
  const kinds = config as unknown as Readonly<Record<string, { readonly kind?: string } | undefined>>;
  const part = (name: string): string | undefined => (name === "posterior" ? undefined : (kinds[name]?.kind ?? wiring.kind));
  return summaryOf(place, { part, own: wiring.kind });
}
