// Graph to smaller graph with the same values: constants, identities, common subexpressions, dead code. Runs after
// differentiation (which leaves many of these behind) and before fusion. No rule changes a result by more than the
// rounding of one operation, and none drops a NaN.
import { ops, rowOf } from "../graph/ops.js";
import { type Attributes, makeTensor, type Shape, sameShape, sizeOf, type Tensor, type TensorType, topological } from "../graph/tensor.js";

const F32: TensorType["dtype"] = "float32";

/** Rewrites a set of graph roots; equal subexpressions become one node. */
export class Simplifier {
  readonly #unique = new Map<string, Tensor>();
  readonly #done = new Map<Tensor, Tensor>();
  readonly #uses = new Map<Tensor, number>();

  /** The simplified form of each root, a few nodes at a time. */
  *inTurns(roots: readonly Tensor[]): Generator<void, Tensor[]> {
    const order = topological(roots);
    for (const node of order) for (const input of node.inputs) this.#uses.set(input, (this.#uses.get(input) ?? 0) + 1);
    for (const [i, node] of order.entries()) {
      const inputs = node.inputs.map((input) => this.#done.get(input)!);
      this.#done.set(node, this.#rewrite(node, inputs));
      if (i % 32 === 0) yield;
    }
    return roots.map((root) => this.#done.get(root)!);
  }

  /** The one node with this op, inputs and attributes. */
  node(op: string, inputs: readonly Tensor[], attributes: Attributes, type: TensorType): Tensor {
    // Draws are pure functions of (seed, step, stream, shape), so even they may be shared.
    const key = `${op}(${inputs.map((input) => input.id).join()})${JSON.stringify(attributes, exactly)}[${type.shape.join()}]${type.dtype}`;
    let found = this.#unique.get(key);
    if (!found) {
      found = makeTensor(op, inputs, attributes, type);
      this.#unique.set(key, found);
    }
    return found;
  }

  #rewrite(node: Tensor, inputs: readonly Tensor[]): Tensor {
    const [x, y] = inputs;
    if (x && isElementwise(node.op)) {
      const folded = this.#foldUniform(node, inputs);
      if (folded) return folded;
    }
    // Wherever it is moved, a uniform tensor stays what it is.
    const moved = node.op === "transpose" || node.op === "slice" || node.op === "unfold" ? uniformSource(x!) : undefined;
    if (moved) return this.#broadcast(moved, node.shape);
    switch (node.op) {
      case "stop_gradient":
        return x!;
      case "cast":
        return x!.dtype === F32 ? x! : this.node("cast", inputs, {}, node);
      case "reshape":
        return this.#reshape(x!, node.shape);
      case "broadcast_to":
        return this.#broadcast(x!, node.shape);
      case "transpose":
        return this.#transpose(x!, node.attributes.permutation as readonly number[], node.shape);
      case "slice":
        return sameShape(x!.shape, node.shape) ? x! : this.node("slice", inputs, node.attributes, node);
      case "sum":
      case "max":
        return this.#reduce(node.op, x!, node.attributes.axes as readonly number[], node.shape);
      case "negate":
        return x!.op === "negate" ? x!.inputs[0]! : this.node("negate", inputs, {}, node);
      case "add":
        return this.#add(x!, y!, node);
      case "subtract":
        if (uniformValue(y!) === 0) return x!;
        if (uniformValue(x!) === 0) return this.node("negate", [y!], {}, node);
        break;
      case "multiply":
        return this.#multiply(x!, y!, node);
      case "divide": {
        const value = uniformValue(y!);
        // The reciprocal of a power of two is exact, and a multiplication is several times cheaper than a division.
        if (value !== undefined && isPowerOfTwo(value)) return this.#multiply(x!, this.#uniform(1 / value, node.shape), node);
        break;
      }
    }
    return this.node(node.op, inputs, node.attributes, node);
  }

  #uniform(value: number, shape: Shape): Tensor {
    const scalar = this.node("constant", [], { value }, { shape: [], dtype: F32 });
    return shape.length === 0 ? scalar : this.node("broadcast_to", [scalar], {}, { shape, dtype: F32 });
  }

