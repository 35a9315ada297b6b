// better-auth with users who sign in with a password, their sessions in PostgreSQL and cached in a cookie.

import bcrypt from "bcrypt";
import { betterAuth } from "better-auth";
import pg from "pg";

const BCRYPT_COST = 12;
// Per process, of which there is one a core: enough that no query waits for a connection.
const DATABASE_CONNECTIONS = 20;
// better-auth's own default, said because it is how long a session that was revoked is still believed.
const COOKIE_CACHE_SECONDS = 300;

// One keeps a core busy, the second fills in when the other process has none. Without this limit hashes take every
// thread that Node.js has for such work, and checking a cookie's signature, which needs one too, waits behind them.
const HASHES_AT_A_TIME = 2;

let hashing = 0;
const waiting = [];

async function inTurn(hash) {
  if (hashing < HASHES_AT_A_TIME) {
    hashing += 1;
  } else {
    await new Promise((resolve) => waiting.push(resolve));
  }
  try {
    return await hash();
  } finally {
    const next = waiting.shift();
    if (next) {
      next();
    } else {
      hashing -= 1;
    }
  }
}

export const options = {
  baseURL: `http://127.0.0.1:${process.env.PORT}`,
  secret: process.env.PEER_SECRET,
  database: new pg.Pool({ connectionString: process.env.DATABASE_URL, max: DATABASE_CONNECTIONS }),
  emailAndPassword: {
    enabled: true,
    password: {
      hash: (password) => inTurn(() => bcrypt.hash(password, BCRYPT_COST)),
      verify: ({ hash, password }) => inTurn(() => bcrypt.compare(password, hash)),
    },
  },
  session: { cookieCache: { enabled: true, maxAge: COOKIE_CACHE_SECONDS, strategy: "jwt" } },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  // It warns of every wrong password.
  logger: { level: "error" },
};

export const auth = betterAuth(options);
