// Creates a user, looks it up, signs it in, and asks whose access token that is.
//
//     node build/main.js HOST:PORT TOKEN_FILE

import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { credentials, Metadata, ServiceError, status } from "@grpc/grpc-js";
import { AuthServiceClient, SignInWithPasswordRequest } from "./generated/identity/v1/auth_service";
import { CreateUserRequest, LookupUserRequest, UserServiceClient } from "./generated/identity/v1/user_service";

const [address, tokenFile] = process.argv.slice(2);

// Loopback is never reached through a proxy.
const options = { "grpc.enable_http_proxy": 0 };
const users = new UserServiceClient(address, credentials.createInsecure(), options);
const auth = new AuthServiceClient(address, credentials.createInsecure(), options);

const bearing = (token: string) => {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token.trim()}`);
  return metadata;
};

type Method<Q, R> = (
  request: Q,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: ServiceError | null, response: R) => void,
) => unknown;

// Calls a method, with a deadline.
const call = <Q, R>(method: Method<Q, R>, request: Q, metadata: Metadata) =>
  new Promise<R>((resolve, reject) => {
    const deadline = Date.now() + 10_000;
    method(request, metadata, { deadline }, (error, response) => (error ? reject(error) : resolve(response)));
  });

async function main() {
  const service = bearing(readFileSync(tokenFile, "utf8"));
  const email = `ada-${randomBytes(4).toString("hex")}@example.com`;
  const password = randomBytes(18).toString("base64url");

  const newUser = CreateUserRequest.fromPartial({ user: { email, fullName: "Ada" }, password });
  const created = await call(users.createUser.bind(users), newUser, service);
  const lookup = LookupUserRequest.fromPartial({ email: email.toUpperCase() });
  const found = await call(users.lookupUser.bind(users), lookup, service);
  console.log(`looked up ${found.user?.email}: ${found.user?.id}`);
  assert.deepEqual(found.user, created.user);

  const client = { ipAddress: "192.0.2.7", userAgent: "node" };
  const signIn = SignInWithPasswordRequest.fromPartial({ identifier: email, password, client });
  const { tokens } = await call(auth.signInWithPassword.bind(auth), signIn, service);
  assert(tokens);
  const me = await call(auth.getMe.bind(auth), {}, bearing(tokens.accessToken));
  console.log(`signed in as ${me.user?.fullName}`);
  assert.equal(me.user?.id, found.user?.id);

  const wrong = { ...signIn, password: "a wrong password" };
  const refusal = call(auth.signInWithPassword.bind(auth), wrong, service);
  const code = await refusal.then(() => status.OK, (error: ServiceError) => error.code);
  console.log(`a wrong password: ${status[code]}`);
  assert.equal(code, status.UNAUTHENTICATED);
}

main().then(
  // The timers of deadlines would keep the program for as long as they were set.
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