  /** An elementwise op on uniform inputs is computed once, as a scalar: now if they are constants, else at run time. */
  #foldUniform(node: Tensor, inputs: readonly Tensor[]): Tensor | undefined {
    const values = inputs.map(uniformValue);
    if (values.every((value) => value !== undefined) && inputs.every((input) => input.dtype === F32)) {
      const row = rowOf(node.op);
      const [value] = row.evaluate(
        values.map((v) => ({ data: Float64Array.of(v), shape: [], dtype: F32 })),
        node.attributes,
        { shape: [], dtype: F32 },
        { seed: 0n, step: 0 },
      );
      if (value !== undefined && Number.isFinite(value)) return this.#uniform(value, node.shape);
    }
    if (node.shape.length === 0) return undefined;
    const scalars = inputs.map(uniformSource);
    if (scalars.some((scalar) => scalar === undefined)) return undefined;
    const type = { shape: [], dtype: F32 } as const;
    const scalar = this.#rewrite({ ...node, ...type }, scalars as Tensor[]);
    return this.#broadcast(scalar, node.shape);
  }

  #reshape(x: Tensor, shape: Shape): Tensor {
    if (sameShape(x.shape, shape)) return x;
    if (x.op === "reshape") return this.#reshape(x.inputs[0]!, shape);
    const source = uniformSource(x);
    if (source && x.op === "broadcast_to") return this.#broadcast(source, shape);
    return this.node("reshape", [x], {}, { shape, dtype: x.dtype });
  }

  #broadcast(x: Tensor, shape: Shape): Tensor {
    if (sameShape(x.shape, shape)) return x;
    if (x.op === "broadcast_to") return this.#broadcast(x.inputs[0]!, shape);
    // A scalar under any number of unit dimensions is broadcast from the bare scalar, so that equal ones meet.
    if (x.shape.length > 0 && sizeOf(x.shape) === 1) return this.#broadcast(this.#reshape(x, []), shape);
    return this.node("broadcast_to", [x], {}, { shape, dtype: x.dtype });
  }

  #transpose(x: Tensor, permutation: readonly number[], shape: Shape): Tensor {
    if (permutation.every((axis, d) => axis === d)) return x;
    if (x.op === "transpose") {
      const inner = x.attributes.permutation as readonly number[];
      const composed = permutation.map((axis) => inner[axis]!);
      return this.#transpose(x.inputs[0]!, composed, shape);
    }
    return this.node("transpose", [x], { permutation: [...permutation] }, { shape, dtype: x.dtype });
  }

  /** A reduction over scattered axes becomes one reduction per run of neighbouring axes, innermost first. */
  #reduce(op: "sum" | "max", x: Tensor, axes: readonly number[], shape: Shape): Tensor {
    const wanted = axes.filter((axis) => x.shape[axis] !== 1);
    if (wanted.length === 0) return this.#reshape(x, shape);
    const value = uniformValue(x);
    if (value !== undefined) return this.#uniform(op === "sum" ? value * wanted.reduce((n, axis) => n * x.shape[axis]!, 1) : value, shape);
    const sorted = [...axes].sort((a, b) => a - b);
    let first = sorted.length - 1;
    // Unit dimensions between two axes do not separate them.
    const joined = (from: number, to: number) => x.shape.slice(from + 1, to).every((size) => size === 1);
    while (first > 0 && joined(sorted[first - 1]!, sorted[first]!)) first--;
    const run = sorted.slice(first);
    const kept = x.shape.filter((_, axis) => !run.includes(axis));
    const reduced = this.node(op, [x], { axes: run }, { shape: kept, dtype: F32 });
    return first === 0 ? this.#reshape(reduced, shape) : this.#reduce(op, reduced, sorted.slice(0, first), shape);
  }

  #add(x: Tensor, y: Tensor, node: Tensor): Tensor {
    if (uniformValue(x) === 0) return y;
    if (uniformValue(y) === 0) return x;
    if (y.op === "negate") return this.node("subtract", [x, y.inputs[0]!], {}, node);
    if (x.op === "negate") return this.node("subtract", [y, x.inputs[0]!], {}, node);
    return this.#joinPads(x, y) ?? this.node("add", [x, y], {}, node);
  }

  #multiply(x: Tensor, y: Tensor, node: Tensor): Tensor {
    for (const [one, other] of [
      [x, y],
      [y, x],
    ] as const) {
      const value = uniformValue(one);
      if (value === 1) return other;
      // x·a·b is x·(ab) to the bit where a or b is a power of two; worth it where nothing else needs x·a.
      const needed = node.inputs.some((input) => this.#done.get(input) === other && this.#uses.get(input) !== 1);
      const inner = value !== undefined && other.op === "multiply" && !needed ? other.inputs.map(uniformValue) : [];
      const at = inner.findIndex((factor) => factor !== undefined && (isPowerOfTwo(factor) || isPowerOfTwo(value!)));
      if (at >= 0) return this.#multiply(other.inputs[1 - at]!, this.#uniform(inner[at]! * value!, node.shape), node);
      if (value === -1) return other.op === "negate" ? other.inputs[0]! : this.node("negate", [other], {}, node);
    }
    return x === y ? this.node("square", [x], {}, node) : this.node("multiply", [x, y], {}, node);
  }

  /** pad(a) + pad(b) with zeros where the other one lies, as the gradient of two slices leaves it, is a concatenation. */
  #joinPads(x: Tensor, y: Tensor): Tensor | undefined {
    const zeroPad = (t: Tensor) => t.op === "pad" && t.attributes.value === 0;
    if (!zeroPad(x) || !zeroPad(y)) return undefined;
    const before = [x.attributes.before as readonly number[], y.attributes.before as readonly number[]];
    const after = [x.attributes.after as readonly number[], y.attributes.after as readonly number[]];
    const padded = x.shape.map((_, d) => d).filter((d) => [...before, ...after].some((amounts) => amounts[d] !== 0));
    const [axis] = padded;
    if (padded.length !== 1 || axis === undefined) return undefined;
    const [a, b] = [x.inputs[0]!, y.inputs[0]!];
    const type = { shape: x.shape, dtype: F32 };
    if (before[0]![axis] === 0 && before[1]![axis] === a.shape[axis] && after[1]![axis] === 0)
      return this.node("concatenate", [a, b], { axis }, type);
    if (before[1]![axis] === 0 && before[0]![axis] === b.shape[axis] && after[0]![axis] === 0)
      return this.node("concatenate", [b, a], { axis }, type);
    return undefined;
  }
}

