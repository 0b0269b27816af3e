import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { FakeClock, hasCode, hintOf, WeftError } from "@weft/base";
import { ApiError, type Credentials, createClient, type Identity, type Trust } from "./index.ts";
import { type Certificates, hasOpenssl, makeCertificates, type Pair } from "./testing/certificates.ts";
import { FakeApi, failure } from "./testing/fake-api.ts";
import { anonymous, directClient, rejection, serveApi, settle } from "./testing/setup.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const client = async (api: FakeApi, options = {}) => {
  const served = await serveApi(api, options);
  stops.push(served.stop);
  return served.client;
};

describe("answers", () => {
  const answer = async (response: () => Response): Promise<ApiError> => {
    const api = new FakeApi();
    api.intercept = response;
    return (await rejection(
      (await client(api, { retries: 0 })).request({ path: "/api/v1/nodes" }),
    )) as ApiError;
  };

  test.each([
    [400, "BadRequest", "invalid"],
    [401, "Unauthorized", "permission"],
    [403, "Forbidden", "permission"],
    [404, "NotFound", "not-found"],
    [405, "MethodNotAllowed", "unsupported"],
    [409, "Conflict", "conflict"],
    [409, "AlreadyExists", "exists"],
    [410, "Expired", "overflow"],
    [410, "Gone", "overflow"],
    [415, "UnsupportedMediaType", "unsupported"],
    [422, "Invalid", "invalid"],
    [429, "TooManyRequests", "busy"],
    [500, "InternalError", "unavailable"],
    [503, "ServiceUnavailable", "unavailable"],
    [504, "Timeout", "timeout"],
  ] as const)("%d %s is %s", async (status, reason, code) => {
    const error = await answer(() => failure(status, reason, "because"));
    expect(error).toBeInstanceOf(ApiError);
    expect([error.code, error.status, error.reason]).toEqual([code, status, reason]);
    expect(error.hint).toBeString();
    if (status !== 401) expect(error.message).toBe("GET /api/v1/nodes: because");
  });

  test("403 says who may not do what, and whose credentials these are", async () => {
    const message = 'nodes is forbidden: User "weft" cannot list resource "nodes" in API group ""';
    const error = await answer(() => failure(403, "Forbidden", message));
    expect(error.message).toBe(`GET /api/v1/nodes: ${message}`);
    expect(error.hint).toContain("the test");
  });

  test("422 lists its causes, each once", async () => {
    const causes = [
      { reason: "FieldValueInvalid", field: "spec.a", message: "must be even" },
      { reason: "FieldValueRequired", field: "spec.b", message: "Required value" },
    ];
    const error = await answer(() =>
      failure(422, "Invalid", 'Thing "x" is invalid: spec.a: must be even', { causes }),
    );
    expect(error.message).toBe(
      'GET /api/v1/nodes: Thing "x" is invalid: spec.a: must be even; spec.b: Required value',
    );
    expect(error.causes.map((c) => c.field)).toEqual(["spec.a", "spec.b"]);
  });

  test("503 with Retry-After, as header or in details, is busy", async () => {
    const header = await answer(() => failure(503, "", "starting", {}, { "Retry-After": "3" }));
    expect([header.code, header.retryAfter]).toEqual(["busy", 3000]);
    const details = await answer(() => failure(500, "ServerTimeout", "slow", { retryAfterSeconds: 2 }));
    expect([details.code, details.retryAfter]).toEqual(["busy", 2000]);
  });

  test("what a load balancer says is shown without its markup", async () => {
    const page = "<html><body><h1>502 Bad\nGateway</h1></body></html>";
    const error = await answer(() => new Response(page, { status: 502 }));
    expect([error.code, error.message]).toEqual(["unavailable", "GET /api/v1/nodes: 502 Bad Gateway"]);
    expect((await answer(() => new Response("", { status: 418 }))).message).toContain("HTTP 418");
  });

  test("a redirect is not followed, and what is no JSON is refused", async () => {
    const away = await answer(
      () => new Response("", { status: 302, headers: { Location: "https://evil.test/" } }),
    );
    expect(away.message).toContain("redirects to https://evil.test/");
    const page = await answer(() => new Response("<html>hello"));
    expect([page.code, page.message]).toEqual([
      "unavailable",
      expect.stringContaining('the answer is no JSON: "<html>hello"'),
    ]);
  });
});

