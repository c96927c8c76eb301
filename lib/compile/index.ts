// Graph to plan: simplify, prepare (views and copies), cluster (fusion), schedule, lower, memory.
import { VaeError } from "../errors.js";
import { greatest, least } from "../graph/extremes.js";
import { type DType, sameShape, showShape, sizeOf, type Tensor, topological } from "../graph/tensor.js";
import { type Cluster, Clusters } from "./cluster.js";
import { type Lowering, lower, type Place, pieceView } from "./lower.js";
import { align, assignOffsets, mergeInPlace } from "./memory.js";
import type { Plan, PlanBuffer, PlanStep } from "./plan.js";
import { isPointwise, prepare, storable, storageRoot, stripReshape } from "./prepare.js";
import type { Sink } from "./program.js";
import { recomputeCheap } from "./recompute.js";
import { schedule, type Update } from "./schedule.js";
import { Simplifier } from "./simplify.js";

/** What a session computes in one step. */
export interface SessionGraph {
  /** Tensors that `run` returns after its last step. */
  readonly outputs?: Readonly<Record<string, Tensor>>;
  /** State tensors and their next values; all take effect together at the end of the step. */
  readonly updates?: readonly (readonly [state: Tensor, next: Tensor])[];
  /** Scalars recorded on every step, and checked to be finite before any update. */
  readonly terms?: Readonly<Record<string, Tensor>>;
}

interface Draft {
  readonly name: string;
  readonly dtype: DType;
  readonly elements: number;
  readonly resident?: { readonly writable: boolean; readonly data?: readonly number[] };
  /** Held from the first step to the last: inputs, outputs, terms. */
  readonly held?: boolean;
}

/** Compiles a graph to the plan of one step. Errors: VaeError "shape", "dtype", "argument". */
export function compile(graph: SessionGraph): Plan {
  const work = compileInTurns(graph);
  for (;;) {
    const turn = work.next();
    if (turn.done) return turn.value;
  }
}

/**
 * The same in small pieces, so that a caller can let the event loop turn in between: compiling the training step of a
 * model takes tens of milliseconds the first time, before the engine has warmed up.
 */
export function* compileInTurns(graph: SessionGraph): Generator<void, Plan> {
  const { outputs = {}, terms = {}, updates = [] } = graph;
  for (const [name, term] of Object.entries(terms)) if (sizeOf(term.shape) !== 1) throw wrongShape(`term "${name}"`, [], term.shape);
  checkUpdates(updates);
  const simple = yield* new Simplifier().inTurns([...Object.values(outputs), ...Object.values(terms), ...updates.flat()]);
  const prepared = prepare(simple);
  yield;
  return yield* new Compilation(graph, prepared).plan();
}

/** Nodes handled between two chances to let the event loop turn. */
const NODES_PER_TURN = 32;

class Compilation {
  readonly #buffers: Draft[] = [];
  readonly #places = new Map<Tensor, Place>();
  readonly #sinks = new Map<Tensor, Sink[]>();
  readonly #inputs: { name: string; buffer: number }[] = [];
  readonly #outputs: { name: string; buffer: number; shape: readonly number[] }[] = [];
  readonly #residents = new Map<string, number>();
  #terms = -1;
  readonly #termNames: readonly string[];
  readonly #outputNodes: Tensor[];
  readonly #termNodes: Tensor[];
  readonly #updates: Update[];
  readonly #order: readonly Tensor[];

  /** @param roots the prepared forms of the graph's outputs, terms, and states with their next values */
  constructor(graph: SessionGraph, roots: readonly Tensor[]) {
    const outputs = Object.entries(graph.outputs ?? {});
    const terms = Object.entries(graph.terms ?? {});
    const updates = graph.updates ?? [];
    const take = roots.values();
    const next = () => take.next().value as Tensor;
    // A program stores its value to as many places as are asked for; a special kernel has one output.
    const taken = new Set<Tensor>();
    const target = () => {
      const node = storable(next(), taken);
      taken.add(node);
      return node;
    };
    this.#outputNodes = outputs.map(target);
    this.#termNodes = terms.map(target);
    this.#updates = updates.map(() => ({ state: next(), next: target() }));
    this.#termNames = terms.map(([name]) => name);
    this.#order = topological([...this.#outputNodes, ...this.#termNodes, ...this.#updates.flatMap((u) => [u.state, u.next])]);
    outputs.forEach(([name, t], i) => {
      const node = this.#outputNodes[i]!;
      const buffer = this.#buffer({ name: `output ${name}`, dtype: node.dtype, elements: sizeOf(t.shape), held: true });
      this.#outputs.push({ name, buffer, shape: t.shape });
    });
  }

