// Every op case on every instruction tier that this machine has: value, first- and second-order gradients, computed
// natively from compiled plans, against the float64 evaluation.
import { afterAll, describe, expect, it } from "vitest";
import { opCases } from "../../lib/graph/index.js";
import { Device } from "../../lib/runtime/device.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { conformance } from "../support/conformance.js";

for (const tier of loadAddon().info().tiers) {
  describe(`${tier}: native results equal the float64 evaluation`, () => {
    const device = Device.open({ device: "cpu", tier, threads: 2 });
    afterAll(() => device.dispose());
    for (const sample of opCases()) {
      it(sample.title, async () => {
        expect(await conformance(device, sample)).toEqual([]);
      });
    }
  });
}
