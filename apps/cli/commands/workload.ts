/** weft workload: the built-in programs that the lab's pods run. */
import type { Command } from "commander";

export function workloadCommand(program: Command): void {
  const workload = program.command("workload", { hidden: true }).description("programs for the lab's pods");
  workload
    .command("echo")
    .description("answer HTTP, TCP and UDP with the address that is seen and the own name")
    .action(async () => {
      const { runEcho } = await import("@weft/lab/workloads");
      await runEcho();
    });
}
