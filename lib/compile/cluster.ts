// Fusion. A cluster is what one kernel call computes: an elementwise program with optional reductions (map), or a
// matrix product or convolution with such a program as its epilogue (product), or one op with a kernel of its own. Clusters grow
// greedily in topological order: a node joins the clusters that make its inputs whenever that leaves the cluster
// graph acyclic and all operands expressible as strides over one iteration space.
import { VaeError } from "../errors.js";
import { stridesOf } from "../graph/shape.js";
import { type Shape, showShape, sizeOf, type Tensor } from "../graph/tensor.js";
import { isImmediate, isMovement, isPointwise, isProduct, storageRoot, stripReshape } from "./prepare.js";
import { layOut, productSplit, reductionSplit, reductionStrides, type Split, StrideSet, stridesOver } from "./space.js";
import { reshapeView } from "./view.js";

export interface Cluster {
  kind: "map" | "product" | "special";
  /** The product, or the special op. */
  readonly root: Tensor | undefined;
  space: Shape;
  split: Split | undefined;
  /** Pointwise nodes and reductions, in topological order. */
  nodes: Tensor[];
  /** The root and the nodes: values that programs here can name. A cheap node may be a member of several clusters. */
  readonly members: Set<Tensor>;
  /** Strides over `space` of every load and store so far. */
  readonly strides: StrideSet;
  /** Clusters whose results this one reads. */
  readonly inputs: Set<Cluster>;
  /** Computes something that a recorded term depends on. */
  forward: boolean;
  /** Computes the next value of a state. */
  updates: boolean;
}

/** Scratch rows of one tile must stay in L1. */
const MAX_NODES = 64;

export class Clusters {
  readonly all = new Set<Cluster>();
  readonly of = new Map<Tensor, Cluster>();
  readonly #forward: ReadonlySet<Tensor>;
  readonly #updates: ReadonlySet<Tensor>;
  /** For pieces of a concatenation: strides over the piece's shape that its store must have. */
  readonly #pieceStrides: ReadonlyMap<Tensor, readonly (readonly number[])[]>;

  constructor(facts: {
    forward: ReadonlySet<Tensor>;
    updates: ReadonlySet<Tensor>;
    pieceStrides: ReadonlyMap<Tensor, readonly (readonly number[])[]>;
  }) {
    this.#forward = facts.forward;
    this.#updates = facts.updates;
    this.#pieceStrides = facts.pieceStrides;
  }

  /** True if `to` needs results of `from`, directly or through others. */
  reaches(from: Cluster, to: Cluster): boolean {
    const seen = new Set<Cluster>();
    const stack = [to];
    while (stack.length > 0) {
      const cluster = stack.pop()!;
      if (cluster === from) return true;
      if (seen.has(cluster)) continue;
      seen.add(cluster);
      for (const input of cluster.inputs) stack.push(input);
    }
    return false;
  }

  /** Puts a node into a cluster; inputs come before their users. */
  place(node: Tensor): void {
    if (isMovement(node) || ["input", "state", "constant"].includes(node.op)) return;
    if (node.op === "sum" || node.op === "max") this.#placeReduction(node);
    else if (isPointwise(node)) this.#placePointwise(node);
    else this.#placeKernel(node);
  }

