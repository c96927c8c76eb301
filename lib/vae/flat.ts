// The wiring of the plain VAE: x to z by an encoder, z to x by a decoder.
import {
  type Distribution,
  type FamilyContext,
  families,
  type Likelihood,
  type Posterior,
  type Prior,
  type Role,
} from "../distributions/index.js";
import { describe, VaeError } from "../errors.js";
import { reshapeTensor, type Shape, sizeOf, type Tensor } from "../graph/index.js";
import {
  type ConditionShapes,
  type Conditions,
  conditionsJoined,
  type Declared,
  type Fields,
  joinedShape,
  type Layer,
  readInput,
  readLayers,
  readsConditions,
  type Scope,
  type Tagged,
} from "../nn/index.js";
import { type Condition, type ConditionPlace, conditionShape, readConditions } from "./conditions.js";
import { repeatRows, type Trace } from "./trace.js";
import { defineWiring, type FamilyOf, familyOf, type Wiring } from "./wiring.js";

/** The flat wiring, as data: the architecture options of {@link VaeOptions}, complete. */
export interface Flat extends Wiring {
  readonly kind: "flat";
  readonly input: Shape;
  readonly latent: number;
  readonly encoder: readonly Layer[];
  readonly decoder: readonly Layer[];
  readonly posterior: Posterior;
  readonly prior: Prior;
  readonly likelihood: Likelihood;
  readonly conditions?: Readonly<Record<string, Condition>>;
}

/** Reads the options of a flat model. */
export function readFlat(fields: Fields): Omit<Flat, "kind"> {
  const part = (name: Role, fallback?: string): Tagged => {
    const value = fields.given(name, fallback);
    if (value === undefined) throw fields.wrong(name, `one of ${families[name].kinds().join(", ")}`);
    return families[name].parse(value, `${fields.operation} ${name}`);
  };
  const conditions = readConditions(fields);
  return {
    input: readInput(fields),
    latent: fields.number("latent", { minimum: 1, integer: true }),
    encoder: readLayers(fields, "encoder"),
    decoder: readLayers(fields, "decoder"),
    posterior: part("posterior", "gaussian"),
    prior: part("prior", "standardNormal"),
    likelihood: part("likelihood"),
    ...(conditions === undefined ? {} : { conditions }),
  };
}

/** The conditions that come into one of the two networks. */
function conditionsAt({ conditions = {} }: Flat, place: Exclude<ConditionPlace, "both">): Readonly<Record<string, Condition>> {
  return Object.fromEntries(Object.entries(conditions).filter(([, { at }]) => at === "both" || at === place));
}

/** What goes into a network: joined at its front are the conditions that no layer of it reads by itself. */
interface Entrance {
  readonly shape: Shape;
  readonly joined: readonly string[];
}

function entranceOf(wiring: Flat, place: "encoder" | "decoder", input: Shape): Entrance {
  const list = wiring[place];
  const conditions = conditionsAt(wiring, place);
  const own = readsConditions(list);
  const stranger = [...own].find((name) => !Object.hasOwn(conditions, name) && Object.hasOwn(wiring.conditions ?? {}, name));
  if (stranger !== undefined) {
    const problem = `a layer reads the condition "${stranger}", which does not come into the ${place}`;
    throw new VaeError({ code: "architecture", operation: place, problem, hint: `${stranger}: category(…, { at: "both" })` });
  }
  const joined = Object.keys(conditions).filter((name) => !own.has(name));
  if (joined.length === 0) return { shape: input, joined };
  // Dense layers take an image as one row: there a condition joins the row once instead of every pixel.
  const first = list[0]?.kind;
  const asRow = first === undefined || first === "dense" || first === "flatten";
  const shapes: ConditionShapes = Object.fromEntries(joined.map((name) => [name, conditionShape(conditions[name]!)]));
  return { shape: joinedShape(asRow ? [sizeOf(input)] : input, shapes), joined };
}

