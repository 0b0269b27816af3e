/** What the bench tells the simulated API server, over a unix socket, which no network namespace hides. */

export interface Rates {
  /** Nodes whose kubelet reports, a second: each every five minutes. */
  readonly heartbeats: number;
  /** Pods anywhere in the cluster whose status changes, a second. */
  readonly churn: number;
}

/** Events that came about in the cluster, and those that were sent to somebody, since the server was started. */
export interface Counts {
  readonly heartbeats: number;
  readonly churn: number;
  readonly podEventsSent: number;
  readonly bytesSent: number;
  /** Path and query of every list and watch that was asked for, in order. */
  readonly asked: readonly string[];
}

export interface Control {
  rates(rates: Rates): Promise<void>;
  /** Adds the node of that number; resolves when the event is sent. */
  addNode(index: number): Promise<void>;
  removeNode(index: number): Promise<void>;
  counts(): Promise<Counts>;
}

export function controlOf(socket: string): Control {
  const call = async (path: string, body?: object): Promise<unknown> => {
    const answer = await fetch(`http://bench${path}`, {
      unix: socket,
      method: "POST",
      body: JSON.stringify(body ?? {}),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  return {
    async rates(rates) {
      await call("/rates", rates);
    },
    async addNode(index) {
      await call("/add", { index });
    },
    async removeNode(index) {
      await call("/remove", { index });
    },
    counts: () => call("/counts") as Promise<Counts>,
  };
}
