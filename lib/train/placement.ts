// Where a model lives: options that everything with weights takes.
import { Fields } from "../graph/arguments.js";
import type { DeviceOptions } from "../runtime/device.js";
import type { Precision } from "../runtime/native.js";

/** Where a model lives. */
export interface PlacementOptions {
  /** `"auto"` (default) is CUDA where there is a usable device, else the CPU. */
  readonly device?: DeviceOptions["device"];
  /** Threads on the CPU; default: all processors. Results do not depend on it. */
  readonly threads?: number;
  /** Instruction tier on the CPU (`"avx512"`, `"avx2"`, `"portable"`, `"neon"`); default: the best one. */
  readonly tier?: string;
  /**
   * How products and convolutions are computed on CUDA: `"float32"` (the default), or on tensor cores with operands rounded to
   * `"tf32"` or `"bfloat16"`. The CPU has `"float32"` alone.
   */
  readonly precision?: Precision;
}

const placementOptions = ["device", "threads", "tier", "precision"] as const;

/** Checked options. */
export interface Placed {
  readonly placement: DeviceOptions;
  /** The other options that were given, as they were given. */
  readonly rest: Readonly<Record<string, unknown>>;
}

/**
 * Takes the options of the placement out of a caller's.
 *
 * @param others names of the options that are not looked at here
 * @throws VaeError `"argument"` for an unknown option, and for a placement of the wrong type
 */
export function readPlacement(operation: string, options: object, others: readonly string[]): Placed {
  const fields = new Fields(operation, options);
  const rest: Record<string, unknown> = {};
  for (const name of others) {
    const value = fields.raw(name);
    if (value !== undefined) rest[name] = value;
  }
  const [device, threads, tier, precision] = placementOptions.map((name) => fields.raw(name));
  if (device !== undefined && typeof device !== "string") throw fields.wrong("device", '"auto", "cpu", "cuda" or "cuda:0", …');
  if (tier !== undefined && typeof tier !== "string") throw fields.wrong("tier", "a string");
  if (precision !== undefined && typeof precision !== "string") throw fields.wrong("precision", '"float32", "tf32" or "bfloat16"');
  fields.finish();
  const placement: DeviceOptions = {
    ...(device === undefined ? {} : { device: device as NonNullable<DeviceOptions["device"]> }),
    ...(threads === undefined ? {} : { threads: fields.number("threads", { minimum: 1, maximum: 1024, integer: true }) }),
    ...(tier === undefined ? {} : { tier }),
    ...(precision === undefined ? {} : { precision: precision as Precision }), // checked by the device
  };
  return { placement, rest };
}