describe("requests", () => {
  test("query, body, types and headers", async () => {
    const api = new FakeApi();
    await (await client(api, { userAgent: "weft/test" })).request({
      method: "POST",
      path: "/api/v1/namespaces/a/pods",
      query: { dryRun: undefined, fieldManager: "a b&c" },
      body: { metadata: { name: "x" } },
    });
    const [call] = api.calls;
    expect([...call!.query]).toEqual([["fieldManager", "a b&c"]]);
    expect(call!.body).toEqual({ metadata: { name: "x" } });
    expect(call!.headers.get("content-type")).toBe("application/json");
    expect(call!.headers.get("user-agent")).toBe("weft/test");
  });

  test("proxies of the environment are not used", async () => {
    const c = await client(new FakeApi());
    const code = `fetch("${c.server}/api/v1/nodes").then((r) => r.status, (e) => e.code)`;
    const module = join(import.meta.dir, "testing", "setup.ts");
    const ours = `(await import("${module}")).request("${c.server}")`;
    const child = Bun.spawn([process.execPath, "-e", `console.log(await ${code}, await ${ours})`], {
      env: { ...process.env, http_proxy: "http://127.0.0.1:1", no_proxy: "" },
      stdout: "pipe",
    });
    expect(await new Response(child.stdout).text()).toMatch(/^(?!200)\S+ ok\n$/);
  });

  test("GET is tried again after failures of the server, a bounded number of times; POST is not", async () => {
    const api = new FakeApi();
    const c = await client(api, { retries: 3 });
    let left = 3;
    api.intercept = () => (left-- > 0 ? failure(500, "InternalError", "no") : Response.json({}));
    await c.request({ path: "/x" });
    expect(api.calls).toHaveLength(4);
    api.intercept = () => failure(500, "InternalError", "no");
    await rejection(c.request({ path: "/x" }));
    expect(api.calls).toHaveLength(8);
    await rejection(c.request({ path: "/x", method: "POST", body: {} }));
    expect(api.calls).toHaveLength(9);
    await rejection(c.request({ path: "/x", method: "PATCH", body: {}, idempotent: true, retries: 1 }));
    expect(api.calls).toHaveLength(11);
  });

  test("429 is tried again for POST too, no sooner than asked", async () => {
    const api = new FakeApi();
    const clock = new FakeClock();
    let left = 1;
    api.intercept = () =>
      left-- > 0 ? failure(429, "TooManyRequests", "", {}, { "Retry-After": "9" }) : undefined;
    const body = { metadata: { name: "x" } };
    const request = directClient(api, { clock }).request({ method: "POST", path: "/api/v1/nodes", body });
    await settle();
    clock.advance(8999);
    await settle();
    expect(api.calls).toHaveLength(1);
    clock.advance(1);
    await request;
    expect(api.calls).toHaveLength(2);
  });

  test("a request that gets no answer ends at its deadline, with one that is called off in between", async () => {
    const api = new FakeApi();
    api.intercept = () => new Promise<Response>(() => {});
    const clock = new FakeClock();
    const c = directClient(api, { clock, retries: 0 });
    const late = rejection(c.request({ path: "/x", timeout: 5000 }));
    const stopping = new AbortController();
    const stopped = rejection(c.request({ path: "/x", signal: stopping.signal }));
    await settle();
    stopping.abort(new Error("enough"));
    expect((await stopped).message).toBe("enough");
    clock.advance(5000);
    const error = await late;
    expect([hasCode(error, "timeout"), error.message]).toEqual([
      true,
      "http://api.test: no answer within 5 s",
    ]);
  });

  test("the client's own limit holds for requests that have none", async () => {
    const api = new FakeApi();
    api.intercept = () => new Promise<Response>(() => {});
    const clock = new FakeClock();
    const c = directClient(api, { clock, retries: 0, timeout: 10_000 });
    const late = rejection(c.request({ path: "/x" }));
    await settle();
    clock.advance(10_000);
    expect((await late).message).toBe("http://api.test: no answer within 10 s");
  });

  test("one that is called off ends, also while credentials are waited for", async () => {
    const never: Credentials = { ...anonymous("http://api.test"), identity: () => new Promise(() => {}) };
    const c = createClient({ credentials: never });
    const stopping = new AbortController();
    const stopped = rejection(c.request({ path: "/x", signal: stopping.signal }));
    await settle();
    stopping.abort(new WeftError("unavailable", "stopped"));
    expect((await stopped).message).toBe("stopped");
  });

  test("a token that was renewed after a 401 is used at once; one that stays refused is told", async () => {
    const api = new FakeApi();
    let token = "old";
    let refusals = 0;
    const credentials: Credentials = {
      ...anonymous("http://api.test"),
      identity: async () => ({
        headers: [["Authorization", `Bearer ${token}`]],
        certificate: undefined,
        source: "the file of a test",
      }),
      refused() {
        refusals++;
        token = "new";
      },
    };
    api.intercept = ({ headers }) =>
      headers.get("authorization") === "Bearer new"
        ? undefined
        : failure(401, "Unauthorized", "Unauthorized");
    const c = directClient(api, { credentials });
    await c.request({ path: "/api/v1/nodes" });
    expect([refusals, api.calls.length]).toEqual([1, 2]);
    api.intercept = () => failure(401, "Unauthorized", "Unauthorized");
    const error = await rejection(c.request({ path: "/api/v1/nodes" }));
    expect(error.message).toBe("http://api.test: credentials not accepted (the file of a test)");
    expect([hasCode(error, "permission"), api.calls.length]).toEqual([true, 4]);
  });
});

