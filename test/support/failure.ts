import { VaeError } from "../../lib/errors.js";

/** Runs `body` and returns the VaeError that it must throw. */
export function failure(body: () => unknown): VaeError {
  try {
    body();
  } catch (error) {
    if (error instanceof VaeError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
