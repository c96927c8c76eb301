import type { Shape, Tensor } from "../graph/index.js";

/** Where noise comes from; every call gives draws that are independent of all others. */
export interface NoiseSource {
  normal(shape: Shape): Tensor;
  uniform(shape: Shape): Tensor;
  /** A source whose draws follow from this one's name and this further one, and not from what else is drawn. */
  within(name: string): NoiseSource;
}

/**
 * What a layer's graph is for. Whoever builds a graph says so: layers that differ between training and inference are told,
 * and have nothing else to guess from.
 */
export type LayerContext = InferenceContext | TrainingContext;

/** Every row is computed by itself, the same on every call. */
export interface InferenceContext {
  readonly mode: "inference";
}

/** One batch of a training step. */
export interface TrainingContext {
  readonly mode: "training";
  /** New draws on every step. */
  readonly noise: NoiseSource;
  /**
   * Changes one of the layer's parameters that are not trained (`trained: false`), at the end of the step. A layer that is
   * used several times in a step changes it as often, one change after the other.
   *
   * @param next from the value so far to the next one
   */
  update(statistic: Tensor, next: (current: Tensor) => Tensor): void;
  /** The context of one of the layers that a layer is made of. */
  within(layer: string): TrainingContext;
}

/** The context of every graph but a training step's. */
export const inference: InferenceContext = Object.freeze({ mode: "inference" });

/** The context of one training step, which collects what its layers update. */
export class TrainingLayers implements TrainingContext {
  readonly mode = "training";
  readonly noise: NoiseSource;
  readonly #next: Map<Tensor, Tensor>;

  constructor(noise: NoiseSource, next = new Map<Tensor, Tensor>()) {
    this.noise = noise;
    this.#next = next;
  }

  /** The same step for one of its layers, whose noise follows from its name: other layers come and go without changing it. */
  within(layer: string): TrainingLayers {
    return new TrainingLayers(this.noise.within(layer), this.#next);
  }

  update(statistic: Tensor, next: (current: Tensor) => Tensor): void {
    this.#next.set(statistic, next(this.#next.get(statistic) ?? statistic));
  }

  /** The statistics with their next values. */
  get updates(): readonly (readonly [statistic: Tensor, next: Tensor])[] {
    return [...this.#next];
  }
}
