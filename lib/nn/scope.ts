// What every part of a model (layer, family, objective, wiring) declares, and what it is given when a graph is built.
import type { Shape, Tensor } from "../graph/index.js";
import type { Layer } from "./layer.js";
import type { ParameterSpec } from "./parameters.js";

/** Where noise comes from; every call gives draws that are independent of all others. */
export interface NoiseSource {
  /** Independent standard normal draws. */
  normal(shape: Shape): Tensor;
  /** Independent draws from [0, 1). */
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
  /** An empty list with an `output` is a linear network. */
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
  /** Networks, which the part applies by `scope.network(name)`. */
  readonly networks?: Readonly<Record<string, NetworkSpec>>;
  /** Parts within this one, such as the families of a wiring; each is then given a scope of its own. */
  readonly parts?: Readonly<Record<string, Declared>>;
}

/** Of what a part declares, the records of one sort: a union where `declare` gives now these and now those. */
export type RecordsOf<D extends Declared, Sort extends keyof Declared> = D extends unknown
  ? Sort extends keyof D
    ? NonNullable<D[Sort]> | (undefined extends D[Sort] ? Record<never, never> : never)
    : Record<never, never>
  : never;

/** The names of a part's own networks, parts or parameters, by what it declares; any string where that is not known. */
export type NamesOf<D extends Declared, Sort extends keyof Declared> =
  RecordsOf<D, Sort> extends infer Records ? (Records extends unknown ? keyof Records & string : never) : never;

/** The parameters of a part by their names; one that is not always declared may be undefined. */
export type ParametersOf<D extends Declared> = {
  readonly [Name in NamesOf<D, "parameters">]:
    | Tensor
    | (string extends Name ? never : RecordsOf<D, "parameters"> extends { readonly [Own in Name]: object } ? never : undefined);
};

/** What a part within a part declares. */
export type PartOf<D extends Declared, Name extends string> =
  string extends NamesOf<D, "parts">
    ? Declared
    : RecordsOf<D, "parts"> extends infer Records
      ? Records extends unknown
        ? Name extends keyof Records
          ? Extract<Records[Name], Declared>
          : never
        : never
      : never;

/** Applies a network to `[rows, ...input]`. @param conditions that its layers may read; default: those of the scope */
export type NetworkFunction = (x: Tensor, conditions?: Conditions) => Tensor;

/**
 * What a part is given to build its graph with. `"training"` is one batch of a training step; in `"inference"` the same
 * call gives the same result. Layers that differ between the two are told, and have nothing else to guess from.
 *
 * @typeParam D what the part declared, where the type checker knows it: other names then do not compile
 */
export interface Scope<D extends Declared = Declared> {
  readonly mode: "training" | "inference";
  /** Noise of this part's own: what other parts draw does not change it. In training it is new on every step. */
  readonly noise: NoiseSource;
  /** What the model is told beside its rows, encoded for networks: categories as a vector of one 1 and zeros otherwise. */
  readonly conditions: Conditions;
  /** The parameters that this part declared, by their own names; in a plan they are the model's weights. */
  readonly parameters: ParametersOf<D>;
  /**
   * A network that this part declared. Applied twice to the very same tensor it is one application: it draws no new noise
   * and moves no statistics again.
   *
   * @throws VaeError `"argument"` for a name that was not declared
   */
  network(name: NamesOf<D, "networks">): NetworkFunction;
  /** The scope of a part within this one, with its own noise, parameters and networks. */
  part<Name extends NamesOf<D, "parts">>(name: Name): Scope<PartOf<D, Name>>;
  /** The same scope with other conditions, also for its parts and networks, or with other noise of its own; theirs stays. */
  with(changes?: { readonly noise?: NoiseSource; readonly conditions?: Conditions }): Scope<D>;
  /**
   * Changes a parameter that is not trained (`trainable: false`) at the end of the step; a part that is applied several times
   * in a step changes it as often, one change after the other. At inference nothing changes.
   *
   * @param next from the value so far to the next one
   */
  update(state: Tensor, next: (current: Tensor) => Tensor): void;
}
