import { type HostData, sizeOf, type Tensor } from "node-vae/graph";

/** One graph to time. */
export interface Sample {
  readonly name: string;
  readonly outputs: readonly Tensor[];
  readonly data: Readonly<Record<string, HostData>>;
  /** GFLOP/s of oneDNN at the same, on another machine; where it was measured. */
  readonly oneDnn?: number | undefined;
}

/** Harmless numbers between −1 and 1. */
export function filled({ shape }: Tensor): Float32Array {
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i));
}