  #placeKernel(node: Tensor): void {
    const [kind, split] = isProduct(node) ? (["product", productSplit(node)] as const) : (["special", undefined] as const);
    const cluster = this.#open(kind, node, node.shape, split);
    this.#add(cluster, node, []);
  }

  #open(kind: Cluster["kind"], root: Tensor | undefined, space: Shape, split: Split | undefined): Cluster {
    const strides = new StrideSet(kind === "product" ? [stridesOf(space)] : []);
    if (!layOut(space, split, strides.values)) throw tooManyDimensions(root?.op ?? "map", space);
    const cluster: Cluster = {
      kind,
      root,
      space,
      split,
      nodes: [],
      members: new Set(),
      strides,
      inputs: new Set(),
      forward: false,
      updates: false,
    };
    this.all.add(cluster);
    return cluster;
  }

  #add(cluster: Cluster, node: Tensor, strides: readonly (readonly number[])[]): void {
    if (node !== cluster.root) cluster.nodes.push(node);
    cluster.members.add(node);
    cluster.strides.add(strides);
    cluster.forward ||= this.#forward.has(node);
    cluster.updates ||= this.#updates.has(node);
    for (const input of node.inputs) {
      const producer = this.of.get(storageRoot(input));
      if (producer && producer !== cluster) cluster.inputs.add(producer);
    }
    this.of.set(node, cluster);
  }

  /** The open cluster that computes this input as a value (not as memory), if any. */
  #valueCluster(input: Tensor): Cluster | undefined {
    const inner = stripReshape(input);
    const cluster = this.of.get(inner);
    if (!cluster || cluster.kind === "special") return undefined;
    return isPointwise(inner) || inner === cluster.root ? cluster : undefined;
  }

  #placePointwise(node: Tensor): void {
    const candidates = [...new Set(node.inputs.map((input) => this.#valueCluster(input)))].filter((c) => c !== undefined);
    // Into the epilogue of a product first: that saves the most traffic.
    candidates.sort((a, b) => Number(b.kind === "product") - Number(a.kind === "product"));
    let home: Cluster | undefined;
    for (const candidate of candidates) {
      if (!home) {
        if (this.#canJoin(node, candidate)) home = candidate;
      } else if (this.all.has(candidate)) this.#tryMerge(home, candidate, node);
    }
    if (!home) {
      home = this.#open("map", undefined, node.shape, undefined);
      const own = this.#newStrides(node, home);
      if (!own || !layOut(home.space, undefined, own)) throw tooManyDimensions(node.op, node.shape);
    }
    this.#add(home, node, this.#newStrides(node, home)!);
  }

  /** Strides that a pointwise node adds to a cluster, for its loads and its stores; undefined when one needs a copy. */
  #newStrides(node: Tensor, cluster: Cluster): (readonly number[])[] | undefined {
    const strides: (readonly number[])[] = [stridesOf(cluster.space)];
    for (const input of node.inputs) {
      if (isImmediate(input) || this.#valueCluster(input) === cluster) continue;
      const over = stridesOver(input, cluster.space);
      if (!over) return undefined;
      strides.push(over);
    }
    for (const piece of this.#pieceStrides.get(node) ?? []) {
      const over = reshapeView({ shape: node.shape, offset: 0, strides: piece }, cluster.space)?.strides;
      if (!over) return undefined;
      strides.push(over);
    }
    return strides;
  }

  #canJoin(node: Tensor, cluster: Cluster): boolean {
    if (sizeOf(node.shape) !== sizeOf(cluster.space)) return false;
    if (cluster.nodes.length >= MAX_NODES) return false;
    if (this.#updates.has(node) && cluster.forward) return false;
    for (const input of node.inputs) {
      if (isImmediate(input) || this.#valueCluster(input) === cluster) continue;
      const producer = this.of.get(storageRoot(input));
      if (producer && this.reaches(cluster, producer)) return false;
    }
    const added = this.#newStrides(node, cluster);
    if (!added) return false;
    return cluster.strides.fits(cluster.space, cluster.split, added);
  }

  /** Makes one cluster of two that a node would join, if nothing stands between them. */
  #tryMerge(home: Cluster, other: Cluster, node: Tensor): void {
    if (other === home || other.kind !== "map" || sizeOf(other.space) !== sizeOf(home.space)) return;
    if (home.nodes.length + other.nodes.length >= MAX_NODES) return;
    if ((home.forward && other.updates) || (home.updates && other.forward)) return;
    const split = home.split ?? other.split;
    if (other.split && home.split && (other.split.outer !== home.split.outer || other.split.rows !== home.split.rows)) return;
    if (other.space.join() !== home.space.join()) return;
    const leadsTo = (from: Cluster, to: Cluster) => [...to.inputs].some((third) => third !== from && this.reaches(from, third));
    if (leadsTo(home, other) || leadsTo(other, home)) return;
    // A reduction of one side that the other side reads would have to be complete first.
    const readsMemoryOf = (reader: Cluster, writer: Cluster) =>
      reader.nodes.some((n) =>
        n.inputs.some((input) => this.of.get(storageRoot(input)) === writer && this.#valueCluster(input) !== writer),
      );
    if (readsMemoryOf(home, other) || readsMemoryOf(other, home)) return;
    if (home.root?.inputs.some((input) => this.of.get(storageRoot(input)) === other)) return;
    const strides = new StrideSet([...home.strides.values, ...other.strides.values, ...(this.#newStrides(node, home) ?? [])]);
    if (!layOut(home.space, split, strides.values)) return;
    home.split = split;
    home.nodes = [...home.nodes, ...other.nodes].sort((a, b) => a.id - b.id);
    home.strides.add(other.strides.values);
    home.forward ||= other.forward;
    home.updates ||= other.updates;
    for (const input of other.inputs) if (input !== home) home.inputs.add(input);
    home.inputs.delete(other);
    for (const n of other.nodes) {
      this.of.set(n, home);
      home.members.add(n);
    }
    for (const cluster of this.all) if (cluster.inputs.delete(other) && cluster !== home) cluster.inputs.add(home);
    this.all.delete(other);
  }

  #placeReduction(node: Tensor): void {
    const input = node.inputs[0]!;
    const { split, axes } = reductionSplit(node);
    const cluster = this.#valueCluster(input);
    if (cluster && sizeOf(input.shape) === sizeOf(cluster.space)) {
      // A full reduction takes any split; otherwise the cluster's must be this one.
      const wanted = axes === "both" ? (cluster.split ?? split) : split;
      const fits =
        axes === "both"
          ? wanted.outer === 1
          : !cluster.split ||
            (cluster.split.outer === wanted.outer && cluster.split.rows === wanted.rows) ||
            relabelled(cluster.split, wanted, axes);
      const actual = cluster.split ?? wanted;
      const added = fits ? reductionStrides(cluster.space, actual, axes) : [];
      if (fits && layOut(cluster.space, actual, [...cluster.strides.values, added])) {
        cluster.split = actual;
        this.#add(cluster, node, [reductionStrides(cluster.space, actual, axes)]);
        return;
      }
    }
    const own = this.#open("map", undefined, input.shape, split);
    const load = stridesOver(input, input.shape);
    if (!load || !layOut(own.space, split, [load, reductionStrides(own.space, split, axes)])) throw tooManyDimensions(node.op, input.shape);
    this.#add(own, node, [load, reductionStrides(own.space, split, axes)]);
  }
}

/** Reducing the columns leaves outer and rows alike, so an existing split of them serves too. */
function relabelled(existing: Split, wanted: Split, axes: "rows" | "columns" | "both"): boolean {
  return axes === "columns" && existing.outer * existing.rows === wanted.outer * wanted.rows;
}

function tooManyDimensions(operation: string, shape: Shape): VaeError {
  return new VaeError({
    code: "shape",
    operation,
    problem: `a view of shape ${showShape(shape)} needs more than six separate strides`,
    hint: "reshape neighbouring dimensions together first",
  });
}