function enter({ shape, joined }: Entrance, x: Tensor, conditions: Conditions): Tensor {
  if (joined.length === 0) return reshapeTensor(x, [x.shape[0]!, ...shape]);
  const width = joined.reduce((total, name) => total + sizeOf(conditions[name]!.shape.slice(1)), 0);
  const unjoined = [...shape.slice(0, -1), shape.at(-1)! - width];
  return conditionsJoined(
    reshapeTensor(x, [x.shape[0]!, ...unjoined]),
    Object.fromEntries(joined.map((name) => [name, conditions[name]!])),
  );
}

function parts(wiring: Flat): Readonly<Record<"posterior" | "prior" | "likelihood", FamilyOf>> {
  return {
    posterior: familyOf("posterior", wiring.posterior),
    prior: familyOf("prior", wiring.prior),
    likelihood: familyOf("likelihood", wiring.likelihood),
  };
}

function required(head: Shape | undefined, role: string, { kind }: Tagged): Shape {
  if (head !== undefined) return head;
  const expected = `headShape to give the shape of what the ${role === "posterior" ? "encoder" : "decoder"} must give`;
  throw new VaeError({ code: "shape", operation: `${role} ${kind}`, expected, received: "undefined" });
}

function decoded(wiring: Flat, z: Tensor, scope: Scope): Distribution {
  const rows = z.shape[0]!;
  const head = scope.network("decoder")(enter(entranceOf(wiring, "decoder", [wiring.latent]), z, scope.conditions));
  const context: FamilyContext = { event: wiring.input, rows, scope: scope.part("likelihood") };
  return parts(wiring).likelihood.distribution(head, context);
}

defineWiring<Flat>("flat", {
  parse: (options) => ({ kind: "flat", ...readFlat(options) }) as Flat,
  observations: ({ likelihood }) => ({ x: likelihood }),
  declare: (wiring): Declared => {
    const { posterior, prior, likelihood } = parts(wiring);
    const latent = [wiring.latent];
    if (prior.headShape(latent) !== undefined) {
      const problem = "this prior needs a network, and a flat model has none for it";
      throw new VaeError({ code: "architecture", operation: `prior ${wiring.prior.kind}`, problem, hint: "define a wiring of your own" });
    }
    const network = (place: "encoder" | "decoder", input: Shape, output: Shape) => ({
      layers: wiring[place],
      input: entranceOf(wiring, place, input).shape,
      output,
    });
    return {
      networks: {
        encoder: network("encoder", wiring.input, required(posterior.headShape(latent), "posterior", wiring.posterior)),
        decoder: network("decoder", latent, required(likelihood.headShape(wiring.input), "likelihood", wiring.likelihood)),
      },
      parts: { posterior: posterior.declare(latent), prior: prior.declare(latent), likelihood: likelihood.declare(wiring.input) },
    };
  },
  trace: (wiring, { x }, scope, samples): Trace => {
    const event = [wiring.latent];
    const { posterior, prior } = parts(wiring);
    // All draws share one encoding: a second one would draw other noise and move statistics again.
    const encoding = scope.network("encoder")(enter(entranceOf(wiring, "encoder", wiring.input), x!, scope.conditions));
    const rows = x!.shape[0]! * samples;
    const repeated = scope.with({
      conditions: Object.fromEntries(Object.entries(scope.conditions).map(([name, tensor]) => [name, repeatRows(tensor, samples)])),
    });
    const own = repeated.part("posterior");
    const q = posterior.distribution(repeatRows(encoding, samples), { event, rows, scope: own });
    const draw = q.draw(own.noise);
    return {
      latents: { z: { posterior: q, prior: prior.distribution(undefined, { event, rows, scope: repeated.part("prior") }), draw } },
      observations: { x: { distribution: decoded(wiring, draw.value, repeated), value: repeatRows(x!, samples) } },
    };
  },
  generate: (wiring, latents, rows, scope) => {
    const { z, ...others } = latents;
    const unknown = Object.keys(others)[0];
    if (unknown !== undefined) {
      throw new VaeError({ code: "argument", operation: "generate", expected: "latents by name: { z }", received: describe(unknown) });
    }
    const own = scope.part("prior");
    const latent =
      z ??
      parts(wiring)
        .prior.distribution(undefined, { event: [wiring.latent], rows, scope: own })
        .draw(own.noise).value;
    return { x: decoded(wiring, latent, scope) };
  },
});