  *plan(): Generator<void, Plan> {
    const clusters = this.#clusters();
    for (const [i, node] of this.#order.entries()) {
      clusters.place(node);
      if (i % NODES_PER_TURN === 0) yield;
    }
    recomputeCheap(clusters, new Set([...this.#outputNodes, ...this.#termNodes, ...this.#updates.map((u) => u.next), ...this.#pieces()]));
    yield;
    const scheduled = schedule(clusters, this.#updates, this.#termNodes);
    this.#leaves();
    this.#assignSinks(clusters, scheduled.inPlace, scheduled.deferred);
    yield;
    const steps: PlanStep[] = [];
    let commit = -1;
    const context: Lowering = {
      clusterOf: clusters.of,
      sinksOf: (node) => this.#sinks.get(node) ?? [],
      locate: (root) => this.#locate(root),
    };
    for (const [i, cluster] of scheduled.order.entries()) {
      if (i === scheduled.commit) commit = steps.length;
      steps.push(...lower(cluster, context));
      yield;
    }
    if (commit < 0) commit = steps.length;
    for (const update of scheduled.deferred) steps.push(this.#copyToState(update));
    return this.#finish(steps, commit);
  }

  #buffer(draft: Draft): number {
    return this.#buffers.push(draft) - 1;
  }

  #clusters(): Clusters {
    const forward = new Set(topological(this.#termNodes));
    const updates = new Set(this.#updates.map((update) => update.next));
    const pieceStrides = new Map<Tensor, (readonly number[])[]>();
    for (const node of this.#order) {
      if (node.op !== "concatenate") continue;
      node.inputs.forEach((piece, i) => {
        pieceStrides.set(piece, [...(pieceStrides.get(piece) ?? []), pieceView(node, i).strides]);
      });
    }
    return new Clusters({ forward, updates, pieceStrides });
  }

  #pieces(): Tensor[] {
    return this.#order.filter((node) => node.op === "concatenate").flatMap((node) => node.inputs);
  }

  /** Buffers of inputs, states and constant arrays. */
  #leaves(): void {
    const written = new Set(this.#updates.map((update) => update.state));
    for (const node of this.#order) {
      const elements = sizeOf(node.shape);
      if (node.op === "input") {
        const name = node.attributes.name as string;
        const buffer = this.#buffer({ name: `input ${name}`, dtype: node.dtype, elements, held: true });
        this.#inputs.push({ name, buffer });
        this.#places.set(node, { buffer, offset: 0 });
      } else if (node.op === "state") {
        const name = node.attributes.name as string;
        const buffer = this.#buffer({ name, dtype: node.dtype, elements, resident: { writable: written.has(node) } });
        if (this.#residents.has(name)) throw twoStates(name);
        this.#residents.set(name, buffer);
        this.#places.set(node, { buffer, offset: 0 });
      } else if (node.op === "constant" && Array.isArray(node.attributes.data)) {
        const data = node.attributes.data as readonly number[];
        const buffer = this.#buffer({ name: `constant ${node.id}`, dtype: node.dtype, elements, resident: { writable: false, data } });
        this.#places.set(node, { buffer, offset: 0 });
      }
    }
  }

  #sink(node: Tensor, sink: Sink): void {
    this.#sinks.set(node, [...(this.#sinks.get(node) ?? []), sink]);
    if (!sink.strides && !this.#places.has(node)) this.#places.set(node, { buffer: sink.buffer, offset: sink.offset });
  }

  /** Decides where every computed value is kept. */
  #assignSinks(clusters: Clusters, inPlace: ReadonlySet<Update>, deferred: readonly Update[]): void {
    const isSpecial = (node: Tensor) => clusters.of.get(node)!.kind === "special";
    this.#outputNodes.forEach((node, i) => {
      this.#sink(node, { buffer: this.#outputs[i]!.buffer, offset: 0 });
    });
    if (this.#termNodes.length > 0) {
      this.#terms = this.#buffer({ name: "terms", dtype: "float32", elements: this.#termNodes.length, held: true });
      this.#termNodes.forEach((node, i) => {
        this.#sink(node, { buffer: this.#terms, offset: i });
      });
    }
    for (const update of inPlace) this.#sink(update.next, { ...this.#places.get(update.state)!, state: true });
    for (const update of deferred) if (!this.#places.has(update.next)) this.#temporary(update.next);
    for (const cluster of clusters.all) {
      for (const node of [...(cluster.root ? [cluster.root] : []), ...cluster.nodes]) {
        for (const input of node.inputs) {
          const root = storageRoot(input);
          if (!clusters.of.has(root) || this.#places.has(root)) continue;
          if (isValueIn(input, cluster) && node !== cluster.root) continue;
          this.#temporary(root);
        }
      }
    }
    for (const node of this.#order) {
      if (clusters.of.has(node) && isSpecial(node) && !this.#places.has(node)) this.#temporary(node);
      if (node.op !== "concatenate") continue;
      const whole = this.#places.get(node)!;
      node.inputs.forEach((piece, i) => {
        const view = pieceView(node, i);
        this.#sink(piece, { buffer: whole.buffer, offset: whole.offset + view.offset, strides: view.strides });
      });
    }
    for (const [node, sinks] of this.#sinks) {
      if (sinks.length > 1 && isSpecial(node)) throw new Error(`internal: ${node.op} has one buffer but ${sinks.length} takers`);
    }
  }

  #temporary(node: Tensor): void {
    const buffer = this.#buffer({ name: `${node.op} ${showShape(node.shape)}`, dtype: node.dtype, elements: sizeOf(node.shape) });
    this.#sink(node, { buffer, offset: 0 });
  }

  #locate(root: Tensor): Place {
    const place = this.#places.get(root);
    if (!place) throw new Error(`internal: ${root.op} ${showShape(root.shape)} has no buffer`);
    return place;
  }

  #copyToState(update: Update): PlanStep {
    const strides = [0, 0, 0, 0, 0, 1];
    return {
      kernel: "map",
      label: "copy to state",
      space: [1, 1, 1, 1, 1, sizeOf(update.state.shape)],
      operands: [
        { ...this.#locate(update.next), strides },
        { ...this.#locate(update.state), strides },
      ],
      attributes: [],
      program: [
        { op: "load", operand: 0 },
        { op: "store", value: 0, operand: 1 },
      ],
    };
  }

  /** Gives every temporary its bytes and renumbers residents as slots. */
  #finish(steps: PlanStep[], commit: number): Plan {
    const used = new Map<number, { first: number; last: number }>();
    steps.forEach((step, i) => {
      for (const { buffer } of step.operands) used.set(buffer, { first: used.get(buffer)?.first ?? i, last: i });
    });
    const bytes = (draft: Draft) => draft.elements * (draft.dtype === "uint8" ? 1 : 4);
    const temporaries: number[] = [];
    let heldBytes = 0;
    const offsets = new Map<number, number>();
    this.#buffers.forEach((draft, i) => {
      if (draft.resident) return;
      if (draft.held) {
        offsets.set(i, heldBytes);
        heldBytes += align(bytes(draft));
      } else temporaries.push(i);
    });
    const merged = mergeInPlace(steps, used, (i) =>
      this.#buffers[i]!.resident || this.#buffers[i]!.held ? undefined : bytes(this.#buffers[i]!),
    );
    const groups = [...new Set(temporaries.map(merged))];
    const arena = assignOffsets(
      groups.map((group) => {
        const members = temporaries.filter((i) => merged(i) === group);
        const lives = members.map((i) => used.get(i) ?? { first: 0, last: 0 });
        return {
          bytes: greatest(members.map((i) => bytes(this.#buffers[i]!))),
          first: least(lives.map((life) => life.first)),
          last: greatest(lives.map((life) => life.last)),
        };
      }),
    );
    for (const i of temporaries) offsets.set(i, heldBytes + arena.offsets[groups.indexOf(merged(i))]!);
    let slot = 0;
    const buffers = this.#buffers.map((draft, i): PlanBuffer => {
      const { name, dtype, elements } = draft;
      if (!draft.resident) return { kind: "arena", name, dtype, elements, offset: offsets.get(i)! };
      const { writable, data } = draft.resident;
      return { kind: "resident", name, dtype, elements, slot: slot++, writable, ...(data ? { data } : {}) };
    });
    return {
      arenaBytes: heldBytes + arena.bytes,
      buffers,
      inputs: this.#inputs,
      outputs: this.#outputs,
      terms: { names: this.#termNames, buffer: this.#terms },
      commit,
      steps,
    };
  }
}

function isValueIn(input: Tensor, cluster: Cluster): boolean {
  const inner = stripReshape(input);
  return cluster.members.has(inner) && cluster.kind !== "special" && (isPointwise(inner) || inner === cluster.root);
}

function checkUpdates(updates: readonly (readonly [Tensor, Tensor])[]): void {
  for (const [state, next] of updates) {
    if (state.op !== "state" || state.dtype !== "float32") {
      throw new VaeError({
        code: "argument",
        operation: "compile",
        expected: "a float32 state tensor to update",
        received: `${state.op} (${state.dtype})`,
      });
    }
    const name = `update of state "${state.attributes.name}"`;
    if (!sameShape(state.shape, next.shape)) throw wrongShape(name, state.shape, next.shape);
    if (next.dtype !== "float32")
      throw new VaeError({ code: "dtype", operation: "compile", problem: name, expected: "float32", received: next.dtype });
  }
  const states = updates.map(([state]) => state.attributes.name);
  const twice = states.find((name, i) => states.indexOf(name) !== i);
  if (twice !== undefined) throw new VaeError({ code: "argument", operation: "compile", problem: `state "${twice}" is updated twice` });
}

function twoStates(name: string): VaeError {
  return new VaeError({
    code: "argument",
    operation: "compile",
    problem: `two state tensors of different types are both named "${name}"`,
    hint: "names of states are unique on a device",
  });
}

function wrongShape(what: string, expected: readonly number[], received: readonly number[]): VaeError {
  return new VaeError({ code: "shape", operation: "compile", problem: what, expected: showShape(expected), received: showShape(received) });
}
