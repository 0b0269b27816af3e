/** For tests with real packets: sockets inside of namespaces, servers on them and clients that ask them. */
export { type SocketIn, socketIn } from "./socket.ts";
export { breaks, type Dial, dial, hear, hold, type Outcome, overhear, Server } from "./talk.ts";
