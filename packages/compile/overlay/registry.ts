/** Every backend there is. */
import type { BackendName } from "@weft/model";
import { auto } from "./auto/auto.ts";
import type { Backend } from "./backend.ts";
import { direct } from "./direct/direct.ts";
import { vxlan } from "./vxlan/vxlan.ts";

export const BACKENDS: Readonly<Record<BackendName, Backend>> = { auto, direct, vxlan };