describe.skipIf(!hasOpenssl)("connections", () => {
  let made: Certificates;
  beforeAll(() => {
    made = makeCertificates();
  });
  afterAll(() => made.remove());

  const TRUST: Trust = { ca: undefined, caSource: "the test's ca", serverName: undefined, insecure: false };
  const nobody: Identity = { headers: [], certificate: undefined, source: "nobody" };

  function serve(pair: Pair, options: object = {}): Bun.Server<undefined> {
    const tls = { cert: pair.cert, key: pair.key, ...options };
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls,
      fetch: () => Response.json({ ok: true }),
    });
    stops.push(() => server.stop(true));
    return server;
  }

  function ask(
    server: string,
    trust: Partial<Trust> = {},
    identity: Partial<Identity> = {},
  ): Promise<unknown> {
    const c = createClient({
      credentials: {
        ...anonymous(server),
        trust: () => ({ ...TRUST, ca: made.ca.cert, ...trust }),
        identity: async () => ({ ...nobody, ...identity }),
      },
      retries: 0,
    });
    stops.push(() => c.close());
    return c.request({ path: "/" });
  }

  const TIME = "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ";
  const at = (server: { port?: number | undefined }, host = "127.0.0.1"): string =>
    `https://${host}:${server.port}`;
  const own = (pair: Pair) => ({
    certificate: { cert: pair.cert, key: pair.key, source: "the test's client" },
  });
  const failing = async (promise: Promise<unknown>, code: WeftError["code"]): Promise<string> => {
    const error = await rejection(promise);
    expect(error).toBeInstanceOf(WeftError);
    expect((error as WeftError).code).toBe(code);
    expect(hintOf(error)).toBeString();
    return error.message;
  };

  test("a good certificate; a name of its own; none looked at", async () => {
    expect(await ask(at(serve(made.server)))).toEqual({ ok: true });
    expect(await ask(at(serve(made.misnamed)), { serverName: "api.example.com" })).toEqual({ ok: true });
    expect(await ask(at(serve(made.misnamed)), { ca: undefined, insecure: true })).toEqual({ ok: true });
  });

  test("the client's certificate is shown", async () => {
    const server = serve(made.server, { requestCert: true, rejectUnauthorized: true, ca: made.ca.cert });
    expect(await ask(at(server), {}, own(made.client))).toEqual({ ok: true });
    expect(await failing(ask(at(server)), "unavailable")).toContain("TLS handshake failed");
    expect(await failing(ask(at(server), {}, own(made.expiredClient)), "permission")).toContain(
      "the client's certificate (the test's client) expired at 2020-01-02T00:00:00Z",
    );
  });

  test("a new certificate is used for the next request, not the connections of the former one", async () => {
    const server = serve(made.server, { requestCert: true, rejectUnauthorized: true, ca: made.ca.cert });
    let pair = made.expiredClient;
    const c = createClient({
      credentials: {
        ...anonymous(at(server)),
        trust: () => ({ ...TRUST, ca: made.ca.cert }),
        identity: async () => ({ ...nobody, ...own(pair) }),
      },
      retries: 0,
    });
    stops.push(() => c.close());
    await rejection(c.request({ path: "/" }));
    pair = made.client;
    expect(await c.request<unknown>({ path: "/" })).toEqual({ ok: true });
    pair = made.expiredClient;
    await rejection(c.request({ path: "/" }));
  });

  test("401 with an expired client certificate says so", async () => {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: made.server.cert, key: made.server.key, requestCert: true, rejectUnauthorized: false },
      fetch: () => failure(401, "Unauthorized", "Unauthorized"),
    });
    stops.push(() => server.stop(true));
    expect(await failing(ask(at(server), {}, own(made.expiredClient)), "permission")).toContain(
      "credentials not accepted (nobody): the client's certificate (the test's client) expired at 2020-01-02",
    );
  });

  test("wrong CA, expired, other name: each says which", async () => {
    expect(await failing(ask(at(serve(made.server)), { ca: made.otherCa.cert }), "permission")).toEndWith(
      `the server's certificate is not signed by the CA of the test's ca (it is signed by "ca")`,
    );
    expect(await failing(ask(at(serve(made.server)), { ca: undefined }), "permission")).toContain(
      "not signed by",
    );
    expect(await failing(ask(at(serve(made.expiredServer))), "permission")).toMatch(
      new RegExp(
        `certificate expired \\(valid from 2020-01-01T00:00:00Z to 2020-01-02T00:00:00Z, and it is ${TIME} here\\)$`,
      ),
    );
    expect(await failing(ask(at(serve(made.misnamed))), "permission")).toEndWith(
      "the server's certificate is for api.example.com, not for 127.0.0.1",
    );
    expect(await failing(ask(at(serve(made.server)), { serverName: "x.test" }), "permission")).toEndWith(
      "not for x.test",
    );
  });

  test("clocks that differ: what is not valid yet says from when on it is, and what time it is here", async () => {
    expect(await failing(ask(at(serve(made.futureServer))), "permission")).toMatch(
      new RegExp(
        `certificate is not valid yet \\(valid from 2090-01-01T00:00:00Z to 2091-01-01T00:00:00Z, and it is ${TIME} here\\)$`,
      ),
    );
    const server = serve(made.server, { requestCert: true, rejectUnauthorized: true, ca: made.ca.cert });
    expect(await failing(ask(at(server), {}, own(made.futureClient)), "permission")).toMatch(
      new RegExp(
        `the client's certificate \\(the test's client\\) is not valid before 2090-01-01T00:00:00Z, and it is ${TIME} here$`,
      ),
    );
  });

  test("refused, unknown name, no TLS, closed at once", async () => {
    // One that is never given out, so that nobody else has it meanwhile.
    expect(await failing(ask("https://127.0.0.1:1"), "unavailable")).toContain("connection refused");
    expect(await failing(ask("https://no.such.invalid:1"), "unavailable")).toContain("cannot be resolved");
    const closing = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: (socket) => void socket.end() },
    });
    stops.push(() => closing.stop(true));
    expect(await failing(ask(`http://127.0.0.1:${closing.port}`), "unavailable")).toContain(
      "closed in the middle",
    );
    const plain = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("plain") });
    stops.push(() => plain.stop(true));
    expect(await failing(ask(at(plain)), "unavailable")).toContain("TLS handshake failed");
  });

  test("IPv6", async () => {
    const tls = { cert: made.server.cert, key: made.server.key };
    const server = Bun.serve({ hostname: "::1", port: 0, tls, fetch: () => Response.json({ six: true }) });
    stops.push(() => server.stop(true));
    expect(await ask(at(server, "[::1]"))).toEqual({ six: true });
  });
});
