// What kernels with windows can run over: larger ones are told from a plan that is wrong (native/plan_check_convolution.cc).
import { VaeError } from "../errors.js";
import { sizeOf } from "./tensor.js";

/** Values of one image with its padding. */
const LARGEST_IMAGE = 2 ** 34;
/** Taps of a kernel. */
const MOST_TAPS = 2 ** 20;
/** Remainders of positions modulo the strides. */
const MOST_PHASES = 2 ** 16;

type Axis = { readonly [Setting in "size" | "kernel" | "stride" | "before" | "after"]: number };

function refusal(operation: string, problem: string, shown: string, hint: string): VaeError {
  return new VaeError({ code: "shape", operation, problem: `${problem}; received ${shown}`, hint });
}

/** Throws for an image that its padding makes too large. */
export function checkImage(operation: string, axes: readonly Axis[], channels: number, shown: string): void {
  const padded = axes.map(({ size, before, after }) => before + size + after);
  if (sizeOf(padded) * channels <= LARGEST_IMAGE) return;
  const places = `${padded.join("×")} places of ${channels} ${channels === 1 ? "channel" : "channels"}`;
  const hint = 'pad less; padding "same" grows with the dilation and the kernel';
  throw refusal(operation, `an image with its padding has ${places}, more than 2^34 values`, shown, hint);
}

/** Throws for more taps or phases than kernels have tables for. */
export function checkTables(operation: string, axes: readonly Axis[], shown: string): void {
  const kernel = axes.map((axis) => axis.kernel);
  if (sizeOf(kernel) > MOST_TAPS) {
    throw refusal(operation, `a kernel of ${kernel.join("×")} has more than 2^20 taps`, shown, "make the kernel smaller");
  }
  const phases = axes.map(({ stride, size }) => Math.min(stride, size));
  if (sizeOf(phases) <= MOST_PHASES) return;
  throw refusal(operation, `a stride of ${phases.join("×")} has more than 2^16 places`, shown, "make the stride smaller");
}
