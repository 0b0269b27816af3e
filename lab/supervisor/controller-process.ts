/** `weft controller`, a process of its own, as in a cluster: it says of each node whether its network works. */
import type { Clock } from "@weft/base";
import { openOwnNetns } from "@weft/kernel/netns";
import { labPaths } from "../state.ts";
import { SYSTEM_NAMESPACE } from "./agent-pods.ts";
import { KeepRunning } from "./keep-running.ts";

const GRACE_MS = 2000;

export interface ControllerProcessOptions {
  readonly lab: string;
  readonly executable: string;
  readonly clock: Clock;
  readonly changed: () => void;
}

export class ControllerProcess {
  readonly process: KeepRunning;
  readonly #namespace = openOwnNetns();

  constructor({ lab, executable, clock, changed }: ControllerProcessOptions) {
    const { agentKubeconfig, controllerLog } = labPaths(lab);
    this.process = new KeepRunning(
      {
        argv: [executable, "controller", "--kubeconfig", agentKubeconfig, "--namespace", SYSTEM_NAMESPACE],
        environment: process.env,
        namespace: this.#namespace,
        log: controllerLog,
      },
      { clock, changed },
    );
  }

  async stop(): Promise<void> {
    await this.process.stop(GRACE_MS);
    this.#namespace.close();
  }
}
