// Derivatives of derivatives through a whole convolutional VAE, computed natively, against the float64 evaluation (whose own
// are checked by finite differences in test/graph/networks.test.ts).
import { afterAll, describe, expect, it } from "vitest";
import { Device } from "../../lib/runtime/device.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { higherOrder, higherOrderConformance } from "../support/convolutional-vae.js";

describe.each(loadAddon().info().tiers)("%s", (tier) => {
  const device = Device.open({ device: "cpu", tier, threads: 2 });
  afterAll(() => device.dispose());

  it.each(higherOrder)("%s", async (_name, by, build) => {
    expect(await higherOrderConformance(device, by, build)).toEqual([]);
  });
});
