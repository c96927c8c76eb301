import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { VaeError, type VaeErrorCode } from "../../lib/errors.js";

/** The VaeError that a call throws, checked for its code. */
export async function failure(code: VaeErrorCode, call: () => unknown): Promise<VaeError> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof VaeError)) throw error;
    expect(error.code, error.message).toBe(code);
    return error;
  }
  throw new Error("nothing was thrown");
}

/** A folder that is gone after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "node-vae-io-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  return folder;
}