/** Longer lists are told apart by which they are, not by what they hold: writing millions of numbers takes seconds. */
const LONGEST_WRITTEN = 4096;
const longLists = new WeakMap<object, number>();
let longListsSeen = 0;

/** JSON has no infinities, NaN and negative zero, which are different constants nevertheless. */
function exactly(_name: string, value: unknown): unknown {
  if (Array.isArray(value) && value.length > LONGEST_WRITTEN) {
    const id = longLists.get(value) ?? longListsSeen++;
    longLists.set(value, id);
    return `list ${id}`;
  }
  if (typeof value !== "number" || (Number.isFinite(value) && !Object.is(value, -0))) return value;
  return Object.is(value, -0) ? "-0" : String(value);
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(Math.abs(value)));
}

/** Elementwise rows are the ones that native tile programs have an instruction for. */
export function isElementwise(op: string): boolean {
  return op !== "cast" && ops[op as keyof typeof ops]?.family === "elementwise";
}

/** The number that every element has, when the graph alone tells it. */
export function uniformValue(x: Tensor): number | undefined {
  if (x.op === "reshape") return uniformValue(x.inputs[0]!);
  const source = uniformSource(x);
  return source?.op === "constant" && typeof source.attributes.value === "number" ? source.attributes.value : undefined;
}

/** The scalar that all elements of x are copies of. */
export function uniformSource(x: Tensor): Tensor | undefined {
  if (x.shape.length === 0) return x;
  return x.op === "broadcast_to" && x.inputs[0]!.shape.length === 0 ? x.inputs[0]! : undefined;
}
