/** An API server in a directory of its own, and short words for its requests. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "@weft/base";
import { ApiServer, type ApiServerOptions } from "../server.ts";
import type { ApiObject, Mapping } from "../values.ts";

export interface Answer {
  readonly status: number;
  readonly body: ApiObject;
  readonly headers: Headers;
}

export const temporaryDirectory = (): string => mkdtempSync(join(tmpdir(), "weft-server-"));

export interface WatchEvent {
  readonly type: string;
  readonly object: ApiObject;
}

export class TestApi {
  readonly directory: string;
  readonly logged: string[] = [];
  readonly #options: Partial<ApiServerOptions>;
  #server: ApiServer | undefined;
  clock = Date.parse("2026-01-02T03:04:05Z");

  constructor(options: Partial<ApiServerOptions> = {}) {
    this.directory = temporaryDirectory();
    this.#options = options;
  }

  static async start(options: Partial<ApiServerOptions> = {}): Promise<TestApi> {
    const api = new TestApi(options);
    await api.start();
    return api;
  }

  get file(): string {
    return join(this.directory, "weft.db");
  }

  get server(): ApiServer {
    if (this.#server === undefined) throw new Error("the server is not started");
    return this.#server;
  }

  /** Again with other options than at first, if some are given. */
  async start(options: Partial<ApiServerOptions> = {}): Promise<void> {
    const logger = createLogger((line) => this.logged.push(line));
    this.#server = await ApiServer.start({
      file: this.file,
      logger,
      now: () => this.clock,
      ...this.#options,
      ...options,
    });
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async ask(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const request = new Request(`http://server${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const response = await this.server.handle(request);
    const text = await response.text();
    let parsed: unknown = text;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Health and YAML are plain text.
    }
    return { status: response.status, body: parsed as ApiObject, headers: response.headers };
  }

  get = (path: string, accept?: string): Promise<Answer> =>
    this.ask("GET", path, undefined, accept === undefined ? {} : { Accept: accept });
  post = (path: string, body: unknown): Promise<Answer> => this.ask("POST", path, body);
  put = (path: string, body: unknown): Promise<Answer> => this.ask("PUT", path, body);
  delete = (path: string, body?: unknown): Promise<Answer> => this.ask("DELETE", path, body);
  patch = (path: string, kind: "json" | "merge" | "strategic", body: unknown): Promise<Answer> => {
    const type = { json: "json-patch", merge: "merge-patch", strategic: "strategic-merge-patch" }[kind];
    return this.ask("PATCH", path, body, { "Content-Type": `application/${type}+json` });
  };

  /** Events of a watch, one after the other; `stop` ends it. */
  async watch(path: string): Promise<WatchStream> {
    const response = await this.server.handle(new Request(`http://server${path}`));
    return new WatchStream(response);
  }
}

export class WatchStream {
  readonly status: number;
  readonly #reader: {
    read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
    cancel(): Promise<void>;
  };
  #text = "";

  constructor({ status, body }: Response) {
    this.status = status;
    this.#reader = (body as ReadableStream<Uint8Array>).getReader();
  }

  /** The next event; undefined at the end. */
  async next(): Promise<WatchEvent | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return JSON.parse(line) as WatchEvent;
      }
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#text += Buffer.from(value ?? []).toString();
    }
  }

  async take(count: number): Promise<WatchEvent[]> {
    const events: WatchEvent[] = [];
    for (let i = 0; i < count; i++) {
      const event = await this.next();
      if (event === undefined) break;
      events.push(event);
    }
    return events;
  }

  stop(): Promise<void> {
    return this.#reader.cancel();
  }
}

export const configMap = (name: string, data: Mapping = {}, metadata: Mapping = {}): Mapping => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...metadata },
  data,
});

export const pod = (name: string, spec: Mapping = {}, metadata: Mapping = {}): Mapping => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, ...metadata },
  spec: { containers: [{ name: "c", image: "example/image:1" }], ...spec },
});

export const MAPS = "/api/v1/namespaces/default/configmaps";
export const PODS_PATH = "/api/v1/namespaces/default/pods";
