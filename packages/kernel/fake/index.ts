/** The in-memory Kernel. */
export { createFakeKernel, type FakeKernel } from "./kernel.ts";
export type { Operation, Write } from "./recorder.ts";
