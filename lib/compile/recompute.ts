// A cheap value whose single operand lies in memory anyway (a ReLU's mask, a scaled copy of the data) is computed
// again by each cluster that needs it: an instruction on a tile in L1 costs less than a trip through memory.
import type { Tensor } from "../graph/tensor.js";
import type { Cluster, Clusters } from "./cluster.js";
import { isImmediate, isPointwise, storageRoot, stripReshape } from "./prepare.js";
import { uniformSource } from "./simplify.js";
import { stridesOver } from "./space.js";

const CHEAP = new Set([
  "negate",
  "absolute",
  "sign",
  "square",
  "relu",
  "add",
  "subtract",
  "multiply",
  "maximum",
  "minimum",
  "less",
  "less_equal",
  "equal",
  "where",
  "is_finite",
]);

/** Copies cheap nodes into the clusters that read them. `kept` are nodes that must be stored whoever else reads them. */
export function recomputeCheap(clusters: Clusters, kept: ReadonlySet<Tensor>): void {
  const readers = memoryReaders(clusters);
  const stored = (node: Tensor) =>
    !clusters.of.has(node) || kept.has(node) || readers.has(node) || clusters.of.get(node)!.kind === "special";
  // Oldest first, so that what a cheap node reads has had its turn.
  const candidates = [...readers.keys()]
    .filter((node) => isPointwise(node) && CHEAP.has(node.op) && !kept.has(node))
    .sort((a, b) => a.id - b.id);
  for (const node of candidates) {
    const operands = node.inputs.filter((input) => !isImmediate(input) && uniformSource(input) === undefined);
    const scalars = node.inputs.filter((input) => !isImmediate(input) && uniformSource(input) !== undefined);
    if (new Set(operands).size !== 1 || ![...operands, ...scalars].every((input) => stored(storageRoot(input)))) continue;
    const takers = [...readers.get(node)!];
    if (!takers.every((taker) => accepts(taker, node, clusters))) continue;
    for (const taker of takers) adopt(taker, node, clusters);
    readers.delete(node);
    for (const input of [...operands, ...scalars]) {
      const root = storageRoot(input);
      if (clusters.of.has(root)) readers.set(root, new Set([...(readers.get(root) ?? []), ...takers]));
    }
    abandon(clusters, node);
  }
}

/** For every computed node, the clusters that read it from memory. */
function memoryReaders(clusters: Clusters): Map<Tensor, Set<Cluster>> {
  const readers = new Map<Tensor, Set<Cluster>>();
  for (const cluster of clusters.all) {
    for (const node of [...(cluster.root ? [cluster.root] : []), ...cluster.nodes]) {
      for (const input of node.inputs) {
        const root = storageRoot(input);
        if (!clusters.of.has(root) || (node !== cluster.root && cluster.members.has(stripReshape(input)))) continue;
        readers.set(root, (readers.get(root) ?? new Set()).add(cluster));
      }
    }
  }
  return readers;
}

/** True if the cluster reads the node only at its own positions and can read the node's operands there instead. */
function accepts(cluster: Cluster, node: Tensor, clusters: Clusters): boolean {
  if (cluster.kind === "special" || cluster.root?.inputs.some((input) => storageRoot(input) === node)) return false;
  const reads = cluster.nodes.flatMap((user) => user.inputs).filter((input) => storageRoot(input) === node);
  if (!reads.every((input) => stripReshape(input) === node)) return false;
  if (cluster.nodes.some((user) => (user.op === "sum" || user.op === "max") && stripReshape(user.inputs[0]!) === node)) return false;
  if (clusters.of.get(node) === cluster) return false;
  const added = node.inputs.filter((input) => !isImmediate(input)).map((input) => stridesOver(input, cluster.space));
  if (added.some((strides) => strides === undefined)) return false;
  return cluster.strides.fits(cluster.space, cluster.split, added as number[][]);
}

function adopt(cluster: Cluster, node: Tensor, clusters: Clusters): void {
  cluster.members.add(node);
  cluster.nodes = [...cluster.nodes, node].sort((a, b) => a.id - b.id);
  for (const input of node.inputs) {
    if (isImmediate(input)) continue;
    cluster.strides.add([stridesOver(input, cluster.space)!]);
    const producer = clusters.of.get(storageRoot(input));
    if (producer && producer !== cluster) cluster.inputs.add(producer);
  }
}

/** Takes the node out of the cluster that made it, where nothing there uses it; a cluster that made nothing else is gone. */
function abandon(clusters: Clusters, node: Tensor): void {
  const cluster = clusters.of.get(node)!;
  if (cluster.nodes.some((other) => other.inputs.some((input) => stripReshape(input) === node))) return;
  cluster.nodes = cluster.nodes.filter((other) => other !== node);
  cluster.members.delete(node);
  if (cluster.root !== undefined || cluster.nodes.length > 0) return;
  clusters.all.delete(cluster);
  clusters.of.delete(node);
  for (const other of clusters.all) other.inputs.delete(cluster);
}
