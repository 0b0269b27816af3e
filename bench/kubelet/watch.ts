/**
 * When pods were first seen and when they were first seen ready, as one client of the API server sees it: its objects
 * say it to the second only. The client is kubectl, which prints a line for each change: "NAME Type=Status ...".
 */
import { WeftError } from "@weft/base";
import { type Cluster, until } from "@weft/e2e";

const TEMPLATE = '{{.metadata.name}}{{range .status.conditions}} {{.type}}={{.status}}{{end}}{{"\\n"}}';

export interface Seen {
  /** Milliseconds of the monotonic clock. */
  readonly created: number;
  readonly ready?: number;
}

/** Notes each line with its time, also when it comes in parts. */
export class Times {
  readonly seen = new Map<string, Seen>();
  private rest = "";

  take(text: string, now: number): void {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() as string;
    for (const line of lines) {
      const [name, ...conditions] = line.split(" ");
      if (name === undefined || name === "") continue;
      const before = this.seen.get(name) ?? { created: now };
      const isReady = conditions.includes("Ready=True");
      this.seen.set(name, isReady && before.ready === undefined ? { ...before, ready: now } : before);
    }
  }

  /** Created and ready of every pod; undefined until all `count` are ready. */
  whole(count: number): readonly Required<Seen>[] | undefined {
    const ready = [...this.seen.values()].filter((s): s is Required<Seen> => s.ready !== undefined);
    return ready.length === count && this.seen.size === count ? ready : undefined;
  }
}

export interface Watch {
  /** Waits until so many pods are ready and gives their times. Throws "timeout" and "internal". */
  ready(count: number, seconds: number): Promise<readonly Required<Seen>[]>;
  stop(): Promise<void>;
}

/** Follows the pods of a label. There must be none yet. */
export async function watchPods(cluster: Cluster, label: string): Promise<Watch> {
  const words = ["get", "pods", "-l", label, "--watch", "-o", `go-template=${TEMPLATE}`];
  const child = Bun.spawn([...cluster.kubectlCommand(words)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const times = new Times();
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const part of child.stdout)
      times.take(decoder.decode(part, { stream: true }), performance.now());
  })();
  return {
    async ready(count, seconds) {
      const all = await until(`${count} pods ready`, seconds, () => times.whole(count), 20);
      if (all.some((s) => s.ready === s.created))
        throw new WeftError("internal", "the watch on pods came too late to see them start");
      return all;
    },
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
      await reading;
    },
  };
}
