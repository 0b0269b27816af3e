import { expect, test } from "bun:test";
import { threadLogger } from "./thread-logger.ts";

test("each line keeps its level, and has it once", () => {
  const told: string[] = [];
  const logger = threadLogger((level, message) => told.push(`${level}: ${message}`));
  logger.debug("not told");
  logger.info("ready", { workloads: 3 });
  logger.warn("watch interrupted", { path: "/api/v1/nodes" });
  logger.error("gone");
  expect(told).toEqual([
    "info: ready workloads=3",
    "warn: watch interrupted path=/api/v1/nodes",
    "error: gone",
  ]);
});
