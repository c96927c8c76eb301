import type { DType } from "../graph/tensor.js";

/** Kernels, in native/ops.def. */
export type KernelName =
  | "map"
  | "matmul"
  | "gather"
  | "scatter_add"
  | "random_uniform"
  | "random_normal"
  | "shuffled_indices"
  | "step_index"
  | "conv2d"
  | "conv2d_input_gradient"
  | "conv2d_weight_gradient"
  | "fold"
  | "cumulative_sum"
  | "sort"
  | "cholesky"
  | "triangular_solve";

/** The number of space dimensions that native code works in: four outer ones, rows, columns. */
export const SPACE_DIMENSIONS = 6;

/** Which of rows and columns a reduction runs over. */
export type ReductionAxes = "rows" | "columns" | "both";

/** One instruction of a tile program, in SSA form: instruction i defines value i; arguments name earlier values. */
export type Instruction =
  | { readonly op: "load"; readonly operand: number }
  | { readonly op: "accumulator" }
  | { readonly op: "constant"; readonly value: number }
  | { readonly op: "store"; readonly value: number; readonly operand: number }
  | { readonly op: "reduce_sum" | "reduce_max"; readonly value: number; readonly operand: number; readonly axes: ReductionAxes }
  | { readonly op: string; readonly arguments: readonly number[] };

/** Memory that a plan names. Arena buffers live inside one allocation per session and may share bytes over time. */
export type PlanBuffer =
  | { readonly kind: "arena"; readonly name: string; readonly dtype: DType; readonly elements: number; readonly offset: number }
  | {
      readonly kind: "resident";
      readonly name: string;
      readonly dtype: DType;
      readonly elements: number;
      readonly slot: number;
      readonly writable: boolean;
      /** The content of a constant array; the session writes it once. */
      readonly data?: readonly number[];
    };

/** A strided view of a buffer over the step's space, in elements; stride 0 broadcasts. */
export interface Operand {
  readonly buffer: number;
  readonly offset: number;
  readonly strides: readonly number[];
}

/** One kernel call. What each kernel expects of space, operands and attributes is written in native/plan.h. */
export interface PlanStep {
  readonly kernel: KernelName;
  /** What the step computes, for printing and profiles: the names of the graph ops in it. */
  readonly label: string;
  readonly space: readonly number[];
  readonly operands: readonly Operand[];
  readonly attributes: readonly number[];
  readonly program: readonly Instruction[];
}

/** A whole step of work as plain data: what native code runs. */
export interface Plan {
  readonly arenaBytes: number;
  readonly buffers: readonly PlanBuffer[];
  /** Buffers that the caller fills, by name. */
  readonly inputs: readonly { readonly name: string; readonly buffer: number }[];
  /** Buffers that the caller receives, by name. */
  readonly outputs: readonly { readonly name: string; readonly buffer: number; readonly shape: readonly number[] }[];
  /** The row of terms that every step leaves behind, or -1. */
  readonly terms: { readonly names: readonly string[]; readonly buffer: number };
  /** Steps before this index write no resident buffer, and the terms are complete there. */
  readonly commit: number;
  readonly steps: readonly PlanStep[];
}
