// From places to graphs: one pass over a model, and the scopes that its parts see.
import { describe, VaeError } from "../errors.js";
import { suggestion } from "../graph/arguments.js";
import { isTensor, sameShape, showShape, state, type Tensor } from "../graph/index.js";
import { isFunction, letGo } from "../graph/kinds.js";
import { layers } from "./layer.js";
import type { NamedParameter } from "./parameters.js";
import type { Conditions, NoiseSource, Scope } from "./scope.js";
import { inLayer, type Place, type Stack, type StackEntry } from "./stack.js";

/** What is built once: the graph of a training step, of an encoding, … All its scopes share one tensor per parameter. */
export class Pass {
  readonly mode: Scope["mode"];
  readonly noise: NoiseSource;
  readonly #tensors = new Map<string, Tensor>();
  readonly #next = new Map<Tensor, Tensor>();
  readonly #applied = new Map<Stack, { readonly x: Tensor; readonly conditions: Conditions; readonly result: Tensor }[]>();

  constructor(mode: Scope["mode"], noise: NoiseSource) {
    this.mode = mode;
    this.noise = noise;
  }

  /** The tensor of a parameter: the resident of its name, or what {@link Pass.substitute} put in its place. */
  tensor({ name, shape }: Pick<NamedParameter, "name" | "shape">): Tensor {
    const known = this.#tensors.get(name);
    if (known !== undefined) return known;
    const tensor = state(name, shape);
    this.#tensors.set(name, tensor);
    return tensor;
  }

  /** Lets a tensor stand for a parameter: adapted weights, weights from elsewhere. Before the first use of the parameter. */
  substitute(name: string, tensor: Tensor): void {
    this.#tensors.set(name, tensor);
  }

  update(tensor: Tensor, next: (current: Tensor) => Tensor): void {
    const wrong = (expected: string, received: unknown): VaeError => {
      letGo(received);
      const shown = isTensor(received) ? `a ${received.dtype} tensor ${showShape(received.shape)}` : describe(received);
      return new VaeError({ code: "argument", operation: "update", expected, received: shown });
    };
    if (!isTensor(tensor)) throw wrong("a parameter of the scope and a function to its next value", tensor);
    if (!isFunction(next)) throw wrong("a function from the value so far to the next one", next);
    if (this.mode !== "training") return;
    const value: unknown = next(this.#next.get(tensor) ?? tensor);
    const isNext = isTensor(value) && value.dtype === "float32" && sameShape(value.shape, tensor.shape);
    if (!isNext) throw wrong(`the next value as a float32 tensor ${showShape(tensor.shape)}`, value);
    this.#next.set(tensor, value);
  }

  /** What the parts have updated, with the next values. */
  get updates(): readonly (readonly [state: Tensor, next: Tensor])[] {
    return [...this.#next];
  }

  /** The scope of a place, the whole model's or a part's. */
  scope(place: Place, conditions: Conditions = {}): Scope {
    return scopeOf(this, place, conditions, place.name === "" ? this.noise : this.noise.within(place.name));
  }

  /** Runs `[rows, ...input]` through a stack; the very same tensors are run through it once. */
  apply(stack: Stack, x: Tensor, conditions: Conditions): Tensor {
    const before = this.#applied.get(stack) ?? [];
    const known = before.find((call) => call.x === x && sameConditions(call.conditions, conditions));
    if (known !== undefined) return known.result;
    const result = stack.entries.reduce((value, entry) => this.#applyLayer(entry, value, conditions), x);
    this.#applied.set(stack, [...before, { x, conditions, result }]);
    return result;
  }

  #applyLayer({ name, layer, output, place }: StackEntry, x: Tensor, conditions: Conditions): Tensor {
    return inLayer(name, () => {
      const result: unknown = layers.of(layer).apply(layer, x, this.scope(place, conditions));
      const shape = [x.shape[0]!, ...output];
      if (isTensor(result) && sameShape(result.shape, shape)) return result;
      letGo(result);
      const received = isTensor(result) ? showShape(result.shape) : describe(result);
      const expected = `a tensor ${showShape(shape)} from apply, as outputShape says`;
      throw new VaeError({ code: "shape", operation: layer.kind, expected, received });
    });
  }
}

function sameConditions(a: Conditions, b: Conditions): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** Its functions need no `this`: parts take them apart. */
function scopeOf(pass: Pass, place: Place, conditions: Conditions, noise: NoiseSource): Scope {
  return {
    mode: pass.mode,
    noise,
    conditions,
    parameters: Object.fromEntries(Object.entries(place.parameters).map(([name, spec]) => [name, pass.tensor(spec)])),
    network: (name) => {
      const stack = owned(place, place.networks, name, "network");
      return (x, given = conditions) => {
        if (isTensor(x) && sameShape(x.shape.slice(1), stack.input)) return pass.apply(stack, x, given);
        const operation = place.name === "" ? name : `${place.name}.${name}`;
        const expected = `a tensor [rows, ${stack.input.join(", ")}]`;
        throw new VaeError({ code: "shape", operation, expected, received: isTensor(x) ? showShape(x.shape) : describe(x) });
      };
    },
    part: (name) => pass.scope(owned(place, place.parts, name, "part"), conditions),
    with: (changes = {}) => scopeOf(pass, place, changes.conditions ?? conditions, changes.noise ?? noise),
    update: (tensor, next) => pass.update(tensor, next),
  };
}

function owned<Part>(place: Place, parts: Readonly<Record<string, Part>>, name: string, what: string): Part {
  if (Object.hasOwn(parts, name)) return parts[name]!;
  const names = Object.keys(parts);
  throw new VaeError({
    code: "argument",
    operation: place.name === "" ? "scope" : place.name,
    problem: `unknown ${what} ${describe(name)}`,
    hint: `${suggestion(name, names)}declared: ${names.join(", ") || "none"}`,
  });
}
