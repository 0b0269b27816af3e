/**
 * A node with a service proxy and what is around it, in namespaces of its own:
 *
 *     API server 198.18.0.1/16 --- node 198.18.1.1 --- client 10.255.0.2, a pod of this node
 *                                        |------------ endpoints 198.19.0.2, where pods of other nodes answer
 */
import { join } from "node:path";
import { macFromSeed, parseIp, parseIpWithLength, parsePrefix, WeftError } from "@weft/base";
import { type NetnsHandle, spawnIn } from "@weft/kernel/netns";
import type { RealNamespace } from "@weft/kernel/rtnetlink";
import { kubeconfigOf } from "../kubeconfig.ts";
import type { Session } from "../session/session.ts";
import { connect } from "../sides/weft.ts";
import {
  ENDPOINT_PORT,
  endpointAddress,
  MOST_ENDPOINTS,
  NODE_ADDRESS,
  SERVICE_PORT,
  serviceAddress,
} from "./objects.ts";

const SERVER = "198.18.0.1";
const PORT = 8080;
const REQUESTS = new URL("./requests.ts", import.meta.url).pathname;
const API_SERVER = new URL("./api-server.ts", import.meta.url).pathname;

export interface Place {
  readonly node: RealNamespace;
  readonly client: RealNamespace;
  readonly kubeconfig: string;
  /** Gives the service that number of endpoints; resolves when the event is written to the watches. */
  change(service: number, endpoints: number): Promise<void>;
  /** What was asked of the API server. */
  asked(): Promise<readonly string[]>;
}

/** The services that packets are sent to: the first, one in the middle, the last. */
export const looked = (services: number): number[] => [0, Math.floor(services / 2), services - 1];

export async function createPlace(
  session: Session,
  label: string,
  services: number,
  endpoints: number,
): Promise<Place> {
  const [wire, node, client, pods] = ["api", "node", "client", "pods"].map((what) =>
    session.node(`${label}-${what}`),
  ) as [RealNamespace, RealNamespace, RealNamespace, RealNamespace];
  const end = (namespace: RealNamespace, link: string, address: string) => {
    return { namespace, link, address: parseIpWithLength(address) };
  };
  connect(end(node, "eth0", `${NODE_ADDRESS}/16`), end(wire, "eth0", `${SERVER}/16`), macFromSeed);
  connect(end(node, "pod", "10.255.0.1/24"), end(client, "eth0", "10.255.0.2/24"), macFromSeed);
  connect(end(node, "others", "198.19.0.1/24"), end(pods, "eth0", "198.19.0.2/24"), macFromSeed);
  node.setSysctl("net/ipv4/ip_forward", "1");
  const any = parsePrefix("0.0.0.0/0");
  client.replaceRoute({ destination: any, gateway: parseIp("10.255.0.1"), link: "eth0" });
  pods.replaceRoute({ destination: any, gateway: parseIp("198.19.0.1"), link: "eth0" });
  node.replaceRoute({ destination: any, gateway: parseIp(SERVER), link: "eth0" });
  for (const i of looked(services)) {
    for (let k = 0; k < MOST_ENDPOINTS; k++) {
      const ip = endpointAddress(i, k);
      pods.replaceAddress({ link: "lo", address: parseIpWithLength(`${ip}/32`) });
      node.replaceRoute({
        destination: parsePrefix(`${ip}/32`),
        gateway: parseIp("198.19.0.2"),
        link: "others",
      });
    }
  }
  session.start(pods, `${label}-pods`, [process.execPath, REQUESTS, "serve", String(ENDPOINT_PORT)]);
  const url = `http://${SERVER}:${PORT}`;
  const socket = join(session.directory, `${label}.sock`);
  session.start(wire, `${label}-api`, [
    process.execPath,
    "run",
    API_SERVER,
    url,
    socket,
    String(services),
    String(endpoints),
  ]);
  const call = async (path: string, body: object): Promise<unknown> => {
    const answer = await fetch(`http://bench${path}`, {
      unix: socket,
      method: "POST",
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new WeftError("unavailable", `${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const asked = () => call("/asked", {}) as Promise<readonly string[]>;
  for (let tries = 0; ; tries++) {
    try {
      await asked();
      break;
    } catch (cause) {
      if (tries > 400) throw new WeftError("timeout", "the simulated API server does not answer", { cause });
      await Bun.sleep(50);
    }
  }
  const kubeconfig = join(session.directory, `${label}.kubeconfig`);
  await Bun.write(kubeconfig, kubeconfigOf(url));
  return {
    node,
    client,
    kubeconfig,
    asked,
    async change(index, count) {
      await call("/change", { index, endpoints: count });
    },
  };
}

/** Returns once each of these services has answered. Throws "timeout". */
export async function answered(
  from: NetnsHandle,
  services: readonly number[],
  limitMs: number,
): Promise<void> {
  await requests(from, ["until", String(SERVICE_PORT), ...services.map(serviceAddress)], limitMs);
}

/** Milliseconds of each of `count` new connections to each of these services. */
export async function connections(
  from: NetnsHandle,
  services: readonly number[],
  count: number,
): Promise<number[][]> {
  const words = ["connect", String(SERVICE_PORT), String(count), ...services.map(serviceAddress)];
  return JSON.parse(await requests(from, words, 120_000)) as number[][];
}

async function requests(from: NetnsHandle, words: string[], timeout: number): Promise<string> {
  const child = spawnIn(from, [process.execPath, REQUESTS, ...words], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout,
  });
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) === 0) return text;
  throw new WeftError("timeout", `${words.slice(0, 3).join(" ")} did not end well: ${errors.trim()}`);
}
