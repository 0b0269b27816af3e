/** Pods that stand through a whole test, with packets between them all the time. */
import { spawnIn } from "@weft/kernel/netns";
import type { TestNamespace } from "./namespaces.ts";
import { ADDRESSES, type TestNode, type TestPod } from "./node.ts";
import { changes, viewOf } from "./view.ts";

const EVERY_SECONDS = "0.05";

interface Pinging {
  readonly what: string;
  readonly child: Bun.Subprocess<"ignore", "pipe", "inherit">;
}

export interface Loss {
  readonly what: string;
  readonly sent: number;
  readonly received: number;
}

/** Two pods that ping each other in both families, and one that is pinged from outside of the node. */
export class StandingPods {
  readonly pods: readonly TestPod[];
  readonly #pinging: readonly Pinging[];
  readonly #views: readonly (readonly string[])[];

  private constructor(pods: readonly TestPod[], pinging: readonly Pinging[]) {
    this.pods = pods;
    this.#pinging = pinging;
    this.#views = pods.map(viewOf);
  }

  static async start(node: TestNode): Promise<StandingPods> {
    const [a, b] = [await node.add(), await node.add()];
    node.outside.sh(`ip route replace ${a.addresses[0]} via ${ADDRESSES[0]}`);
    const ping = (what: string, from: TestNamespace, to: string | undefined): Pinging => {
      const argv = ["setpriv", "--pdeathsig", "KILL", "ping", "-q", "-i", EVERY_SECONDS, to ?? ""];
      const child = spawnIn(from.self, argv, { stdout: "pipe" });
      node.companions.push(child);
      return { what, child };
    };
    return new StandingPods(
      [a, b],
      [
        ping("pod to pod, IPv4", a, b.addresses[0]),
        ping("pod to pod, IPv6", b, a.addresses[1]),
        ping("outside to pod, IPv4", node.outside, a.addresses[0]),
      ],
    );
  }

  /** What is different in the pods' own namespaces since the start. */
  changes(): string[] {
    return this.pods.flatMap((pod, i) => changes(this.#views[i] ?? [], viewOf(pod)));
  }

  /** Ends the pings and counts. */
  async stop(): Promise<Loss[]> {
    return Promise.all(
      this.#pinging.map(async ({ what, child }) => {
        child.kill("SIGINT");
        const text = await new Response(child.stdout).text();
        const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
        if (sent === undefined) throw new Error(`ping, ${what}: ${text}`);
        return { what, sent: Number(sent), received: Number(received) };
      }),
    );
  }
}
