import { normal, type Shape, type Tensor, uniform } from "../graph/index.js";
import type { NoiseSource } from "../nn/index.js";

/**
 * Streams of noise. A draw is a function of (seed, step, stream, element), so two draws of a step must not share a stream.
 * They are numbered in the order in which a graph asks for them, which makes a run reproducible from its configuration.
 */
export const streams = Object.freeze({
  /** The order in which rows are drawn. */
  batchOrder: 0,
  /** The first thing that {@link Noise} hands out in training: the posterior's noise. */
  posterior: 1,
  /** Stochastic binarization of the data. */
  binarization: 2,
  /** Evaluation and sampling start here, away from training's draws at the same step. */
  evaluation: 0x10000,
  prior: 0x20000,
  /** What layers draw in training: dropout and the like, which must not change the posterior's noise. */
  layers: 0x30000,
});

/** Hands out noise tensors, each with a stream of its own. */
export class Noise implements NoiseSource {
  #next: number;

  constructor(first: number = streams.posterior) {
    this.#next = first;
  }

  /** Independent standard normal draws, new ones on every step. */
  normal(shape: Shape): Tensor {
    return normal(shape, this.#stream());
  }

  /** Independent draws from [0, 1), new ones on every step. */
  uniform(shape: Shape): Tensor {
    return uniform(shape, this.#stream());
  }

  #stream(): number {
    if (this.#next === streams.binarization) this.#next++;
    return this.#next++;
  }
}
