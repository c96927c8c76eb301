// Resolves movement: which tensors are views of which buffers, and where a copy cannot be avoided.
import { VaeError } from "../errors.js";
import { flatten, forEachIndex } from "../graph/shape.js";
import { makeTensor, showShape, sizeOf, type Tensor, topological } from "../graph/tensor.js";
import { isElementwise, uniformValue } from "./simplify.js";
import { broadcastView, contiguousView, isContiguous, reshapeView, sliceView, transposeView, unfoldView, type View } from "./view.js";

const MOVEMENT = new Set(["reshape", "broadcast_to", "transpose", "slice", "unfold"]);

/** Views of what their input holds. */
export function isMovement(node: Tensor): boolean {
  return MOVEMENT.has(node.op);
}

const PRODUCTS = new Set(["matmul", "conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"]);

/** Ops whose kernels run a tile program over their result. */
export function isProduct(node: Tensor): boolean {
  return PRODUCTS.has(node.op);
}

/** Values that a tile program computes and may store wherever it likes. */
export function isProgrammed(node: Tensor): boolean {
  return (
    node.op === "copy" || node.op === "cast" || node.op === "sum" || node.op === "max" || node.op === "matmul" || isElementwise(node.op)
  );
}

/** Instructions of a tile program (reductions and products are not). */
export function isPointwise(node: Tensor): boolean {
  return node.op === "copy" || node.op === "cast" || isElementwise(node.op);
}

/** A scalar known at compile time is an immediate of the program, not memory. */
export function isImmediate(node: Tensor): boolean {
  return uniformValue(node) !== undefined;
}

/** The node whose buffer a tensor's elements lie in. */
export function storageRoot(node: Tensor): Tensor {
  let root = node;
  while (MOVEMENT.has(root.op)) root = root.inputs[0]!;
  return root;
}

/** The node that has the same elements in the same order, below any reshapes. */
export function stripReshape(node: Tensor): Tensor {
  let inner = node;
  while (inner.op === "reshape") inner = inner.inputs[0]!;
  return inner;
}

/** Where a tensor's elements lie in the (row-major) buffer of its {@link storageRoot}; undefined where a copy is needed. */
export function tryViewOf(node: Tensor): View | undefined {
  if (!MOVEMENT.has(node.op)) return contiguousView(node.shape);
  const inner = tryViewOf(node.inputs[0]!);
  if (!inner) return undefined;
  switch (node.op) {
    case "broadcast_to":
      return broadcastView(inner, node.shape);
    case "transpose":
      return transposeView(inner, node.attributes.permutation as readonly number[]);
    case "slice":
      return sliceView(inner, node.attributes.start as readonly number[], node.attributes.end as readonly number[]);
    case "unfold":
      return unfoldView(inner, node.shape, node.attributes.stride as readonly number[], node.attributes.dilation as readonly number[]);
    default:
      return reshapeView(inner, node.shape);
  }
}

export function viewOf(node: Tensor): View {
  const view = tryViewOf(node);
  if (!view) throw new Error(`internal: ${node.op} ${showShape(node.shape)} was not prepared`);
  return view;
}

/**
 * Inserts copies where strides cannot express a reshape, or where an op needs its input in one piece.
 * Afterwards {@link viewOf} holds for every node.
 */
export function prepare(roots: readonly Tensor[]): Tensor[] {
  const done = new Map<Tensor, Tensor>();
  const copies = new Map<Tensor, Tensor>();
  const copy = (node: Tensor): Tensor => {
    let made = copies.get(node);
    if (!made) {
      made = node.dtype === "float32" ? makeTensor("copy", [node], {}, { shape: node.shape, dtype: "float32" }) : gathered(node);
      copies.set(node, made);
    }
    return made;
  };
  const whole = (node: Tensor) => (isContiguous(viewOf(node)) && viewOf(node).offset === 0 && !isImmediate(node) ? node : copy(node));

  for (const node of topological(roots)) {
    let inputs = node.inputs.map((input) => done.get(input)!);
    switch (node.op) {
      case "reshape":
        if (!reshapeView(viewOf(inputs[0]!), node.shape)) inputs = [copy(inputs[0]!)];
        break;
      case "sum":
      case "max":
        inputs = inputs.map(whole);
        break;
      case "concatenate":
        if (node.dtype !== "float32") throw notConcatenated(node);
        // The producer of a piece stores it straight into its place, so it must be a program.
        inputs = inputs.map((input) => (isPointwise(input) && !isImmediate(input) ? input : copy(input)));
        break;
      case "matmul":
      case "pad":
        inputs = inputs.map((input) => (isImmediate(storageRoot(input)) ? copy(input) : input));
        break;
      default:
        // Kernels that are told no strides. It is the rule, so that a row added to the table cannot read views as if they were whole.
        if (!isMovement(node) && !isPointwise(node)) inputs = inputs.map(whole);
    }
    const unchanged = inputs.every((input, i) => input === node.inputs[i]);
    done.set(node, unchanged ? node : makeTensor(node.op, inputs, node.attributes, node));
  }
  return roots.map((root) => done.get(root)!);
}

/**
 * A strided view of whole numbers in one piece: rows of the table that its root is, by number. Programs could not copy it, for
 * they store floats only.
 */
function gathered(node: Tensor): Tensor {
  const { dtype, shape } = node;
  const root = storageRoot(node);
  const view = viewOf(node);
  const data: number[] = [];
  forEachIndex(shape, (index) => {
    data.push(view.offset + flatten(index, view.strides));
  });
  const table = makeTensor("reshape", [root], {}, { shape: [sizeOf(root.shape)], dtype });
  const places = makeTensor("constant", [], { data: Object.freeze(data) }, { shape: [data.length], dtype: "int32" });
  const rows = makeTensor("gather", [table, places], {}, { shape: [data.length], dtype });
  return makeTensor("reshape", [rows], {}, { shape, dtype });
}

function notConcatenated({ shape, dtype }: Tensor): VaeError {
  return new VaeError({
    code: "dtype",
    operation: "concatenate",
    problem: `a concatenation of ${dtype} ${showShape(shape)} cannot be computed natively`,
    expected: "float32",
    hint: "concatenate what is made of the parts: concatenate([gather(table, a), gather(table, b)], 0), or cast(x) first",
  });
}

/** A node that a kernel can store to a buffer of the caller's choice, not yet `taken`, that has the elements of `node`. */
export function storable(node: Tensor, taken: ReadonlySet<Tensor>): Tensor {
  const inner = stripReshape(node);
  const isKernel = !isMovement(inner) && !["input", "state", "constant", "concatenate", "pad"].includes(inner.op);
  return isKernel && (isProgrammed(inner) || !taken.has(inner))
    ? inner
    : makeTensor("copy", [node], {}, { shape: node.shape, dtype: "float32" });
}
