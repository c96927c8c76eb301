// Which noise each part of a model draws. A draw is a function of (seed, step, stream, element), so no two draws of a step may
// share a stream: streams follow from names, and what users number themselves cannot reach them.

import { broadcastTo, constantTensor, multiply, type Shape, type Tensor } from "../graph/index.js";
import { drawNormal, drawUniform, FIRST_RESERVED_STREAM } from "../graph/random.js";
import type { NoiseSource } from "./scope.js";

/** How many streams are reserved: half of the 2³². */
const RESERVED = 2 ** 32 - FIRST_RESERVED_STREAM;

/**
 * The stream of a name, among the reserved ones: FNV-1a (Fowler, Noll & Vo), mixed by the finalizer of MurmurHash3. What a part
 * draws follows from its name alone, so that adding another part leaves its draws as they were.
 */
export function streamOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  return FIRST_RESERVED_STREAM + ((hash >>> 0) % RESERVED);
}

/** The order in which rows are drawn. */
export const BATCH_ORDER = streamOf("batch order");

/** What the sources of one graph share. */
interface Ledger {
  /** Draws so far, by the path that they were asked for under. */
  readonly counts: Map<string, number>;
  readonly taken: Set<number>;
}

/**
 * Hands out noise tensors, each with a stream of its own: that of its path and of how many were drawn under it before. All
 * sources of a graph come from one, by {@link Noise.within}.
 */
export class Noise implements NoiseSource {
  readonly #path: string;
  readonly #ledger: Ledger;

  /** @param path tells the draws of one graph from those of others at the same step and seed: `"training"`, `"evaluation"`, … */
  constructor(path: string, ledger: Ledger = { counts: new Map(), taken: new Set([BATCH_ORDER]) }) {
    this.#path = path;
    this.#ledger = ledger;
  }

  within(name: string): Noise {
    return new Noise(`${this.#path}/${name}`, this.#ledger);
  }

  /** Independent standard normal draws, new ones on every step. */
  normal(shape: Shape): Tensor {
    return drawNormal(shape, this.#stream());
  }

  /** Independent draws from [0, 1), new ones on every step. */
  uniform(shape: Shape): Tensor {
    return drawUniform(shape, this.#stream());
  }

  #stream(): number {
    const { counts, taken } = this.#ledger;
    const count = counts.get(this.#path) ?? 0;
    counts.set(this.#path, count + 1);
    // Two names of a graph may have one hash, once in some ten million models: the later one moves on.
    let stream = streamOf(`${this.#path}/${count}`);
    while (taken.has(stream)) stream = stream === 2 ** 32 - 1 ? FIRST_RESERVED_STREAM : stream + 1;
    taken.add(stream);
    return stream;
  }
}

/**
 * Gives every row the very same draws ("common random numbers"), so that what is computed with them is a function of the row
 * and not of its place. The first axis of a shape counts rows.
 */
export class RowNoise implements NoiseSource {
  readonly #noise: NoiseSource;

  constructor(noise: NoiseSource) {
    this.#noise = noise;
  }

  within(name: string): RowNoise {
    return new RowNoise(this.#noise.within(name));
  }

  normal(shape: Shape): Tensor {
    return broadcastTo(this.#noise.normal(oneRow(shape)), shape);
  }

  uniform(shape: Shape): Tensor {
    return broadcastTo(this.#noise.uniform(oneRow(shape)), shape);
  }
}

/**
 * No noise: every draw is its distribution's middle, 0 of a standard normal and ½ of a uniform one. A latent drawn with it is
 * the posterior's mean for a Gaussian, and what a flow makes of it for others.
 */
export class NoNoise implements NoiseSource {
  within(): NoNoise {
    return this;
  }

  normal(shape: Shape): Tensor {
    return broadcastTo(constantTensor(0), shape);
  }

  uniform(shape: Shape): Tensor {
    return broadcastTo(constantTensor(0.5), shape);
  }
}

/** Normal draws times a factor, a scalar tensor: the temperature of samples. Uniform ones stay as they are. */
export class ScaledNoise implements NoiseSource {
  readonly #noise: NoiseSource;
  readonly #factor: Tensor;

  constructor(noise: NoiseSource, factor: Tensor) {
    this.#noise = noise;
    this.#factor = factor;
  }

  within(name: string): ScaledNoise {
    return new ScaledNoise(this.#noise.within(name), this.#factor);
  }

  normal(shape: Shape): Tensor {
    return multiply(this.#noise.normal(shape), this.#factor);
  }

  uniform(shape: Shape): Tensor {
    return this.#noise.uniform(shape);
  }
}

function oneRow(shape: Shape): Shape {
  return shape.length === 0 ? shape : [1, ...shape.slice(1)];
}
