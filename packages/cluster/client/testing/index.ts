/** For tests of whoever uses the client: an API server in memory, and a client of it without a socket. */
export { type Call, FakeApi, failure } from "./fake-api.ts";
export { anonymous, directClient, serveApi, until } from "./setup.ts";
