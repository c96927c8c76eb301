import { readFileSync } from "node:fs";
import type { Task } from "../protocol.js";

/** The data set of a task as bytes. */
export function readBytes({ data }: Task): Uint8Array {
  const { buffer, byteOffset, byteLength } = readFileSync(data);
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The same scaled to [0, 1]: what libraries that train on floats keep resident. */
export function readFloats(task: Task): Float32Array {
  const floats = Float32Array.from(readBytes(task));
  // In place: `from` with a function takes seconds for a large data set, which would count as the library's start.
  for (let i = 0; i < floats.length; i++) floats[i]! /= 255;
  return floats;
}

/** As many random row numbers. */
export function randomRows(rows: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, () => Math.floor(Math.random() * rows));
}
