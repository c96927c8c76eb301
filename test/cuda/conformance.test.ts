// Every op case on the CUDA backend, run by the driver emulator of test/cuda/emulator: the kernels' own PTX, the lowering, the
// graphs and the session, everything but the hardware. Against the float64 evaluation, with gradients of both orders.
import { afterAll, describe, expect, it } from "vitest";
import { opCases } from "../../lib/graph/index.js";
import { Device } from "../../lib/runtime/device.js";
import { trainingAgreement, trainingRepeats } from "../gpu/training.js";
import { conformance, TOLERANCES } from "../support/conformance.js";
import { useEmulator } from "../support/emulator.js";

const absent = useEmulator();
if (absent !== undefined) it.skip(`CUDA on the emulator: ${absent}`, () => undefined);

describe.skipIf(absent !== undefined).each(["float32", "tf32", "bfloat16"] as const)("cuda in %s, emulated", (precision) => {
  const device = absent === undefined ? Device.open({ device: "cuda", precision }) : undefined;
  afterAll(() => device?.dispose());
  // Only products and convolutions know of precision, and those three directions are one kernel: a third of them will do.
  const cases = opCases().filter(({ title }, i) => precision === "float32" || (/^(matmul|conv)/i.test(title) && i % 3 === 0));
  for (const sample of cases) {
    it(sample.title, async () => {
      expect(await conformance(device!, sample, TOLERANCES[precision])).toEqual([]);
    });
  }
});

describe.skipIf(absent !== undefined)("training on the emulator", () => {
  it("takes the same course as on the CPU", async () => {
    expect((await trainingAgreement("cuda", "float32", 6)).problems).toEqual([]);
  });
  it("gives the same bits twice", async () => {
    expect((await trainingRepeats("cuda", 4)).problems).toEqual([]);
  });
});
