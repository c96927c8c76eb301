// What every part of a model (layer, family, objective, wiring) declares, and what it is given when a graph is built.
import type { Shape, Tensor } from "../graph/index.js";
import type { Layer } from "./layer.js";
import type { ParameterSpec } from "./parameters.js";

/** Where noise comes from; every call gives draws that are independent of all others. */
export interface NoiseSource {
  normal(shape: Shape): Tensor;
  uniform(shape: Shape): Tensor;
  /** A source whose draws follow from this one's name and this further one, and not from what else is drawn. */
  within(name: string): NoiseSource;
}

/** Tensors of conditions by name, `[rows, …]` each. */
export type Conditions = Readonly<Record<string, Tensor>>;

/** Their shapes for one sample. */
export type ConditionShapes = Readonly<Record<string, Shape>>;

/** A list of layers that a part owns. */
export interface NetworkSpec {
  readonly layers: readonly Layer[];
  /** The shape of one sample that goes in. */
  readonly input: Shape;
  /** The shape that comes out; a linear head is added where the layers end in another one. Default: whatever they give. */
  readonly output?: Shape;
}

/** What a part consists of, by names of its own: they become the parts of parameters' names, `encoder.0.weight`. */
export interface Declared {
  /** What is learned or, with `trainable: false`, kept beside it. */
  readonly parameters?: Readonly<Record<string, ParameterSpec>>;
  readonly networks?: Readonly<Record<string, NetworkSpec>>;
  /** Parts within this one, such as the families of a wiring; each is then given a scope of its own. */
  readonly parts?: Readonly<Record<string, Declared>>;
}

/** Applies a network to `[rows, ...input]`. */
export type NetworkFunction = (x: Tensor, conditions?: Conditions) => Tensor;

/**
 * What a part is given to build its graph with. `"training"` is one batch of a training step; in `"inference"` the same
 * call gives the same result. Layers that differ between the two are told, and have nothing else to guess from.
 */
export interface Scope {
  readonly mode: "training" | "inference";
  /** Noise of this part's own: what other parts draw does not change it. In training it is new on every step. */
  readonly noise: NoiseSource;
  readonly conditions: Conditions;
  /** The parameters that this part declared, by their own names. */
  readonly parameters: Readonly<Record<string, Tensor>>;
  /**
   * A network that this part declared. Applied twice to the very same tensor it is one application: it draws no new noise
   * and moves no statistics again.
   *
   * @throws VaeError `"argument"` for a name that was not declared
   */
  network(name: string): NetworkFunction;
  /** The scope of a part within this one, with its own noise, parameters and networks. */
  part(name: string): Scope;
  /** The same scope with other conditions, also for its parts and networks, or with other noise of its own; theirs stays. */
  with(changes?: { readonly noise?: NoiseSource; readonly conditions?: Conditions }): Scope;
  /**
   * Changes a parameter that is not trained (`trainable: false`) at the end of the step; a part that is applied several times
   * in a step changes it as often, one change after the other. At inference nothing changes.
   *
   * @param next from the value so far to the next one
   */
  update(state: Tensor, next: (current: Tensor) => Tensor): void;
}
