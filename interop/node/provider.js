// `oidc-provider` on a port of its own, with its own pages for logins, and an API behind `express-oauth2-jwt-bearer`.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import express from 'express'
import { auth } from 'express-oauth2-jwt-bearer'
import * as jose from 'jose'
import { errors, Provider } from 'oidc-provider'
import * as grants from 'oidc-provider/lib/helpers/grants.js'

import { PROGRAM } from './keybound.js'

export const SECRET = 'interop-YDeJ0ThZZ8kcp2i3k1wJ2Q'

/** How it asks for nonces. */
const NONCES = {
  off: {},
  optional: { nonceSecret: Buffer.alloc(32, 7), requireNonce: () => false },
  required: { nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
}

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

const BROWSER = fileURLToPath(new URL('browser.js', import.meta.url))

/** An issuer that asks for nonces in this way and gives tokens of this format, and an API that takes them. */
export async function provide(nonces, format) {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${server.address().port}`
  const api = await protectedApi(issuer)
  const signing = await jose.exportJWK((await jose.generateKeyPair('ES256', { extractable: true })).privateKey)
  const provider = new Provider(issuer, configuration(nonces, format, api.url, { ...signing, alg: 'ES256', use: 'sig' }))
  exchange(provider)
  const requests = []
  server.on('request', (request, response) => {
    const answered = provider.callback()(request, response)
    response.on('finish', () => requests.push({ method: request.method, path: request.url.split('?')[0], status: response.statusCode }))
    return answered
  })
  const home = await mkdtemp(join(tmpdir(), 'keybound-interop-'))
  await chmod(BROWSER, 0o755)
  return {
    issuer,
    api,
    requests,
    write: (name, text) => writeFile(join(home, name), text),
    /** A token of the client `loose`, got as one does who knows nothing of DPoP. */
    async bearer() {
      const answer = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: { Authorization: `Basic ${btoa(`loose:${SECRET}`)}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'read' }),
      })
      return answer.json()
    },
    run: (...words) => run(home, words),
    spawn: (...words) => spawn(PROGRAM, words, { cwd: home, env: environment(home, words), stdio: ['ignore', 'ignore', 'pipe'] }),
    async stop() {
      server.close()
      api.server.close()
      server.closeAllConnections()
      api.server.closeAllConnections()
      await rm(home, { recursive: true })
    },
  }
}

function configuration(nonces, format, audience, signing) {
  const of = (client_id, grant_types, more) => ({
    client_id, grant_types, response_types: [], redirect_uris: [], dpop_bound_access_tokens: true, id_token_signed_response_alg: 'ES256', ...more,
  })
  return {
    clients: [
      of('job', ['client_credentials'], { client_secret: SECRET }),
      of('loose', ['client_credentials', EXCHANGE], { client_secret: SECRET, dpop_bound_access_tokens: false }),
      of('app', ['authorization_code', 'refresh_token'], {
        application_type: 'native', redirect_uris: ['http://127.0.0.1/callback'], response_types: ['code'],
        token_endpoint_auth_method: 'none',
      }),
      of('tv', ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'], { token_endpoint_auth_method: 'none', application_type: 'native' }),
    ],
    jwks: { keys: [signing] },
    scopes: ['openid', 'offline_access', 'read'],
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      dPoP: { enabled: true, ...NONCES[nonces] },
      pushedAuthorizationRequests: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ audience, scope: 'read', accessTokenFormat: format, ...(format === 'jwt' && { jwt: { sign: { alg: 'ES256' } } }) }),
      },
    },
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    cookies: { keys: ['interop'] },
  }
}

/** Token exchange (RFC 8693), which this library leaves to who runs it: by its own checks of proof, scope and resource, a client's
 * token for one that is bound to the key of the proof. */
function exchange(provider) {
  const parameters = ['audience', 'requested_token_type', 'resource', 'scope', 'subject_token', 'subject_token_type']
  provider.registerGrantType(EXCHANGE, async (ctx) => {
    const { client, params } = ctx.oidc
    const proof = await grants.validateDpop(provider, ctx)
    if (!proof) throw new errors.InvalidRequest('the new token is to be a bound one')
    const subject = params.subject_token_type === ACCESS_TOKEN && await provider.ClientCredentials.find(params.subject_token)
    if (!subject || subject.clientId !== client.clientId || subject.isSenderConstrained()) throw new errors.InvalidGrant('no bearer token of this client')
    const [resourceServer] = await grants.resolveRequestedResources(provider, ctx)
    const scope = [...grants.validateClientScope(provider, ctx)].join(' ')
    const token = new provider.ClientCredentials({ client, scope })
    token.resourceServer = resourceServer
    await grants.checkDpopReplay(provider, ctx, proof, client.clientId, errors.InvalidGrant)
    token.setThumbprint('jkt', proof.thumbprint)
    ctx.oidc.entity('ClientCredentials', token)
    const accessToken = await token.save()
    ctx.body = grants.buildTokenResponse(provider, {
      accessToken, expiresIn: token.expiration, issuedTokenType: ACCESS_TOKEN, scope, tokenType: token.tokenType,
    })
  }, parameters, ['audience', 'resource'])
}

/** An API whose library wants bound tokens, and a proof with each request. */
async function protectedApi(issuer) {
  const app = express()
  const server = createServer(app)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}`
  const guard = auth({ issuerBaseURL: issuer, audience: url, tokenSigningAlg: 'ES256', dpop: { enabled: true, required: true } })
  app.get('/orders', guard, (request, response) => response.json({ client: request.auth.payload.client_id, sub: request.auth.payload.sub }))
  app.use((error, _request, response, _next) => {
    response.set(error.headers ?? {}).status(error.status ?? 500).json({ error: error.message })
  })
  return { url, server }
}

/** Of a user whose browser logs in by itself. */
function environment(home, words) {
  return { PATH: process.env.PATH, KEYBOUND_HOME: home, KEYBOUND_CLIENT_SECRET: words.includes('job') || words.includes('loose') ? SECRET : '', BROWSER }
}

/** Runs the program to its end. */
function run(home, words) {
  return new Promise((resolve) => {
    execFile(PROGRAM, words, { cwd: home, env: environment(home, words), timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ status: error ? error.code ?? 1 : 0, stdout: stdout.trim(), stderr })
    })
  })
}
