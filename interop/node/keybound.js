// The real program, started on ports of its own: a gateway with an embedded issuer, before an upstream that says what it got.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import * as jose from 'jose'

export const PROGRAM = process.env.KEYBOUND ?? fileURLToPath(new URL('../../target/debug/keybound', import.meta.url))

/** The secret of every client that has one. */
export const SECRET = 'interop-7Fjfp0ZBr1KtDRbnfVdmIw'

/** Where the clients of people have them sent back. */
export const REDIRECT = 'https://app.example.com/back'

/** How long after its start a server asks for a nonce because it does not know what came before: 60 s, and whole seconds. */
export const BARRIER = 62_000

/** How long after its start it refuses client assertions, for the same reason: 10 s. */
export const ASSERTIONS = 12_000

/** Every algorithm there is, of proofs and of tokens. */
export const ALGORITHMS = [
  'ES256', 'Ed25519', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512', 'EdDSA',
]

/** A person who signs in, and what is stored of the password: made with little memory, it is not for use. */
export const PERSON = {
  username: 'alice',
  password: 'correct horse',
  hash: '$argon2id$v=19$m=8,t=1,p=1$+C4f67MQrSoF4qvwplvyQQ$R/qX4hbHxWWwaf5VXrPkMcafJ3honlSMrDlFvNaLi/o',
}

/** A gateway and its issuer with this nonce policy; `signs`: by what its tokens are signed;
 * `people`: where a person signs in, instead of being approved unseen; `endpoints`: other policies, by endpoint of the issuer. */
export async function serve(nonce = 'offer', { people = false, signs = 'ES256', endpoints = {} } = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'keybound-interop-'))
  const signer = await jose.generateKeyPair('ES256', { extractable: true })
  const jwk = { ...await jose.exportJWK(signer.publicKey), kid: 'signer', alg: 'ES256', use: 'sig' }
  await writeFile(join(directory, 'signer.jwks.json'), JSON.stringify({ keys: [jwk] }))
  const upstream = await echo()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  await writeFile(join(directory, 'keybound.toml'), configuration({ url, port, upstream: upstream.port, nonce, people, signs, endpoints }))
  const service = await start('serve', directory)
  return {
    url,
    issuer: new URL(`${url}/issuer`),
    signer: signer.privateKey,
    started: Date.now(),
    /** What the program wrote to its log. */
    log: service.log,
    /** Runs a command of the program as one of its users; what it printed. */
    run: (...words) => run(directory, words),
    async stop() {
      try {
        await service.stop()
      } finally {
        upstream.server.close()
      }
    },
  }
}

/** Starts the program with the configuration in this directory, which goes when it is stopped. */
export async function start(command, directory) {
  const child = spawn(PROGRAM, [command, '--config', join(directory, 'keybound.toml')], {
    env: { PATH: process.env.PATH, KEYBOUND_HOME: join(directory, 'home') },
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  const log = []
  await listening(child, log)
  return {
    log,
    async stop() {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const [status] = await ended
      await rm(directory, { recursive: true })
      assert.equal(status, 0, log.join('\n'))
    },
  }
}

function configuration({ url, port, upstream, nonce, people, signs, endpoints }) {
  const client = (id, method, lines = '', grants = ['client_credentials']) => `
[[authorization_server.client]]
client_id = "${id}"
token_endpoint_auth_method = "${method}"
grant_types = ${JSON.stringify(grants)}
scope = ["openid", "read", "write"]
${lines}`
  const ofPeople = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code']
  const back = `redirect_uris = ["${REDIRECT}", "http://127.0.0.1/back"]`
  const user = `
[[authorization_server.user]]
username = "${PERSON.username}"
password_hash = "${PERSON.hash}"
name = "Alice Liddell"`
  const exchange = ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange']
  const secret = `client_secret = "${SECRET}"`
  return `
[listen]
address = "127.0.0.1:${port}"
admin = "127.0.0.1:0"
workers = 1
[[origin]]
url = "${url}"
[[route]]
path = "/"
upstream = ["http://127.0.0.1:${upstream}"]
scope = ["read"]
[[route]]
path = "/attested"
upstream = ["http://127.0.0.1:${upstream}"]
proof = "attest"
attestation_audience = ["https://attested.internal"]
[proof]
nonce = "${nonce}"
[authorization_server]
url = "${url}/issuer"
store = "sqlite:issuer.db"
${people ? '' : 'auto_approve = "alice"'}
registration = "token"
registration_token = "${SECRET}"
registration_scope = ["openid", "read"]
[authorization_server.keys]
algorithm = "${signs}"
[authorization_server.nonce]
${Object.entries(endpoints).map(([name, policy]) => `${name} = "${policy}"`).join('\n')}
${client('basic', 'client_secret_basic', secret)}
${client('post', 'client_secret_post', secret)}
${client('signer', 'private_key_jwt', 'jwks_file = "signer.jwks.json"')}
${client('app', 'none', back, ofPeople)}
${client('objects', 'client_secret_basic', secret + '\njwks_file = "signer.jwks.json"\n' + back, ofPeople)}
${client('web', 'client_secret_basic', secret + '\n' + back, ofPeople)}
${client('loose', 'client_secret_post', secret + '\ndpop_bound_access_tokens = false', exchange)}
${people ? user : ''}
`
}

/** Resolves when the program says that it listens, and fails with its log if it ends instead or says nothing. */
function listening(child, log) {
  // However this process ends, the program ends with it.
  process.on('exit', () => child.kill())
  return new Promise((resolve, reject) => {
    const fail = (why) => {
      child.kill()
      reject(new Error(`${why}:\n${log.join('\n')}`))
    }
    const patience = setTimeout(fail, 20_000, 'it does not listen')
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line)
      if (!line.includes('listening')) return
      clearTimeout(patience)
      resolve()
    })
    child.once('error', (error) => fail(`${PROGRAM}: ${error.message}`))
    child.once('exit', (status) => {
      clearTimeout(patience)
      fail(`it ended with ${status}`)
    })
  })
}

function run(directory, words) {
  const env = { PATH: process.env.PATH, KEYBOUND_HOME: join(directory, 'home'), KEYBOUND_CLIENT_SECRET: SECRET }
  return new Promise((resolve) => {
    execFile(PROGRAM, words, { cwd: directory, env, timeout: 30_000 }, (error, stdout, stderr) => {
      resolve({ status: error ? error.code ?? 1 : 0, stdout: stdout.trim(), stderr })
    })
  })
}

/** An upstream that answers with the fields it got. */
async function echo() {
  const server = createServer((request, response) => {
    response.setHeader('Content-Type', 'application/json')
    response.end(JSON.stringify({ method: request.method, url: request.url, fields: request.headers }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, port: server.address().port }
}

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
