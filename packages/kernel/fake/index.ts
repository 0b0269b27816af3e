/** The in-memory Kernel. */
export { FakeConntrack } from "./conntrack.ts";
export { createFakeKernel, type FakeKernel } from "./kernel.ts";
export type { Operation, Write } from "./recorder.ts";
