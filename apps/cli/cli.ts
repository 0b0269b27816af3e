/** The command line: one line a command. */

import { VERSION } from "@weft/agent";
import { Command, CommanderError } from "commander";
import { agentCommand } from "./commands/agent.ts";
import { checkCommand } from "./commands/check.ts";
import { completionCommand } from "./commands/completion.ts";
import { controllerCommand } from "./commands/controller.ts";
import { imageCommand } from "./commands/image.ts";
import { installCommand } from "./commands/install.ts";
import { ipamCommand } from "./commands/ipam.ts";
import { labCommand } from "./commands/lab.ts";
import { migrateCommand } from "./commands/migrate.ts";
import { serverCommand } from "./commands/server.ts";
import { serviceCommand } from "./commands/service.ts";
import { statusCommand } from "./commands/status.ts";
import { uninstallCommand } from "./commands/uninstall.ts";
import { workloadCommand } from "./commands/workload.ts";
import { example } from "./help.ts";
import { exitCodeOf, reportError } from "./output.ts";

export function buildProgram(): Command {
  const program = new Command("weft")
    .description("Weft: a whole Kubernetes network")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .showHelpAfterError("Add --help for what there is.")
    .enablePositionalOptions();
  labCommand(program);
  checkCommand(program);
  statusCommand(program);
  installCommand(program);
  uninstallCommand(program);
  migrateCommand(program);
  imageCommand(program);
  serviceCommand(program);
  ipamCommand(program);
  agentCommand(program);
  controllerCommand(program);
  serverCommand(program);
  completionCommand(program);
  workloadCommand(program);
  example(program, "weft lab up", "weft check", "weft status");
  throwInsteadOfExit(program);
  return program;
}

function throwInsteadOfExit(command: Command): void {
  command.exitOverride();
  for (const sub of command.commands) throwInsteadOfExit(sub);
}

export async function runCli(words: readonly string[]): Promise<void> {
  const program = buildProgram();
  try {
    if (words.length === 0) program.help();
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 || words.length === 0 ? 0 : 2);
    reportError(error);
    process.exit(exitCodeOf(error));
  }
}
