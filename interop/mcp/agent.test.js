// A client of the Model Context Protocol that knows nothing of DPoP, its project's own, against a server of the same project:
// between them `keybound agent` and a gateway that lets nobody in without proofs.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { Agent, fetch as fetchBy } from 'undici'

const PROGRAM = process.env.KEYBOUND ?? fileURLToPath(new URL('../../target/debug/keybound', import.meta.url))
const SECRET = 'interop-NvlJMzPBPhBhP0UvPZ5pGw'

describe('an MCP client by way of the agent', () => {
  let directory, mcp, gateway
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'keybound-interop-'))
    mcp = await serve()
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    await writeFile(join(directory, 'keybound.toml'), configuration(url, port, mcp.port))
    await writeFile(join(directory, 'client.secret'), SECRET)
    gateway = { url, ...await start(directory, 'serve', '--config', 'keybound.toml') }
  })
  after(async () => {
    await gateway?.stop()
    mcp?.stop()
    await rm(directory, { recursive: true })
  })

  const agent = (listen, ...more) => start(
    directory, 'agent', '--issuer', `${gateway.url}/issuer`, '--client-id', 'job', '--client-secret-file', 'client.secret',
    '--listen', listen, '--target', gateway.url, ...more)

  test('without it there is no way in', async () => {
    const answer = await fetch(`${gateway.url}/mcp`, { method: 'POST', body: '{}' })
    assert.equal(answer.status, 401)
    assert.match(answer.headers.get('www-authenticate'), /^DPoP /)
  })

  test('on a port, by its secret', async () => {
    const { line, stop } = await agent('127.0.0.1:0', '--secret-file', 'agent.secret')
    const [, address] = /address=(\S+)/.exec(line)
    const secret = (await readFile(join(directory, 'agent.secret'), 'utf8')).trim()
    const to = (password) => new StreamableHTTPClientTransport(new URL(`http://${address}/mcp`), {
      requestInit: { headers: { Authorization: `Bearer ${password}` } },
    })
    await converse(to(secret))
    await assert.rejects(new Client({ name: 'stranger', version: '1' }).connect(to('guess')))
    await stop()
  })

  test('on a Unix socket', async () => {
    const path = join(directory, 'agent.sock')
    const { stop } = await agent(`unix:${path}`)
    const dispatcher = new Agent({ connect: { socketPath: path } })
    const fetch = (url, init) => fetchBy(url, { ...init, dispatcher })
    await converse(new StreamableHTTPClientTransport(new URL('http://agent/mcp'), { fetch }))
    await dispatcher.close()
    await stop()
  })
})

/** A session from its beginning to its end. What a tool says while it works arrives while it works: it waits for another call. */
async function converse(transport) {
  const client = new Client({ name: 'plain', version: '1' })
  await client.connect(transport)
  const { tools } = await client.listTools()
  assert.deepEqual(tools.map((tool) => tool.name), ['wait', 'go-on'])
  const seen = []
  const onprogress = ({ progress }) => {
    seen.push(progress)
    if (progress === 1) client.callTool({ name: 'go-on' }).catch((error) => seen.push(error))
  }
  const { content } = await client.callTool({ name: 'wait' }, undefined, { onprogress, timeout: 30_000 })
  assert.deepEqual(content, [{ type: 'text', text: 'for client job' }])
  assert.deepEqual(seen, [1, 2])
  await transport.terminateSession()
  await client.close()
}

/** A server of sessions that knows who calls by what the gateway tells it. */
async function serve() {
  const sessions = new Map()
  const server = createServer(async (request, response) => {
    const known = sessions.get(request.headers['mcp-session-id'])
    await (known ?? await session(sessions, request.headers['keybound-client'])).handleRequest(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function session(sessions, caller) {
  let goOn
  const told = new Promise((resolve) => { goOn = resolve })
  const mcp = new McpServer({ name: 'counter', version: '1' })
  mcp.registerTool('wait', { description: 'Works until it is told to go on' }, async ({ _meta, sendNotification }) => {
    const progress = (progress) => sendNotification({
      method: 'notifications/progress', params: { progressToken: _meta.progressToken, progress },
    })
    await progress(1)
    await told
    await progress(2)
    return { content: [{ type: 'text', text: `for client ${caller}` }] }
  })
  mcp.registerTool('go-on', { description: 'Tells it' }, () => {
    goOn()
    return { content: [] }
  })
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, transport),
  })
  await mcp.connect(transport)
  return transport
}

/** Starts the program, and waits until it listens. */
async function start(directory, ...words) {
  const env = { PATH: process.env.PATH, KEYBOUND_HOME: join(directory, 'home') }
  const child = spawn(PROGRAM, words, { cwd: directory, env, stdio: ['ignore', 'ignore', 'pipe'] })
  // However this process ends, the program ends with it.
  process.on('exit', () => child.kill())
  const log = []
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line)
      if (line.includes('listening')) resolve(line)
    })
    child.once('error', reject)
    child.once('exit', (status) => reject(new Error(`it ended with ${status}:\n${log.join('\n')}`)))
  })
  return {
    line,
    async stop() {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const [status] = await ended
      assert.equal(status, 0, log.join('\n'))
    },
  }
}

function configuration(url, port, upstream) {
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
scope = ["tools"]
[authorization_server]
url = "${url}/issuer"
store = "memory"
[[authorization_server.client]]
client_id = "job"
client_secret = "${SECRET}"
token_endpoint_auth_method = "client_secret_basic"
grant_types = ["client_credentials"]
scope = ["tools"]
`
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
