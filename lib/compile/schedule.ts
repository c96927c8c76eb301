// The order of clusters: dependencies, then two kinds of edges that in-place updates need. A state is overwritten
// only after everything that reads its old value, and only after the step's terms are known (so that a step whose
// loss is not finite changes nothing). Where such an edge would close a cycle, the new value waits in the arena and
// is copied over at the end of the step.
import { least } from "../graph/extremes.js";
import type { Tensor } from "../graph/tensor.js";
import type { Cluster, Clusters } from "./cluster.js";
import { isPointwise, storageRoot, stripReshape, viewOf } from "./prepare.js";
import { isContiguous } from "./view.js";

export interface Update {
  readonly state: Tensor;
  /** The node whose kernel computes the next value. */
  readonly next: Tensor;
}

export interface Schedule {
  readonly order: readonly Cluster[];
  /** Index into `order` from which on states are written. */
  readonly commit: number;
  /** Updates whose kernel writes the state's own buffer. */
  readonly inPlace: ReadonlySet<Update>;
  /** The others: computed into the arena, copied at the end. */
  readonly deferred: readonly Update[];
}

export function schedule(clusters: Clusters, updates: readonly Update[], terms: readonly Tensor[]): Schedule {
  const readers = stateReaders(clusters);
  const termClusters = new Set(terms.map((term) => clusters.of.get(term)!));
  const inPlace = new Set<Update>();
  const deferred: Update[] = [];
  const taken = new Set<Tensor>();
  for (const update of updates) {
    const home = clusters.of.get(update.next)!;
    const before = new Set([...(readers.get(update.state) ?? []), ...termClusters]);
    const possible =
      !taken.has(update.next) &&
      home.kind !== "special" &&
      (isPointwise(update.next) || update.next === home.root) &&
      !termClusters.has(home) &&
      readsInPlace(home, update.state) &&
      [...before].every((other) => other === home || !clusters.reaches(home, other));
    if (possible) {
      for (const other of before) if (other !== home) home.inputs.add(other);
      inPlace.add(update);
      taken.add(update.next);
    } else deferred.push(update);
  }
  const writers = new Set([...inPlace].map((update) => clusters.of.get(update.next)!));
  const order = topologicalOrder(clusters, writers);
  const first = order.findIndex((cluster) => writers.has(cluster));
  return { order, commit: first < 0 ? order.length : first, inPlace, deferred };
}

/** Which clusters read a state's old value from memory. */
function stateReaders(clusters: Clusters): Map<Tensor, Set<Cluster>> {
  const readers = new Map<Tensor, Set<Cluster>>();
  for (const cluster of clusters.all) {
    for (const node of [...(cluster.root ? [cluster.root] : []), ...cluster.nodes]) {
      for (const input of node.inputs) {
        const root = storageRoot(input);
        if (root.op === "state") readers.set(root, (readers.get(root) ?? new Set()).add(cluster));
      }
    }
  }
  return readers;
}

/** True if the cluster reads the state, if at all, only at the position that it is about to write. */
function readsInPlace(cluster: Cluster, state: Tensor): boolean {
  if (cluster.root?.inputs.some((input) => storageRoot(input) === state)) return false;
  for (const node of cluster.nodes) {
    for (const input of node.inputs) {
      if (storageRoot(input) !== state) continue;
      if (stripReshape(input) !== state || !isContiguous(viewOf(input))) return false;
    }
  }
  return true;
}

/**
 * Among clusters that are ready, the one that is due first: at the age of its first node, or of the oldest cluster that waits
 * for it. Without the latter, Adam's step size, made last, would keep every weight's gradient waiting until all are there, and
 * in memory what they are computed from. State writers come behind all others of the same age.
 */
function topologicalOrder(clusters: Clusters, writers: ReadonlySet<Cluster>): Cluster[] {
  const users = new Map<Cluster, Cluster[]>([...clusters.all].map((cluster) => [cluster, []]));
  for (const cluster of clusters.all) for (const input of cluster.inputs) users.get(input)!.push(cluster);
  const age = (cluster: Cluster) => (cluster.root ?? cluster.nodes[0]!).id;
  const due = new Map<Cluster, number>();
  for (const cluster of inOrder(users, () => 0).reverse()) {
    due.set(cluster, Math.min(age(cluster), least(users.get(cluster)!.map((user) => due.get(user)!))));
  }
  return inOrder(users, (a, b) => due.get(a)! - due.get(b)! || age(a) - age(b) || Number(writers.has(a)) - Number(writers.has(b)));
}

/** Kahn's algorithm; of several that are ready, the first by `compare`. */
function inOrder(users: ReadonlyMap<Cluster, readonly Cluster[]>, compare: (a: Cluster, b: Cluster) => number): Cluster[] {
  const waiting = new Map([...users.keys()].map((cluster) => [cluster, cluster.inputs.size]));
  const ready = [...users.keys()].filter((cluster) => cluster.inputs.size === 0);
  const order: Cluster[] = [];
  while (ready.length > 0) {
    ready.sort((a, b) => compare(b, a));
    const next = ready.pop()!;
    order.push(next);
    for (const user of users.get(next)!) {
      const left = waiting.get(user)! - 1;
      waiting.set(user, left);
      if (left === 0) ready.push(user);
    }
  }
  if (order.length !== users.size) throw new Error("internal: the cluster graph has a cycle");
  return order;
}
